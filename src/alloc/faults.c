/*
 * faults.c - see faults.h. After the Linux kernel's fault injection (Documentation/fault-injection/):
 * the order in which space, interval, probability and times are asked is the kernel's.
 */
#include "alloc/faults.h"

#include <labyrinth/kernel/support.h>
#include <limits.h>

#include "alloc/request.h"
#include "base/parse.h"

static struct {
	_Atomic unsigned interval, probability, times;
	_Atomic size_t space;
	_Atomic(const void *) start, end;
	_Atomic bool only_atomic;
	_Atomic unsigned calls;
	_Atomic uint64_t random;
	_Atomic size_t made;
} faults;

LAB_EXPORT void
lab_faults_set(const struct lab_faults *wanted)
{
	static const struct lab_faults none;
	const struct lab_faults *to = wanted ? wanted : &none;

	lab_store_rlx(&faults.probability, 0);
	lab_store_rlx(&faults.interval, to->interval);
	lab_store_rlx(&faults.times, to->times);
	lab_store_rlx(&faults.space, to->space);
	lab_store_rlx(&faults.start, to->start);
	lab_store_rlx(&faults.end, to->end);
	lab_store_rlx(&faults.only_atomic, to->only_atomic);
	lab_store_rlx(&faults.calls, 0);
	lab_store_rlx(&faults.made, 0);
	lab_store_rlx(&faults.random, UINT64_C(0x2545f4914f6cdd1d)); /* the same failures in each run */
	lab_store_rel(&faults.probability, to->probability);         /* pairs with the acq of lab_fault */
}

LAB_EXPORT size_t
lab_faults_made(void)
{
	return lab_load_rlx(&faults.made);
}

/* 0 to 99: the high bits of a Weyl sequence, mixed. */
static unsigned
roll(void)
{
	uint64_t x = lab_add_rlx(&faults.random, UINT64_C(0x9e3779b97f4a7c15));

	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return (unsigned)((x >> 32) * 100 >> 32);
}

/* Takes the bytes of a call away from those that are spared. False: none are left. */
static bool
spend_space(size_t size)
{
	size_t left = lab_load_rlx(&faults.space);

	while (left > size)
		if (atomic_compare_exchange_weak_explicit(&faults.space, &left, left - size, memory_order_relaxed,
		                                          memory_order_relaxed))
			return true;
	return false;
}

static bool
spend_one_time(void)
{
	unsigned left = lab_load_rlx(&faults.times);

	while (left != 0 && left != UINT_MAX)
		if (atomic_compare_exchange_weak_explicit(&faults.times, &left, left - 1, memory_order_relaxed,
		                                          memory_order_relaxed))
			return true;
	return left != 0;
}

static bool
is_here(const void *caller)
{
	const void *start = lab_load_rlx(&faults.start), *end = lab_load_rlx(&faults.end);

	return (!start && !end) || (uintptr_t)caller - (uintptr_t)start < (uintptr_t)end - (uintptr_t)start;
}

LAB_EXPORT LAB_NOINLINE bool
lab_fault(size_t size, unsigned gfp)
{
	unsigned probability = lab_load_acq(&faults.probability); /* pairs with the rel of lab_faults_set */

	if (probability == 0 || size == 0 || gfp & LAB_GFP_NOFAIL || lab_load_rlx(&faults.times) == 0)
		return false;
	if (lab_load_rlx(&faults.only_atomic) && lab_gfp_is(gfp, LAB_GFP_KERNEL))
		return false;
	if (!is_here(__builtin_return_address(0)) || spend_space(size))
		return false;
	unsigned interval = lab_load_rlx(&faults.interval);
	if (interval > 1 && (lab_add_rlx(&faults.calls, 1) + 1) % interval != 0)
		return false;
	if (roll() >= probability || !spend_one_time())
		return false;
	lab_add_rlx(&faults.made, 1);
	return true;
}

bool
lab_faults_set_text(const char *text)
{
	struct lab_faults wanted = {0};
	size_t interval, probability, times;

	text = lab_parse_number(text, &interval);
	text = text && *text == ',' ? lab_parse_number(text + 1, &probability) : NULL;
	text = text && *text == ',' ? lab_parse_size(text + 1, &wanted.space) : NULL;
	if (!text || *text++ != ',' || interval > UINT_MAX || probability > 100)
		return false;
	bool is_endless = text[0] == '-' && text[1] == '1' && text[2] == 0;
	if (!is_endless) {
		text = lab_parse_number(text, &times);
		if (!text || *text || times >= UINT_MAX)
			return false;
	}
	wanted.interval = (unsigned)interval;
	wanted.probability = (unsigned)probability;
	wanted.times = is_endless ? UINT_MAX : (unsigned)times;
	lab_faults_set(&wanted);
	return true;
}
