/* report.h - lines on stderr. Async-signal-safe. */
#ifndef LAB_RCU_REPORT_H
#define LAB_RCU_REPORT_H

#include <stddef.h>
#include <stdint.h>

/* "labyrinth: rcu: <bytes> bytes in <blocks> blocks wait, <why>" and, unless it is 0, " <ms> ms". */
void lab_rcu_report(size_t bytes, size_t blocks, const char *why, uint64_t ms);

#endif
