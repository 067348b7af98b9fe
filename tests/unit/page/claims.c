/*
 * claims.c - threads race for segments of one arena and for pages of one segment, purgers among them: nobody's memory is another's, and
 * what is said to be fresh reads as zero. A plain program, as TSan and Criterion do not go together.
 */
#include "crowd.h"
#include "page/map.h"
#include "page/purge.h"

#if defined(LAB_THREAD_SANITIZER)
enum { SCALE = 2 };
#else
enum { SCALE = 8 };
#endif

enum { THREADS = 4, SEGMENTS = 16 };

static struct lab_arena *arena;

/* ---- segments ---- */

static void
claim_segments(size_t number)
{
	struct trace_random random = {number + 1};
	struct {
		size_t index, count;
		uint64_t owners[4];
	} held[4];
	size_t live = 0;

	for (int step = 0; step < 5000 * SCALE; step++) {
		if (live < 4 && trace_below(&random, 2)) {
			size_t count = 1 + trace_below(&random, 4);
			enum lab_segment_kind kind = trace_below(&random, 2) ? LAB_SEGMENT_SMALL : LAB_SEGMENT_HUGE;
			long index = lab_arena_claim(arena, kind, (uint32_t)number, count, LAB_SEGMENT_SIZE);
			if (index < 0)
				continue;
			held[live].index = (size_t)index;
			held[live].count = count;
			for (size_t i = 0; i < count; i++) {
				held[live].owners[i] = lab_load_rlx(&arena->owners[(size_t)index + i]);
				REQUIRE(lab_owner_heap(held[live].owners[i]) == number);
				*(size_t *)lab_arena_payload(arena, (size_t)index + i) = number;
			}
			live++;
		} else if (live > 0) {
			live--;
			for (size_t i = 0; i < held[live].count; i++) {
				size_t index = held[live].index + i;
				REQUIRE(*(size_t *)lab_arena_payload(arena, index) == number);
				REQUIRE(lab_arena_release(arena, index, held[live].owners[i]));
			}
		}
	}
	while (live-- > 0)
		for (size_t i = 0; i < held[live].count; i++)
			REQUIRE(lab_arena_release(arena, held[live].index + i, held[live].owners[i]));
}

static void *
map_little(size_t size, enum lab_access access)
{
	extern struct lab_os_table claims_real;

	return size > 3 * SEGMENTS * LAB_SEGMENT_SIZE / 2 ? NULL : claims_real.map(size, access);
}

struct lab_os_table claims_real;

static void
run_arena(void)
{
	claims_real = lab_os;
	lab_os.map = map_little;
	arena = lab_arena_reserve(0, false);
	lab_os = claims_real;
	REQUIRE(arena && lab_arena_segment_count(arena) <= SEGMENTS);
	crowd_run(claim_segments, THREADS);
	for (size_t i = 0; i < lab_arena_segment_count(arena); i++)
		REQUIRE(lab_owner_kind(lab_load_rlx(&arena->owners[i])) == LAB_SEGMENT_FREE);
	REQUIRE(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, lab_arena_segment_count(arena), LAB_SEGMENT_SIZE) == 0);
}

/* ---- pages: INV-PAGE-1, -2, -3 ---- */

static struct lab_segment *segment;
static _Atomic bool stop;

static void
take_pages(size_t number)
{
	struct trace_random random = {number + 1};

	for (int step = 0; step < 8000 * SCALE; step++) {
		size_t page = trace_below(&random, LAB_SEGMENT_PAGES), count = trace_skewed(&random, 4);
		if (page + count > LAB_SEGMENT_PAGES || !lab_segment_take_at(segment, page, count))
			continue;
		char *p = segment->base + page * LAB_PAGE_SIZE;
		if (lab_segment_is_fresh(segment, page, count))
			REQUIRE(trace_is_zero(p, count * LAB_PAGE_SIZE));
		size_t dirty = trace_below(&random, count + 1);
		for (size_t i = 0; i < dirty; i++)
			p[i * LAB_PAGE_SIZE + number] = 1;
		for (size_t i = 0; i < dirty; i++)
			REQUIRE(p[i * LAB_PAGE_SIZE + number] == 1);
		lab_segment_give(segment, page, count, dirty);
	}
}

static void
purge_pages(size_t number)
{
	struct lab_purge_record record = {.claim = UINT64_C(1) << 32 | (number + 1)};

	while (!atomic_load(&stop)) {
		(void)lab_purge_segment(arena, 0, &record, &lab_purge_everything);
		sched_yield();
	}
}

static void
run_purge(void)
{
	struct crowd_member purgers[2];

	REQUIRE(lab_map_start());
	arena = lab_map_arena(0);
	REQUIRE(lab_arena_claim(arena, LAB_SEGMENT_SMALL, 1, 1, LAB_SEGMENT_SIZE) == 0);
	segment = lab_arena_segment(arena, 0);
	for (size_t i = 0; i < 2; i++)
		crowd_begin(&purgers[i], purge_pages, i);
	crowd_run(take_pages, THREADS - 1);
	atomic_store(&stop, true);
	for (size_t i = 0; i < 2; i++)
		crowd_join(&purgers[i]);
	REQUIRE(lab_segment_is_empty(segment));
	REQUIRE(lab_load_rlx(&segment->purge) == 0);
	REQUIRE(lab_purge_total_pages() > 0);
}

int
main(int argc, char **argv)
{
	static const struct crowd_pattern patterns[] = {{"arena", run_arena}, {"purge", run_purge}};

	return crowd_main(argc, argv, patterns, sizeof patterns / sizeof *patterns);
}
