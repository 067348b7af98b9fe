/* atomic_tier.c - see atomic_tier.h. */
#include "atomic_tier.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"

struct tier tier;

static void
find(void *function, const char *name)
{
	void *found = dlsym(RTLD_DEFAULT, name);

	if (!found) {
		fprintf(stderr, "the malloc under test has no %s\n", name);
		exit(1);
	}
	*(void **)function = found;
}

void
find_tier(void)
{
	find(&tier.alloc, "lab_alloc");
	find(&tier.alloc_aligned, "lab_alloc_aligned");
	find(&tier.alloc_pages, "lab_alloc_pages");
	find(&tier.free_pages, "lab_free_pages");
	find(&tier.realloc, "lab_realloc");
	find(&tier.release, "lab_free");
	find(&tier.usable_size, "lab_usable_size");
	find(&tier.reserve_info, "lab_reserve_info");
	find(&tier.reserve_class_get, "lab_reserve_class_get");
	find(&tier.reserve_thread, "lab_reserve_thread");
	find(&tier.reserve_balance, "lab_reserve_balance");
	find(&tier.reserve_on_low, "lab_reserve_on_low");
	find(&tier.owner, "lab_owner");
	find(&tier.transfer, "lab_transfer");
	find(&tier.cache_create, "lab_cache_create");
	find(&tier.cache_alloc, "lab_cache_alloc");
}

void
touch_own_pages(void *data, size_t size)
{
	volatile char below[32 * 1024];
	volatile char *p = data;
	extern char __data_start[] __attribute__((weak)), _end[] __attribute__((weak));

	for (size_t i = 0; i < sizeof below; i += 4096)
		below[i] = 0;
	for (size_t i = 0; i < size; i += 4096)
		p[i] = p[i];
	if (__data_start && _end)
		for (volatile char *q = __data_start; q < _end; q += 4096)
			*q = *q;
	(void)below[0];
	errno = 0; /* the thread's own variables */
}
