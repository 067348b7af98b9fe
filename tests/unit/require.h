/*
 * require.h - a check that works in any thread and in any program: one line on stderr, then abort.
 *
 * Criterion's assertions jump out of the test, which only the test's main thread may do, and Criterion itself does not
 * start under ThreadSanitizer (its sandbox wants an address range that TSan has taken). So helpers, threads and the
 * programs of suite 'threads' use REQUIRE; Criterion shows the abort as a crash of the test, with the line.
 */
#ifndef LAB_TESTS_UNIT_REQUIRE_H
#define LAB_TESTS_UNIT_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* The same, with the numbers that a failure needs. */
#define REQUIRE_EQUAL(a, b)                                                                                            \
	do {                                                                                                           \
		unsigned long long a_ = (unsigned long long)(a), b_ = (unsigned long long)(b);                         \
		if (a_ != b_) {                                                                                        \
			fprintf(stderr, "%s:%d: failed: %s == %s (0x%llx, 0x%llx)\n", __FILE__, __LINE__, #a, #b, a_,  \
			        b_);                                                                                   \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#endif
