/*
 * claims.c - threads race for segments, which come and go meanwhile, and for pages of one segment, purgers among them:
 * nobody's memory is another's, and what is said to be fresh reads as zero. A plain program, as TSan and Criterion do
 * not go together.
 *
 * Clauses: G10.5.
 */
#include "many_threads.h"
#include "page/map.h"
#include "page/purge.h"
#include "page/sweep.h"

#if defined(LAB_THREAD_SANITIZER)
enum { SCALE = 2 };
#else
enum { SCALE = 8 };
#endif

enum { THREADS = 4, HELD = 4 };

static _Atomic bool stop;

/* ---- segments: INV-SPACE-1, INV-SPACE-2 ---- */

static void
use(struct lab_segment *segment, size_t number)
{
	size_t pages = lab_segment_pages(segment);

	for (size_t page = 0; page < pages; page += pages / 4) {
		char *p = segment->base + page * LAB_PAGE_SIZE;
		if (!lab_segment_take_at(segment, page, 1))
			continue; /* a purger has it still */
		if (lab_segment_is_fresh(segment, page, 1))
			REQUIRE(trace_is_zero(p, LAB_PAGE_SIZE));
		*(size_t *)p = number;
		*(size_t *)(p + LAB_PAGE_SIZE / 2) = (size_t)segment;
	}
}

/* Gives what it has used back; the owner word is the same all the time. */
static void
give_back(struct lab_segment *segment, uint64_t owner, size_t number)
{
	size_t pages = lab_segment_pages(segment);

	REQUIRE(lab_load_rlx(lab_segment_owner(segment)) == owner);
	for (size_t page = 0; page < pages; page += pages / 4) {
		const char *p = segment->base + page * LAB_PAGE_SIZE;
		if (*(const size_t *)(p + LAB_PAGE_SIZE / 2) != (size_t)segment)
			continue; /* not taken */
		REQUIRE(*(const size_t *)p == number);
		*(size_t *)(segment->base + page * LAB_PAGE_SIZE + LAB_PAGE_SIZE / 2) = 0;
		lab_segment_give(segment, page, 1, 1);
	}
	REQUIRE(lab_space_release(segment, owner));
}

static void
claim_segments(size_t number)
{
	struct trace_random random = {number + 1};
	struct {
		struct lab_segment *segment;
		uint64_t owner;
	} held[HELD];
	size_t live = 0;

	for (int step = 0; step < 2000 * SCALE; step++) {
		if (live < HELD && trace_below(&random, 2)) {
			unsigned slots_log = (unsigned)trace_below(&random, 4),
			         least = (unsigned)trace_below(&random, slots_log + 1);
			struct lab_segment *segment = lab_space_claim((uint32_t)number, slots_log, least);
			REQUIRE(segment && lab_segment_pages(segment) >= LAB_SLOT_PAGES << least);
			held[live].segment = segment;
			held[live].owner = lab_load_rlx(lab_segment_owner(segment));
			REQUIRE(lab_owner_heap(held[live++].owner) == number);
			use(segment, number);
		} else if (live > 0) {
			live--;
			give_back(held[live].segment, held[live].owner, number);
			if (trace_below(&random, 4) == 0)
				(void)lab_space_unmap_empty();
		}
	}
	while (live-- > 0)
		give_back(held[live].segment, held[live].owner, number);
}

/* Looks at all of it, and at any address, and purges. */
static void
look(size_t number)
{
	struct lab_purge_record record = {.claim = UINT64_C(1) << 32 | (number + 1)};
	struct trace_random random = {number + 100};

	while (!atomic_load(&stop)) {
		uint64_t owner;
		const struct lab_segment *found =
		        lab_space_find((char *)lab_space()->base + trace_below(&random, 64 << 20), &owner);
		REQUIRE(!found || lab_segment_pages(found) <= found->capacity);
		(void)lab_purge_dirty_pages();
		for (size_t index = 0; lab_space_next(&index, &owner) != NULL;)
			REQUIRE(lab_owner_state(owner) == LAB_SLOT_OWNED || lab_owner_state(owner) == LAB_SLOT_EMPTY);
		struct lab_segment *segment;
		for (size_t index = 0; (segment = lab_space_next(&index, &owner)) != NULL;)
			(void)lab_purge_segment(segment, &record, &lab_purge_everything);
		struct lab_count_delta own = {0, 0};
		const struct lab_slice slice = {.pages = 1 + trace_below(&random, 20), .own = &own};
		lab_sweep_begin(trace_below(&random, 2));
		for (int i = 0; i < 10; i++)
			lab_sweep_go_on(&record, slice);
		size_t refused;
		(void)lab_sweep_excess(&record, slice.pages, trace_below(&random, 100), &refused);
		sched_yield();
	}
}

static void
run_segments(void)
{
	struct threads_member lookers[2];

	REQUIRE(lab_space_start());
	for (size_t i = 0; i < 2; i++)
		threads_begin(&lookers[i], look, i);
	threads_run(claim_segments, THREADS);
	atomic_store(&stop, true);
	for (size_t i = 0; i < 2; i++)
		threads_join(&lookers[i]);
	(void)lab_space_unmap_empty();
	REQUIRE(lab_space_mapped() == 0);
	for (size_t index = 1; index < lab_load_rlx(&lab_space()->high_water); index++) {
		REQUIRE(lab_owner_state(lab_load_rlx(&lab_space()->slots[index].owner)) == LAB_SLOT_FREE);
		REQUIRE((lab_load_rlx(&lab_space()->bits[index / 64].used) >> (index % 64) & 1) == 0);
	}
	REQUIRE(lab_load_rlx(&lab_space()->high_water) < 4096);
}

/* ---- pages: INV-PAGE-1, -2, -3 ---- */

static struct lab_segment *segment;

static void
take_pages(size_t number)
{
	struct trace_random random = {number + 1};

	/* one goes on until something was purged: on few processors the purgers' turn comes late */
	for (int step = 0; step < 8000 * SCALE || (number == 0 && lab_purge_total_pages() == 0); step++) {
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
		(void)lab_purge_segment(segment, &record, &lab_purge_everything);
		sched_yield();
	}
}

static void
run_purge(void)
{
	struct threads_member purgers[2];

	atomic_store(&stop, false);
	REQUIRE(lab_space_start());
	segment = lab_space_claim(1, LAB_SLOTS_LOG_MAX, LAB_SLOTS_LOG_MAX);
	REQUIRE(segment);
	for (size_t i = 0; i < 2; i++)
		threads_begin(&purgers[i], purge_pages, i);
	threads_run(take_pages, THREADS - 1);
	atomic_store(&stop, true);
	for (size_t i = 0; i < 2; i++)
		threads_join(&purgers[i]);
	REQUIRE(lab_segment_is_empty(segment));
	REQUIRE(lab_load_rlx(&segment->purge) == 0);
	REQUIRE(lab_purge_total_pages() > 0);
}

int
main(int argc, char **argv)
{
	static const struct threads_pattern patterns[] = {{"segments", run_segments}, {"purge", run_purge}};

	return threads_main(argc, argv, patterns, sizeof patterns / sizeof *patterns);
}
