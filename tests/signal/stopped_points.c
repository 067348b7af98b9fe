/*
 * stopped_points.c - see stopped.h: which instructions of an operation are worth a round. An operation passes up to
 * 50,000, and most of them lie between the same two steps of a protocol: a thread that stops there has shown nothing
 * new to the others.
 */
#include "stopped.h"

#include <string.h>

enum { POINTS_MAX = 1 << 19, TEXT_MAX = 4 << 20 };

static uint32_t trace[POINTS_MAX]; /* the offset of each instruction, in order */
static bool is_call[POINTS_MAX];   /* whether it is the first of a function in another object, at its caller's offset */
static size_t traced;
static const unsigned char *text; /* offset 0 */
static unsigned char covered[TEXT_MAX / 8];
static uint32_t times[TEXT_MAX]; /* that an offset has been passed */

static bool
is_set(const unsigned char *bits, uint32_t offset)
{
	return bits[offset / 8] >> (offset % 8) & 1;
}

static bool
test_and_set(unsigned char *bits, uint32_t offset)
{
	bool was = is_set(bits, offset);

	bits[offset / 8] |= (unsigned char)(1u << (offset % 8));
	return was;
}

void
points_forget(void)
{
	traced = 0;
}

void
points_record(uint32_t offset, uintptr_t address)
{
	if (traced == 0)
		text = (const unsigned char *)(address - offset);
	if (traced < POINTS_MAX && offset < TEXT_MAX) {
		is_call[traced] = text + offset != (const unsigned char *)address;
		trace[traced++] = offset;
	}
}

size_t
points_traced(void)
{
	return traced;
}

bool
points_cover(uint32_t offset)
{
	return !test_and_set(covered, offset);
}

/* An instruction that others see the effect of at once: a locked one, xchg with memory, a system call. */
static bool
is_step(size_t k)
{
	const unsigned char *code = text + trace[k];
	unsigned rex = (code[0] & 0xf0) == 0x40;

	return code[0] == 0xf0 || (code[rex] | 1) == 0x87 || (code[0] == 0x0f && code[1] == 0x05);
}

/* The kind of point that k is; to be asked in order. */
static enum points_kind
kind_of(size_t k)
{
	uint32_t before = times[trace[k]]++;

	if ((before & (before + 1)) == 0 &&
	    (is_step(k) || (k > 0 && is_step(k - 1)))) /* the 1st, 2nd, 4th, 8th … time */
		return POINTS_STEPS;
	return before == 0 && !is_set(covered, trace[k]) ? POINTS_NEW : POINTS_OTHER;
}

size_t
points_choose(enum points_kind kind, size_t most, const size_t **chosen)
{
	static size_t found[POINTS_MAX];
	size_t count = 0;

	memset(times, 0, sizeof times);
	for (size_t k = 0; k < traced; k++)
		if (kind_of(k) == kind)
			found[count++] = k;
	for (size_t i = 0; count > most && i < most; i++)
		found[i] = found[(i * 2 + 1) * count / (most * 2)];
	*chosen = found;
	return count < most ? count : most;
}

struct point
points_aim(size_t k)
{
	struct point point = {.offset = trace[k], .is_call = is_call[k]};

	for (size_t i = 0; i <= k; i++)
		point.countdown += trace[i] == trace[k] && is_call[i] == is_call[k];
	return point;
}
