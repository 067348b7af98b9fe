/*
 * check.h - assertions of the invariants (INV-…) and the report of misuse. Any context.
 *
 * lab_assert is compiled in with -Dasserts=true. lab_report_misuse is always there: one line, then abort.
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

/* The same line, and the caller goes on: for what was refused and has changed nothing. */
LAB_COLD void lab_report_refusal(const char *call, const void *p, const char *reason);

#define lab_assert(x)                                                                                                              \
	do {                                                                                                                       \
		if (LAB_ASSERTS && lab_unlikely(!(x)))                                                                             \
			lab_assert_failed(#x, __FILE__, __LINE__);                                                                 \
	} while (0)

#endif
