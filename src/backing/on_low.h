/* on_low.h - the callback of lab_reserve_on_low: once for each time that a class has got low. */
#ifndef LAB_BACKING_ON_LOW_H
#define LAB_BACKING_ON_LOW_H

#include "base/lease.h"

struct lab_low_callback {
	void (*call)(void *context, size_t size);
	void *context;
};

/* The one in force from now on, which is never freed; NULL: none. */
void lab_low_set(const struct lab_low_callback *callback);

/* Class c is low, or not; was_low: it has been since the last look. */
void lab_low_note(unsigned c, bool was_low, bool is_low);

/* Makes the calls that are due. sp: the API function's entry. errno stays. */
void lab_low_deliver(uintptr_t sp);

/* A lab_lease_kind. */
void lab_low_settle(const struct lab_lease_fork *fork);

#endif
