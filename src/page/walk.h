/*
 * walk.h - reading the metadata of arenas without holding a segment of them: figures, purging, counting, repair. What is retired (retire.h)
 * is unmapped when every walk that may have seen it has ended. Nobody waits for that: who wants to unmap looks again another time.
 *
 * A walk announces itself in one of a fixed number of words {count, tid}, with the age at which it began and its stack pointer. An age
 * begins whenever something is retired. Walks are begun in frees, under a limit in mallocs, and in handlers that have interrupted any of it: so
 * this is all of an RCU that is wanted here, without its locks and waits (docs/adr/0013).
 *
 * INV-WALK-1  A word changes by CAS only, and each walk raises its count: no value occurs twice. It is let go by the walk's own frame, or by who
 *             has proved that this frame is gone: another frame of its thread by the stack pointers (os.h), others by the thread's
 *             death, read after the word, in the process that wrote it.
 * INV-WALK-2  A walk has begun when its word is still its own after age and stack pointer are stored. Before that it reads nothing that it
 *             protects, so that a handler may take the word from it: its frame then takes another.
 * INV-WALK-3  What became invisible (INV-ARENA-1) before age a began is not read by walks that have an age >= a, nor by those that begin
 *             later: the word is written, then `where` read; `where` written, then the age raised, then the words read (all sc).
 * INV-WALK-4  A frame that walks begins no other walk. (A handler that interrupts it does, with another word.)
 * A walk that finds no word free is counted; while there are such nothing is unmapped. One that is left by a jump then stays counted.
 */
#ifndef LAB_PAGE_WALK_H
#define LAB_PAGE_WALK_H

#include "page/map.h"

#define LAB_WALK_WORDS 64

struct lab_walk {
	bool everywhere; /* false: there was one arena, which stays; nothing is announced */
	int slot;        /* -1: none */
	uint32_t count;
};

void lab_walk_begin(struct lab_walk *walk);
void lab_walk_end(struct lab_walk *walk);

/* The i-th arena that may be looked at; NULL at the end. */
static inline struct lab_arena *
lab_walk_arena(const struct lab_walk *walk, size_t i)
{
	return i == 0 || walk->everywhere ? lab_map_arena(i) : NULL;
}

/* Which walk it is, in LAB_ARENA_TAG_BITS bits; the walk has a word. */
uint64_t lab_walk_tag(const struct lab_walk *walk);

/* Whether the walk with this tag has ended, or was cut short. */
bool lab_walk_is_over(uint64_t tag);

/* Begins an age, and returns it. */
uint64_t lab_walk_next_age(void);

/* Whether no walk but the caller's own may have begun before that age. */
bool lab_walk_none_before(uint64_t age, const struct lab_walk *own);

/* Which process writes the words. Without that no thread is taken for dead. */
void lab_walk_note_process(uint32_t pid);

/* In fork's child: walks of the forking thread go on under its new id, others do not exist. Repeatable. */
void lab_walk_after_fork(uint32_t old_tid, uint32_t new_tid);

#endif
