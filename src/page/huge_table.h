/*
 * huge_table.h - the table of huge blocks' mappings, and the steps from state to state: what the files of huge.h share. Private to page/. Any
 * context.
 */
#ifndef LAB_PAGE_HUGE_TABLE_H
#define LAB_PAGE_HUGE_TABLE_H

#include "page/huge.h"

struct lab_huge_part {
	_Atomic size_t reach;     /* places from an address's own that may be in use; only grows */
	_Atomic uint64_t *cached; /* a bit an entry, 1 = probably CACHED */
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

/* By who has the entry. rel: what was written to it before. */
static inline void
lab_huge_set_state(struct lab_huge *huge, enum lab_huge_kind kind)
{
	lab_store_rel(&huge->run.state, lab_huge_next_state(lab_load_rlx(&huge->run.state), kind));
}

/* Adds one to the entries that are in use (INV-HUGE-4), and takes it back. False: no room in the table. */
bool lab_huge_count_in(void);
void lab_huge_count_out(void);

/* FREE → MAKING for an entry of this address, by who has counted in; the other words are filled in. */
struct lab_huge *lab_huge_win_entry(char *base, size_t mapped);

/* To FREE, and counts out. `base` stays: it says what was here. */
void lab_huge_give_entry_back(struct lab_huge *huge);

/* What is about to be done, and that it is over. The barriers: a frame that is cut short leaves the record before the state. */
void lab_huge_note(struct lab_huge_hand *hand, struct lab_huge *huge, uint64_t state);
void lab_huge_let_go(struct lab_huge_hand *hand);

/* To CACHED, by who has the entry. */
void lab_huge_cache(struct lab_huge *huge);

/* The system did not let a mapping go when it was asked last: huge_cached.c. */
extern _Atomic bool lab_huge_unmap_is_refused;

#endif
