/*
 * life.h - the worker's beginning, and what becomes of it at a fork.
 *
 * The worker's word is {process id, state}. One that names another process is fork's parent's: there is no worker here.
 * Who has made it STARTING has all signals blocked until it says how that went, so that no jump leaves it so.
 */
#ifndef LAB_RCU_LIFE_H
#define LAB_RCU_LIFE_H

#include <urcu/flavor.h>

#include "base/atomic.h"

/* The flavour of the worker; NULL: none was started, here or in a parent. */
const struct rcu_flavor_struct *lab_life_flavour(void);

/* As lab_rcu_start says: 0 or what errno is to be. KERNEL contexts. */
int lab_life_start(const struct rcu_flavor_struct *flavour);

/* False: there is none, as far as can be told without a system call. Any context. */
bool lab_life_is_running(void);

#endif
