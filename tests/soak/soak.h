/*
 * soak.h - what the parts of the soak share. A program under the drop-in that goes through the same phases again and
 * again (grow, churn, shrink, rest), with every kind of load that this library has met, and knows at each instant how
 * much of what it allocated is live. Samples go to a file; run.py judges them.
 *
 * Players are threads that live as long as the program and do their part of each phase. Between two phases all of them
 * wait, so that the figures of a phase's end are exact. Everything that is live carries a pattern and is checked when
 * it changes hands or goes.
 */
#ifndef LAB_TESTS_SOAK_SOAK_H
#define LAB_TESTS_SOAK_SOAK_H

#include <labyrinth/labyrinth.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum phase { GROW, CHURN, SHRINK, REST, SEND, SETTLE, LEAVE };

struct options {
	unsigned seconds, cycles, workers; /* at least so long, and so many cycles */
	size_t mib;                        /* what workers hold at the peak, all together */
	uint32_t seed;
	const char *file;
};
extern struct options options;
extern unsigned cycle; /* written by the main thread between phases */

/* ---- blocks.c: any context ------------------------------------------------------------------------------------- */

extern _Atomic size_t live_bytes, live_blocks, operations;

/* Counts a block, and fills it. */
struct block keep(void *p, size_t size);
/* Checks a block, no longer counts it, and gives it to `release`. Nothing for an empty one. */
void drop_by(struct block *block, void (*release)(void *));
void drop(struct block *block);
/* By one of malloc's family. */
struct block allocate(uint32_t *random, size_t size);
void resize(struct block *block, size_t size);
/* One block through many sizes, up to huge ones and down again. */
void climb(uint32_t *random);
/* The n'th mix of sizes is for a worker's turn; other loads name theirs. */
enum mix { TINY, SMALL, MIDDLING, PAGES, HUGE_ONES, MIXED, MIXES };
size_t size_of(enum mix mix, uint32_t *random);

/* Small blocks, not counted, of a frame that others cut off wherever it is: what is still in the hand then is not
 * lost. */
enum { IN_HAND = 4 };
struct hand {
	void *volatile p[IN_HAND];
};
_Noreturn void fill_and_empty(struct hand *hand, uint32_t *random); /* lets itself be cancelled now and then */
void empty_hand(struct hand *hand);

/* A place where anyone puts a block and takes another's. */
enum { SHELF = 512 };
void exchange(uint32_t *random);
struct block take_from_shelf(uint32_t *random); /* empty where there was none */
void clear_shelf(void);

/* ---- the players ----------------------------------------------------------------------------------------------- */

struct player {
	void (*play)(struct player *player, enum phase phase);
	unsigned number;
	uint32_t random;
	pthread_t thread;
	_Atomic int tid;
};

void play_work(struct player *player,
               enum phase phase); /* workers.c: blocks in all sizes, handed on by pairs; interrupted */
void play_births(struct player *player, enum phase phase); /* lives.c: threads that are born and end, in every way */
void play_forks(struct player *player, enum phase phase);  /* forks.c */
void play_jumps(struct player *player, enum phase phase);  /* signals.c: left by siglongjmp */
void play_libc(struct player *player, enum phase phase);   /* libc_calls.c: what libc allocates for itself */
void play_tiers(struct player *player,
                enum phase phase); /* tiers.c: caches, pools, shares, exclusive blocks; two of them */

extern struct player *tier_players[2];

/* ---- signals.c --------------------------------------------------------------------------------------------------- */

/* A timer that interrupts the calling thread, whose handler allocates; off between phases. `number` is the worker's. */
void be_interrupted(unsigned number);
void be_left_alone(void);
void drop_held(unsigned number); /* what the worker's handler holds */
extern _Atomic size_t handlers, jumps;

/* Calls that were cut off by a jump or a thread's end: each may lose the block in hand, and a batch. */
extern _Atomic size_t cuts;
/* In some cycles only: what is lost must not hide what leaks. */
static inline bool
is_cutting(void)
{
	return cycle % 4 == 0;
}
extern _Atomic size_t births, forks;

/* ---- sampler.c ------------------------------------------------------------------------------------------------- */

void open_samples(void);
/* Writes a line; allocates nothing. */
void take_sample(const char *point);
/* Waits until free pages have gone back, or some seconds, calling malloc now and then. */
void rest_until_quiet(void);
/* The same after all is freed. */
void rest_until_empty(void);
/* Threads are born that do next to nothing: they absorb the heaps of dead ones. */
void absorb_the_dead(void);

#endif
