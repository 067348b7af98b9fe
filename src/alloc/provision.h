/*
 * provision.h - who gives the reserve its memory, keeps it resident, and makes it grow and shrink. Private to src/alloc.
 *
 * Nothing here is called by the atomic tier; a claim that gets below the low mark leaves a bit in lab_reserve_hungry, and the next slow
 * call of the normal tier on the thread's own heap sees it.
 */
#ifndef LAB_ALLOC_PROVISION_H
#define LAB_ALLOC_PROVISION_H

#include <labyrinth/labyrinth.h>

#include "reserve/share.h"

/* In lab_reserve_hungry, above the classes' bits: a class is low and its rise is waited for; fork's child has to make its copies. */
#define LAB_HUNGRY_WATCH  (1u << 30)
#define LAB_HUNGRY_COPIED (1u << 31)

/* By the constructor. */
void lab_provision_start(void);

/* One line on stderr if a reserve was asked for by name and is not strict: in which mode it is, and why. */
void lab_provision_report(void);

/* "none", "populated only", "strict", "copied by fork". */
const char *lab_reserve_mode_name(enum lab_reserve_mode mode);

bool lab_provision_look(uintptr_t sp);

/* What hungry classes ask for: growth, and the callback. Any thread that is inside no heap and has no frame suspended in one; sp: the API
 * function's entry. errno stays. True if a class was grown. */
static inline bool
lab_provision_tick(uintptr_t sp)
{
	return lab_unlikely(lab_load_rlx(&lab_reserve_hungry)) && lab_provision_look(sp);
}

/* Gives back chunks and shares that nobody needs. True if any was. */
bool lab_provision_shrink(void);

/* Makes all that the atomic tier touches resident again, as the process's own. */
void lab_provision_rearm(void);

/* In fork's child, a lab_lease_kind that has no leases: the copies are to be made. */
void lab_provision_after_fork(const struct lab_lease_fork *fork);

/* Makes a range of the reserve or a share accessible, resident and, if wanted and allowed, locked; and resident what free() reads to tell
 * that `slots` are no blocks. False: it is not resident. */
bool lab_provision_fill(struct lab_range range, struct lab_range slots);

enum lab_reserve_mode lab_provision_mode(const char **why);

/* The pages of this library that the atomic tier may touch: whether each is to be written too. Nothing in a statically linked program. */
void lab_library_each_range(void (*visit)(struct lab_range range, bool write));

/* on_low.c: class c is low, or not. */
void lab_low_note(unsigned c, bool was_low, bool is_low);
void lab_low_deliver(uintptr_t sp);
void lab_low_settle(const struct lab_lease_fork *fork); /* a lab_lease_kind */

/* kswapd.c: once by the constructor, again in fork's child. */
void lab_kswapd_start(void);

/* Settings: provision_config.c. False: not understood. */
bool lab_provision_set_size(const char *text);
bool lab_provision_set_classes(const char *text);
bool lab_provision_set_limit(const char *text);
bool lab_provision_set_lock(const char *text);
bool lab_provision_set_kswapd(const char *text);

struct lab_provision_settings {
	size_t size;  /* 0: no reserve */
	size_t limit; /* 0: by default */
	uint32_t slots[LAB_RESERVE_CLASSES];
	bool exact; /* slots holds; size does not */
	bool asked; /* for a reserve, by name */
	bool lock, kswapd;
};
extern struct lab_provision_settings lab_provision_settings;

/* The plan that the settings ask for. False: no reserve. */
bool lab_provision_plan(struct lab_reserve_plan *plan);

#endif
