/*
 * support.h - what the signal tests share: blocks with patterns, one line on failure, a watchdog.
 *
 * The programs use plain malloc and free and know nothing of the library under test, so that they run on any; where
 * Labyrinth's figures are wanted they are found by dlsym. Everything here but start_test and end_test is
 * async-signal-safe.
 *
 * Exit codes: 0 passed, 1 a check failed, HANG_STATUS the watchdog fired; a crash ends by its signal.
 */
#ifndef LAB_TESTS_SIGNAL_SUPPORT_H
#define LAB_TESTS_SIGNAL_SUPPORT_H

#include <labyrinth/labyrinth.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HANG_STATUS = 124 };

/* The figures of the library; NULL if malloc is another one's. Found once by start_test: dlsym may allocate. */
extern void (*library_stats)(struct lab_stats *stats);
extern bool (*library_set)(enum lab_param param, size_t value);

/*
 * Reads the options, finds the library, and starts the watchdog: `seconds`, or SIGNAL_TEST_TIMEOUT.
 *
 *     --scale N    how much longer than in CI the test is to be
 *     --only TEXT  only scenarios whose names contain this
 */
void start_test(int argc, char **argv, unsigned seconds);
extern unsigned scale;
extern const char *only;

/* Prints that the test has passed; gives the exit status. */
int end_test(void);

/* Where the program is, for the line that reports a failure. */
extern const char *volatile current_scenario;
extern volatile uintptr_t current_offset; /* of the instruction that was interrupted last, in the library */

/* Ends the process with a line that says what failed and where. */
_Noreturn void fail(const char *what, uintptr_t a, uintptr_t b);

#define REQUIRE(condition) ((condition) ? (void)0 : fail(#condition, __LINE__, 0))

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

struct block {
	unsigned char *p;
	size_t size;
	unsigned seed;
};

/* A new block of the test's: must not be NULL, is aligned to 16, and gets a pattern of its own. */
struct block block_of(void *p, size_t size);

/* Fails unless the pattern is whole in the first `size` bytes. Large blocks are filled and checked at samples of each
 * page. */
void check_block_part(const struct block *block, size_t size);
void check_block(const struct block *block);

/* Fails unless all of a calloc'ed block is zero. */
void check_zero(const void *p, size_t size);

/* The block as it is after realloc gave `p` of `size` bytes: the old contents are checked, and it is filled anew. */
void reallocated(struct block *block, void *p, size_t size);

/* Checks, frees and forgets a block; nothing if it is empty. */
void free_block(struct block *block);

/* The same steps in one. */
struct block new_block(size_t size);

/* ---- address space ----------------------------------------------------------------------------------------------- */

/* Unless RLIMIT_AS is that already: sets it, and starts the program once more, so that it holds from the first
 * allocation on. */
void run_again_limited(size_t limit, char **argv);

/* Bytes that are mapped, and those that are resident. Without a call of malloc. */
size_t address_space(void);
size_t resident_bytes(void);

/* ---- small things ---------------------------------------------------------------------------------------------- */

/* A number that depends on the last; not for statistics. */
static inline uint32_t
next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Milliseconds of a monotonic clock. */
uint64_t now_ms(void);

#endif
