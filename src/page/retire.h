/*
 * retire.h - arenas other than the first go back to the system when nothing of them is in use. Any context; waits for nothing. Every
 * step is one CAS of `where` (arena.h), and what is cut short is undone, or gone on with, by the next party that comes.
 *
 * | from, to | who, how | a tear here → who goes on |
 * |---|---|---|
 * | LIVE → RETIRING{n} | anyone; n is new | RETIRING: a claimer makes it LIVE, another attempt RETIRING{n'} |
 * | RETIRING{n} → UNMAPPING{walk} | who saw all owner words FREE and all purge words 0 after it wrote n | see below |
 * | RETIRING → LIVE | who saw that it is in use; a claimer | |
 * | UNMAPPING{walk} → UNMAPPING{own} | anyone, once that walk is over | see below |
 * | UNMAPPING{own} → WAITING{age} | payload unmapped, words as those of an empty seat, an age begun | another finds by the range's tokens
 * whether the payload is there still; the rest can be done again |
 * | UNMAPPING{own} → LIVE | the system has refused to unmap | |
 * | WAITING{age} → FORGETTING{walk} | anyone, once no walk is older | as UNMAPPING |
 * | FORGETTING{own} → EMPTY, or WAITING | metadata unmapped; or refused | as UNMAPPING |
 * | EMPTY → LIVE | who has a new range for it (lab_map_grow) | the range was nobody's yet: its address space is lost |
 */
#ifndef LAB_PAGE_RETIRE_H
#define LAB_PAGE_RETIRE_H

#include "page/arena.h"

/*
 * Retires the arenas of which nothing was in use for `age` milliseconds, as seen by calls of this function with the time in `now`; and unmaps what
 * waits and may be. Returns the bytes of payload unmapped.
 */
size_t lab_arenas_retire(uint64_t now, uint64_t age);

/* Whether there is an arena that has begun to go, or would if nobody used it. */
bool lab_arenas_are_idle(void);

#endif
