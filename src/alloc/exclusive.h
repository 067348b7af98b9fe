/* exclusive.h - blocks that are one thread's: who may free them. The rules stand in heap/exclusive.h. Any context. */
#ifndef LAB_ALLOC_EXCLUSIVE_H
#define LAB_ALLOC_EXCLUSIVE_H

#include <labyrinth/labyrinth.h>

#include "heap/exclusive.h"
#include "heap/thread.h"
#include "os/os.h"
#include "page/map.h"

enum { LAB_EXCLUSIVE_FIRST_MARK = 9 }; /* of the LAB_GFP_ bits */

_Static_assert((LAB_GFP_LOCKED & ~LAB_GFP_EXCLUSIVE) >> LAB_EXCLUSIVE_FIRST_MARK == LAB_MARK_LOCKED,
               "flags, marks: one order");
_Static_assert((LAB_GFP_NOFORK & ~LAB_GFP_EXCLUSIVE) >> LAB_EXCLUSIVE_FIRST_MARK == LAB_MARK_NOFORK, "the same");
_Static_assert((LAB_GFP_NOMERGE & ~LAB_GFP_EXCLUSIVE) >> LAB_EXCLUSIVE_FIRST_MARK == LAB_MARK_NOMERGE, "the same");

/* The marks of a run that is allocated with these flags; and the flags. */
static inline uint64_t
lab_exclusive_marks(unsigned gfp)
{
	return (uint64_t)gfp << (LAB_EXCLUSIVE_MARK_SHIFT - LAB_EXCLUSIVE_FIRST_MARK) & LAB_EXCLUSIVE_MARKS;
}

static inline unsigned
lab_exclusive_gfp(uint64_t marks)
{
	return (unsigned)((marks & LAB_EXCLUSIVE_MARKS) >> (LAB_EXCLUSIVE_MARK_SHIFT - LAB_EXCLUSIVE_FIRST_MARK)) |
	       LAB_GFP_EXCLUSIVE;
}

/* LIVE→FREEING for a run that is not an ordinary live one: what its pages were marked for is undone. False: it stays,
 * as its owner is another thread, or is lost, as the marks stay. Reports what it refuses, a double free included. */
bool lab_exclusive_begin_release(const struct lab_place *place, void *p, const char *call);

/* The run of an exclusive block, if that is its place; else NULL. */
struct lab_run *lab_exclusive_run(const struct lab_place *place);

/* Says that p is an exclusive block of another thread, as a misuse or, with LABYRINTH_EXCLUSIVE=log, as what was
 * refused. */
void lab_exclusive_refuse(const char *call, const void *p);

#endif
