/* settings.c - see settings.h. */
#include <string.h>

#include "backing/settings.h"
#include "base/parse.h"
#include "base/program.h"

/* 32 bytes to 64 KiB: 306 KiB, and 18 KiB of overflow. */
#define MIX                                                                                                            \
	{                                                                                                              \
		64, 128, 64, 64, 32, 16, 8, 16, 4, 2, 1, 1                                                             \
	}
#define MIX_SIZE ((size_t)324 << 10)

static const uint32_t mix[LAB_RESERVE_CLASSES] = MIX;

/* The buffers of a driver's receive ring: 64 of 2 KiB. */
enum { RING_SLOTS = 64, RING_CLASS = 11 - LAB_RESERVE_MIN_SHIFT };

struct lab_backing_settings lab_backing_settings = {.plan.slots = MIX};

static uint32_t
scaled(uint32_t slots, size_t size)
{
	size_t whole = size / MIX_SIZE, rest = size % MIX_SIZE;
	size_t n = whole < UINT32_MAX / 256 ? slots * whole + slots * rest / MIX_SIZE : UINT32_MAX / 2;

	return (uint32_t)n;
}

void
lab_backing_set_size(size_t size)
{
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
		lab_backing_settings.plan.slots[c] = scaled(mix[c], size);
	lab_backing_settings.asked = size != 0;
}

void
lab_backing_plan_receive_ring(void)
{
	uint32_t *slots = lab_backing_settings.plan.slots;

	if (lab_program_is_kernels() && memcmp(slots, mix, sizeof mix) == 0)
		slots[RING_CLASS] = RING_SLOTS;
}

/* "SIZE:COUNT", then the end or a comma. Returns what follows; NULL if it is none. */
static const char *
parse_class(const char *text, uint32_t *slots)
{
	size_t size, count;

	text = lab_parse_size(text, &size);
	if (!text || *text != ':')
		return NULL;
	text = lab_parse_size(text + 1, &count);
	if (!text || (*text != 0 && *text != ',') || count > UINT32_MAX / 2)
		return NULL;
	if (!lab_is_power_of_two(size) || size < 1u << LAB_RESERVE_MIN_SHIFT || size > 1u << LAB_RESERVE_MAX_SHIFT)
		return NULL;
	slots[lab_log2(size) - LAB_RESERVE_MIN_SHIFT] = (uint32_t)count;
	return text;
}

bool
lab_backing_set_classes(const char *text)
{
	uint32_t slots[LAB_RESERVE_CLASSES] = {0};

	text = parse_class(text, slots);
	while (text && *text == ',')
		text = parse_class(text + 1, slots);
	if (!text)
		return false;
	memcpy(lab_backing_settings.plan.slots, slots, sizeof slots);
	lab_backing_settings.asked = true;
	return true;
}
