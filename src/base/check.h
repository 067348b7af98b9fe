/*
 * check.h - assertions of the invariants (INV-…) and the report of misuse. Any context.
 *
 * lab_assert is compiled in with -Dasserts=true. lab_report_misuse is always there: one line, then abort. Who calls it
 * holds nothing, as the handler of SIGABRT may allocate, and may jump out. What it misuses itself ends the process
 * after one more line: reports do not nest in a thread, nor in a child that was forked in the middle of one.
 * Both end in functions of the os layer, the only one that can write.
 */
#ifndef LAB_BASE_CHECK_H
#define LAB_BASE_CHECK_H

#include "base/compiler.h"

#ifndef LAB_ASSERTS
#define LAB_ASSERTS 0
#endif

/* "labyrinth: assertion failed: <text> (<file>:<line>)", then abort. */
LAB_COLD LAB_NORETURN void lab_assert_failed(const char *text, const char *file, int line);

/* "labyrinth: <call>(0x<p>): <reason>", then abort. Async-signal-safe. */
LAB_COLD LAB_NORETURN void lab_report_misuse(const char *call, const void *p, const char *reason);

/* "labyrinth: heap corrupted: a freed block of this span was written to: 0x<start>-0x<end>, blocks of <n> bytes", then
 * abort. */
LAB_COLD LAB_NORETURN void lab_report_damage(const void *start, size_t bytes, size_t block_size);

/* The same line as lab_report_misuse's, and the caller goes on: for what was refused and has changed nothing. */
LAB_COLD void lab_report_refusal(const char *call, const void *p, const char *reason);

#define lab_assert(x)                                                                                                  \
	do {                                                                                                           \
		if (LAB_ASSERTS && lab_unlikely(!(x)))                                                                 \
			lab_assert_failed(#x, __FILE__, __LINE__);                                                     \
	} while (0)

#endif
