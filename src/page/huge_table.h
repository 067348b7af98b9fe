/*
 * huge_table.h - the table of huge blocks' mappings, and the step from state to state. Private to huge.c and
 * huge_table.c. Any context.
 */
#ifndef LAB_PAGE_HUGE_TABLE_H
#define LAB_PAGE_HUGE_TABLE_H

#include "page/huge.h"

struct lab_huge_part {
	_Atomic size_t reach;     /* places from an address's own that may be in use; only grows */
	_Atomic uint64_t *cached; /* a bit an entry; 1: probably CACHED. A CACHED entry's bit is set, or about to be. */
	struct lab_huge *entries;
	size_t count; /* a power of two, at least 64 */
};

/* The i-th part; NULL: there are not so many. */
struct lab_huge_part *lab_huge_part_at(size_t i);

static inline uint64_t
lab_huge_next_state(uint64_t state, enum lab_huge_kind kind)
{
	return lab_lease_next(state, 0, (unsigned)kind);
}

/* By the entry's owner. */
static inline void
lab_huge_set_state(struct lab_huge *huge, enum lab_huge_kind kind)
{
	/* pairs with the acq of those who look at the state: they see the words that were written before */
	lab_store_rel(&huge->run.state, lab_huge_next_state(lab_load_rlx(&huge->run.state), kind));
}

/* Adds one to the entries that are in use (INV-HUGE-4), and takes it back. False: no room in the table. */
bool lab_huge_count_in(void);
void lab_huge_count_out(void);

/* FREE → BUSY for an entry of this address, by a thread that has counted itself. */
struct lab_huge *lab_huge_win_entry(char *base, size_t mapped);

/* BUSY → FREE, and counts out. `base` stays. */
void lab_huge_give_entry_back(struct lab_huge *huge);

/* To CACHED, by the entry's owner. */
void lab_huge_cache(struct lab_huge *huge);

/* Clears the entry's bit in `cached`, unless the entry is CACHED. */
void lab_huge_hide(const struct lab_huge *huge);

#endif
