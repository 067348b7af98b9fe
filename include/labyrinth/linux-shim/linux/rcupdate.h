/*
 * linux/rcupdate.h - for code of the kernel in user space: liburcu's readers and call_rcu, and kfree_rcu and its like
 * of labyrinth/rcu.h, under the kernel's names. For an include path of the program's: -I…/labyrinth/linux-shim.
 *
 * The flavour of liburcu is chosen as liburcu's headers have it, by RCU_MEMBARRIER (the default), RCU_MB or RCU_SIGNAL;
 * and RCU_QSBR. main() registers its thread (rcu_register_thread) and calls lab_rcu_start(&rcu_flavor); threads that
 * read register, too. liburcu's call_rcu is for no handler before a first call of it outside of one.
 */
#ifndef LABYRINTH_SHIM_RCUPDATE_H
#define LABYRINTH_SHIM_RCUPDATE_H

#ifdef RCU_QSBR
#include <urcu-qsbr.h>
#else
#include <urcu.h>
#endif

#include <labyrinth/rcu.h>

/* A program that has a rcu_barrier of its own defines LAB_KERNEL_OWN_RCU_BARRIER. */
#ifndef LAB_KERNEL_OWN_RCU_BARRIER
/* All that was given to call_rcu, and to kfree_rcu and its like, before the call. */
static inline void
lab_kernel_rcu_barrier(void)
{
	rcu_barrier(); /* liburcu's */
	(void)lab_rcu_barrier();
}
#undef rcu_barrier
#define rcu_barrier lab_kernel_rcu_barrier
#endif

#ifndef __rcu
#define __rcu
#endif
#ifndef callback_head
#define callback_head rcu_head
#endif
#ifndef RCU_INIT_POINTER
#define RCU_INIT_POINTER(p, v) CMM_STORE_SHARED(p, v)
#endif
#ifndef RCU_POINTER_INITIALIZER
#define RCU_POINTER_INITIALIZER(p, v) .p = (v)
#endif
#ifndef rcu_access_pointer
#define rcu_access_pointer(p) CMM_LOAD_SHARED(p)
#endif
#ifndef rcu_dereference_raw
#define rcu_dereference_raw(p) rcu_dereference(p)
#endif
#ifndef rcu_dereference_check
#define rcu_dereference_check(p, condition) rcu_dereference(p)
#endif
#ifndef rcu_dereference_protected
#define rcu_dereference_protected(p, condition) CMM_LOAD_SHARED(p)
#endif
#ifndef rcu_replace_pointer
#define rcu_replace_pointer(p, v, condition) rcu_xchg_pointer(&(p), v)
#endif
#ifndef synchronize_rcu_expedited
#define synchronize_rcu_expedited() synchronize_rcu()
#endif
#ifndef rcu_read_lock_held
#define rcu_read_lock_held() rcu_read_ongoing()
#endif

#endif
