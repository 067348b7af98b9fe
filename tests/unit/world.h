/*
 * world.h - the kernel as the tests want it: hooks for the table lab_os that count, fail, move the clock and let
 * threads die.
 *
 * world_install() puts them in; each passes on to the real function unless it is told otherwise. The variables are
 * plain: single-threaded tests only.
 */
#ifndef LAB_TESTS_UNIT_WORLD_H
#define LAB_TESTS_UNIT_WORLD_H

#include <sys/mman.h>

#include "os/os.h"
#include "require.h"

struct world {
	struct lab_os_table real;
	size_t map_limit;       /* maps of more bytes than this fail */
	size_t map_least;       /* and of fewer than this */
	bool commit_fails;      /* no large block is allowed; else any is, whatever this machine has */
	size_t maps, maps_left; /* calls so far; how many more may succeed */
	bool (*on_map_at)(void *start, size_t size, enum lab_mapped *result); /* true: *result is the answer */
	size_t unmaps;                                                        /* calls */
	bool unmap_fails;
	void (*on_unmap)(void *start, size_t size), (*after_unmap)(void *start, size_t size);
	size_t protects;       /* calls */
	size_t protects_left;  /* how many more may succeed */
	size_t purges, purged; /* calls, bytes */
	bool purge_fails;      /* madvise gives an error */
	void (*on_purge)(void *start, size_t size);
	size_t huge_pages, huge_bytes; /* calls, and what the last one was */
	enum lab_huge_pages huge_when;
	size_t marks, renewals; /* calls */
	bool mark_fails;        /* after the fact */
	bool renew_fails;
	size_t waits;                     /* calls */
	void (*on_wait)(void);            /* instead of waiting */
	size_t populates, locks, unlocks; /* calls */
	size_t populates_to_fail;         /* so many more */
	bool populate_fails, lock_fails;
	size_t locks_left; /* how many more may succeed */
	size_t extends;    /* calls */
	bool extend_fails;
	bool extend_moves; /* not where it lies */
	bool clock_is_set; /* the clock shows `now` */
	uint64_t now;
	size_t probes;
	bool deaths_are_set; /* no thread but `dead_tid` is dead */
	uint32_t dead_tid;
	void (*on_probe)(uint32_t tid);
	void (*on_clock)(void);
};

static struct world world;

static void *
world_map(size_t size, enum lab_access access)
{
	world.maps++;
	if (size > world.map_limit || size < world.map_least || world.maps_left == 0)
		return NULL;
	world.maps_left--;
	return world.real.map(size, access);
}

static bool
world_unmap(void *start, size_t size)
{
	bool done;

	world.unmaps++;
	if (world.on_unmap)
		world.on_unmap(start, size);
	done = !world.unmap_fails && world.real.unmap(start, size);
	if (world.after_unmap)
		world.after_unmap(start, size);
	return done;
}

static enum lab_mapped
world_map_at(void *start, size_t size)
{
	enum lab_mapped result;

	world.maps++;
	if (world.on_map_at && world.on_map_at(start, size, &result))
		return result;
	if (world.maps_left == 0 || size > world.map_limit)
		return LAB_NOT_MAPPED;
	world.maps_left--;
	return world.real.map_at(start, size);
}

static bool
world_may_commit(size_t size)
{
	return !world.commit_fails && (size < world.map_limit || world.real.may_commit(size));
}

static bool
world_protect(void *start, size_t size, enum lab_access access)
{
	world.protects++;
	if (world.protects_left == 0)
		return false;
	world.protects_left--;
	return world.real.protect(start, size, access);
}

static bool
world_purge(void *start, size_t size)
{
	world.purges++;
	if (world.on_purge)
		world.on_purge(start, size);
	if (world.purge_fails || !world.real.purge(start, size))
		return false;
	world.purged += size;
	return true;
}

static bool
world_huge_pages(void *start, size_t size, enum lab_huge_pages when)
{
	world.huge_pages++;
	world.huge_bytes = size;
	world.huge_when = when;
	return world.real.huge_pages(start, size, when);
}

static bool
world_mark(void *start, size_t size, unsigned marks)
{
	world.marks++;
	return world.real.mark(start, size, marks) && !world.mark_fails;
}

static bool
world_renew(void *start, size_t size)
{
	world.renewals++;
	return !world.renew_fails && world.real.renew(start, size);
}

static void
world_wait(_Atomic uint32_t *word, uint32_t value, unsigned ms)
{
	world.waits++;
	if (world.on_wait)
		world.on_wait();
	else
		world.real.wait(word, value, ms);
}

static bool
world_populate(void *start, size_t size, bool write)
{
	world.populates++;
	if (world.populates_to_fail > 0) {
		world.populates_to_fail--;
		return false;
	}
	return !world.populate_fails && world.real.populate(start, size, write);
}

static bool
world_lock(void *start, size_t size)
{
	world.locks++;
	if (world.lock_fails || world.locks_left == 0)
		return false;
	world.locks_left--;
	return world.real.lock(start, size);
}

static void
world_unlock(void *start, size_t size)
{
	world.unlocks++;
	world.real.unlock(start, size);
}

static void *
world_extend(void *start, size_t old_size, size_t size)
{
	void *fence;

	world.extends++;
	if (world.extend_fails)
		return NULL;
	/* something in the way, if there is nothing */
	fence = world.extend_moves ? mmap((char *)start + old_size, LAB_OS_PAGE_SIZE, PROT_NONE,
	                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)
	                           : MAP_FAILED;
	void *now = world.real.extend(start, old_size, size);
	if (fence != MAP_FAILED)
		REQUIRE(munmap(fence, LAB_OS_PAGE_SIZE) == 0);
	return now;
}

static uint64_t
world_clock_ms(void)
{
	if (world.on_clock)
		world.on_clock();
	return world.clock_is_set ? world.now : world.real.clock_ms();
}

static bool
world_thread_is_dead(uint32_t tid)
{
	world.probes++;
	if (world.on_probe)
		world.on_probe(tid);
	return world.deaths_are_set ? tid == world.dead_tid : world.real.thread_is_dead(tid);
}

static inline void
world_install(void)
{
	if (lab_os.map != world_map)
		world.real = lab_os;
	world = (struct world){.real = world.real,
	                       .map_limit = SIZE_MAX,
	                       .maps_left = SIZE_MAX,
	                       .protects_left = SIZE_MAX,
	                       .locks_left = SIZE_MAX};
	lab_os.map = world_map;
	lab_os.unmap = world_unmap;
	lab_os.map_at = world_map_at;
	lab_os.may_commit = world_may_commit;
	lab_os.protect = world_protect;
	lab_os.purge = world_purge;
	lab_os.huge_pages = world_huge_pages;
	lab_os.mark = world_mark;
	lab_os.renew = world_renew;
	lab_os.wait = world_wait;
	lab_os.populate = world_populate;
	lab_os.lock = world_lock;
	lab_os.unlock = world_unlock;
	lab_os.extend = world_extend;
	lab_os.clock_ms = world_clock_ms;
	lab_os.thread_is_dead = world_thread_is_dead;
}

/* Whether every page of [low, high) is mapped, whatever may be done with it. */
static inline bool
world_is_mapped(uintptr_t low, uintptr_t high)
{
	unsigned char resident;

	for (uintptr_t page = low & ~(LAB_OS_PAGE_SIZE - 1); page < high; page += LAB_OS_PAGE_SIZE)
		if (mincore((void *)page, 1, &resident) != 0)
			return false;
	return true;
}

#endif
