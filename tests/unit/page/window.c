/*
 * window.c - where the window and its table are: in small and large address spaces, whichever way the kernel maps, and
 * under limits.
 *
 * Clauses: G10.5.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "heap/thread.h"
#include "page/map.h"
#include "trace.h"
#include "world.h"

#define GIB ((uintptr_t)1 << 30)

static uintptr_t near; /* the kernel maps from here on downwards, or upwards */
static bool upwards;
static size_t simulated;

static size_t
simulated_size(void)
{
	return simulated;
}

/* What a kernel with a small address space does: addresses of this machine's that are as low. */
static void *
map_near(size_t size, enum lab_access access)
{
	static const int protections[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
	int protection = protections[access > LAB_ACCESS_WRITE ? LAB_ACCESS_WRITE : access];
	size_t length = lab_round_up(size, LAB_PAGE_SIZE);
	void *at = (void *)(upwards ? near : near - length);

	/* a mapping that was made longer is in the way, perhaps */
	while (mmap(at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) !=
	       at) {
		REQUIRE(errno == EEXIST);
		near = upwards ? near + LAB_PAGE_SIZE : near - LAB_PAGE_SIZE;
		at = (void *)(upwards ? near : near - length);
	}
	near = upwards ? near + length : near - length;
	return at;
}

static size_t
window_bytes(void)
{
	return lab_space()->slot_count << LAB_SLOT_SHIFT;
}

static void
check_invariants(void)
{
	const struct lab_space *space = lab_space();
	uintptr_t heaps = (uintptr_t)space->heaps;

	cr_assert(lab_is_power_of_two(window_bytes()));
	cr_assert_eq(lab_map.mask, (window_bytes() / LAB_UNIT_SIZE - 1) * sizeof(struct lab_unit), "INV-SPACE-4");
	cr_assert_lt((size_t)LAB_HEAP_MAX * LAB_HEAP_STRIDE, window_bytes() - LAB_UNIT_SIZE, "INV-SPACE-4, INV-UNIT-1");
	cr_assert_eq(space->base % LAB_SEGMENT_SIZE, 0);
	cr_assert_eq(heaps % LAB_HEAP_STRIDE, 0);
	cr_assert_leq(heaps + (size_t)LAB_HEAP_MAX * LAB_HEAP_STRIDE, space->base);
	/* the last unit's descriptor is there to be read, whatever the address */
	for (uintptr_t p = 0; p < 2 * window_bytes(); p += window_bytes() / 64 + LAB_UNIT_SIZE)
		cr_assert_eq(lab_peek(&lab_map_unit((void *)p)->carved), 0);
}

static void
use_it(void)
{
	static struct trace_block blocks[500];
	struct trace trace = {{11}, blocks, 500, 12, 23, 8, false};

	trace_run(&trace, 3000);
	trace_check_all(&trace);
	for (size_t i = 0; i < trace.slots; i++)
		if (blocks[i].p)
			cr_assert(lab_owns(blocks[i].p));
	trace_free_all(&trace);
}

Test(window, below_where_the_kernel_maps_at_a_distance)
{
	size_t space = lab_os.address_space();

	cr_assert(lab_space_start());
	uintptr_t table = (uintptr_t)lab_space();
	check_invariants();
#ifdef LAB_THREAD_SANITIZER
	size_t least = space / 1024;
#else
	size_t least = space / 16; /* terabytes that the program maps and does not touch */
#endif
	cr_assert_leq(lab_space()->base + window_bytes() + least, table);
	cr_assert_geq(lab_space()->base + window_bytes() + 3 * least + GIB, table);
	cr_assert_geq(window_bytes(), 64 * GIB);
	cr_assert_geq(window_bytes(), 2 * lab_os_memory_size());
	cr_assert_leq(lab_space_table_size(), window_bytes() / 1024 * 5 / 4);
	use_it();
}

static void
simulate(unsigned bits, bool from_below)
{
	world_install();
	simulated = (size_t)1 << bits;
	upwards = from_below;
	near = from_below ? simulated / 3 & ~(LAB_PAGE_SIZE - 1) : simulated - 64 * LAB_PAGE_SIZE;
	lab_os.address_space = simulated_size;
	lab_os.map = map_near;
}

static void
check_small(unsigned bits, bool from_below)
{
	simulate(bits, from_below);
	uintptr_t kernel = near;
	cr_assert(lab_space_start());
	check_invariants();
	cr_assert_geq(window_bytes(), 4 * GIB);
	cr_assert_leq(window_bytes(), simulated / 8);
	cr_assert_leq(lab_space()->base + window_bytes() + simulated / 1024, kernel);
	cr_assert_geq((uintptr_t)lab_space()->heaps, 4 * GIB);
	use_it();
}

Test(window, in_39_bits)
{
	check_small(39, false);
}

Test(window, in_39_bits_from_below)
{
	check_small(39, true);
}

Test(window, in_38_bits)
{
	check_small(38, false);
}

Test(window, in_38_bits_from_below)
{
	check_small(38, true);
}

Test(window, in_36_bits)
{
	check_small(36, false);
}

Test(window, where_there_is_no_place_at_all)
{
	simulate(33, false);
	cr_assert(!lab_space_start());
	cr_assert_null(lab_malloc(1));
}

Test(window, a_limit_of_the_address_space_makes_the_table_small)
{
	struct rlimit limit = {(rlim_t)256 << 20, (rlim_t)256 << 20};

	cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
	cr_assert(lab_space_start());
	check_invariants();
	cr_assert_leq(lab_space_table_size(), ((size_t)256 << 20) / 16);
	cr_assert_geq(window_bytes(), 8 * GIB);
	use_it();
}

Test(window, a_table_that_is_refused_is_halved_down_to_four_gib)
{
	world_install();
	world.map_limit = (size_t)9 << 20;
	cr_assert(lab_space_start());
	cr_assert_eq(window_bytes(), 4 * GIB);
	cr_assert_eq(world.unmaps, 0);
}

Test(window, without_address_space_nothing_is_kept)
{
	world_install();
	world.map_limit = (size_t)1 << 20;
	cr_assert(!lab_space_start());
	world.map_limit = SIZE_MAX;
	world.protects_left = 0;
	cr_assert(!lab_space_start());
	cr_assert_null(lab_space());
	cr_assert_eq(world.unmaps, world.maps - 5, "of those that succeeded");
	world.protects_left = SIZE_MAX;
	cr_assert(lab_space_start());
}

static void *
map_and_start(size_t size, enum lab_access access)
{
	lab_os.map = world_map;
	REQUIRE(lab_space_start());
	return world_map(size, access);
}

Test(window, of_two_that_start_one_is_given_back)
{
	world_install();
	lab_os.map = map_and_start;
	cr_assert(lab_space_start());
	cr_assert_eq(world.maps, 2);
	cr_assert_eq(world.unmaps, 1);
	check_invariants();
	struct lab_space *space = lab_space();
	cr_assert(lab_space_start(), "repeatable");
	cr_assert_eq(lab_space(), space);
}

Test(window, both_ends_are_guarded)
{
	struct lab_segment *segment;

	cr_assert(lab_space_start());
	segment = lab_space_claim(1, 0, 0);
	cr_assert(segment);
	/* guards at both ends */
	cr_assert_eq(lab_load_rlx(&lab_space()->bits[0].used) & 1, 1);
	cr_assert_eq(lab_load_rlx(&lab_space()->bits[lab_space()->slot_count / 64 - 1].used) >> 63, 1);
}
