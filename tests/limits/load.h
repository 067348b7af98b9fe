/*
 * load.h - what the tests of limits run while something is refused: allocation of every kind, by threads, children and
 * handlers. A call gives a good block, or NULL with ENOMEM; what was given keeps its contents, and what calloc gives is
 * zero. On top of tests/signal/support.h.
 */
#ifndef LAB_TESTS_LIMITS_LOAD_H
#define LAB_TESTS_LIMITS_LOAD_H

#include "support.h"

/* start_test, and the names of the library that no header of libc declares. */
void load_start(int argc, char **argv, unsigned seconds);

/* How often calls of the load got memory and how often not, in this process. */
struct load_count {
	unsigned long given, refused;
};
extern struct load_count load_count;

/* p, or NULL: then errno must be ENOMEM. Counts. Call it with errno as the allocation left it, which began with
 * load_errno(). */
void *load_given(void *p);
void load_errno(void);

/* Random calls on blocks of all sizes: single-threaded, about 10 ms. */
void load_blocks(uint32_t seed);

/* The same blocks, none larger than `most`. */
void load_blocks_up_to(uint32_t seed, size_t most);

/* Generations of threads that hand blocks on. That a thread cannot be made is no failure. */
void load_threads(void);

/* A child that allocates, frees what it inherited, and has a thread. That there can be none is no failure. */
void load_fork(void);

/* Huge blocks that cannot grow where they are. */
void load_moves(void);

/* A timer's handler that allocates, and leaves the interrupted call by a jump now and then. */
void load_handlers(void);

/* Exclusive blocks with all marks, the atomic tier, malloc_trim, figures. */
void load_rest(void);

/* All of it. */
void load_all(void);

/* Blocks of every kind again, none of them refused: what failed was the limit, and it is gone. */
void load_must_work(void);

/* malloc_trim gives nothing back that is in use, and what it could not give back is zero all the same when calloc gives
 * it. */
void load_trim(void);

/* Takes blocks of `size` bytes until NULL, writes to them, at most `most` bytes; frees all. Returns how many there
 * were. */
size_t load_until_null(size_t size, size_t most);

/* load_until_null in several threads at once, which have all together `most` bytes at most. */
void load_threads_until_null(size_t most);

#endif
