/* provision_config.c - how large the reserve is and what is in it: LABYRINTH_RESERVE and its kin. Read once, by the constructor. */
#include <string.h>

#include "alloc/alloc.h"
#include "alloc/provision.h"

#define GROWTH_DEFAULT 4u /* times the size */

/* 32 bytes to 64 KiB: 306 KiB, and 18 KiB of overflow. */
static const uint32_t mix[LAB_RESERVE_CLASSES] = {64, 128, 64, 64, 32, 16, 8, 16, 4, 2, 1, 1};
#define MIX_SIZE ((size_t)324 << 10)

struct lab_provision_settings lab_provision_settings = {.size = MIX_SIZE, .lock = true};

static bool
set_whole_size(const char *text, size_t *size)
{
	size_t value;
	const char *end = lab_parse_size(text, &value);

	if (!end || *end != 0)
		return false;
	*size = value;
	return true;
}

bool
lab_provision_set_size(const char *text)
{
	if (!set_whole_size(text, &lab_provision_settings.size))
		return false;
	lab_provision_settings.exact = false;
	lab_provision_settings.asked = lab_provision_settings.size != 0;
	return true;
}

bool
lab_provision_set_limit(const char *text)
{
	return set_whole_size(text, &lab_provision_settings.limit);
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
lab_provision_set_classes(const char *text)
{
	uint32_t slots[LAB_RESERVE_CLASSES] = {0};

	text = parse_class(text, slots);
	while (text && *text == ',')
		text = parse_class(text + 1, slots);
	if (!text)
		return false;
	memcpy(lab_provision_settings.slots, slots, sizeof slots);
	lab_provision_settings.exact = true;
	lab_provision_settings.asked = true;
	return true;
}

static bool
set_flag(const char *text, bool *flag)
{
	if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
		return false;
	*flag = *text == '1';
	return true;
}

bool
lab_provision_set_lock(const char *text)
{
	return set_flag(text, &lab_provision_settings.lock);
}

bool
lab_provision_set_kswapd(const char *text)
{
	return set_flag(text, &lab_provision_settings.kswapd);
}

static uint32_t
scaled(uint32_t slots, size_t size)
{
	size_t whole = size / MIX_SIZE, rest = size % MIX_SIZE;
	size_t n = whole < UINT32_MAX / 256 ? slots * whole + slots * rest / MIX_SIZE : UINT32_MAX / 2;

	return (uint32_t)n;
}

bool
lab_provision_plan(struct lab_reserve_plan *plan)
{
	const struct lab_provision_settings *settings = &lab_provision_settings;
	size_t bytes = 0;

	*plan = (struct lab_reserve_plan){0};
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		plan->slots[c] = settings->exact ? settings->slots[c] : scaled(mix[c], settings->size);
		if (c > 0) /* nothing is rounded up to the least class */
			plan->overflow[c] = plan->slots[c] / 8;
		bytes += (size_t)(plan->slots[c] + plan->overflow[c]) << (c + LAB_RESERVE_MIN_SHIFT);
	}
	plan->limit = settings->limit ? settings->limit : bytes * GROWTH_DEFAULT;
	return bytes != 0 && lab_reserve_plan(plan);
}
