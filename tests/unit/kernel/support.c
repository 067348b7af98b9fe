/*
 * support.c - what the kernel's names need of the library (include/labyrinth/kernel/support.h): references to pages and
 * split blocks, instances for each processor, shrinkers, scopes, faults on purpose; and the names that stand on them.
 * Clauses: G9.4.
 */
#define CONFIG_FAILSLAB 1
#include <criterion/criterion.h>
#include <labyrinth/gfp.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "trace.h"

#define MIB ((size_t)1 << 20)

static size_t
in_use(void)
{
	struct lab_stats stats;

	lab_stats_get(&stats);
	return stats.in_use + stats.reserve_used;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

Test(kernel, last_reference_frees)
{
	for (unsigned order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct page *page = alloc_pages(order > 4 ? GFP_KERNEL : order % 2 ? GFP_KERNEL : GFP_ATOMIC, order);
		size_t with = in_use();
		cr_assert(page && page_count(page) == 1);
		get_page(page);
		get_page(page);
		cr_assert_eq(page_count(page), 3);
		put_page(page);
		__free_pages(page, order); /* a reference, too */
		cr_assert(page_count(page) == 1 && in_use() == with);
		memset(page_address(page), 7, PAGE_SIZE << order);
		put_page(page);
		cr_assert_lt(in_use(), with);
	}
}

/* More pages than the first tables have words. */
Test(kernel, many_pages_with_references)
{
	enum { PAGES = 3000 };
	static struct page *pages[PAGES];

	for (int i = 0; i < PAGES; i++) {
		pages[i] = alloc_page(GFP_KERNEL);
		get_page(pages[i]);
	}
	for (int i = 0; i < PAGES; i++)
		cr_assert_eq(page_count(pages[i]), 2);
	for (int i = 0; i < PAGES; i++) {
		put_page(pages[i]);
		cr_assert_eq(page_count(pages[i]), 1);
		put_page(pages[i]);
	}
	cr_assert_eq(page_count(pages[0]), 1);
}

static void *
put_all(void *pages)
{
	for (int i = 0; i < 1000; i++)
		put_page(((struct page **)pages)[i]);
	return NULL;
}

/* Of two who give back a reference at the same time one frees. A double free would be reported. */
Test(kernel, references_given_back_at_once)
{
	static struct page *pages[1000];
	pthread_t threads[3];

	kfree(kmalloc(10, GFP_KERNEL));
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 1000; i++) {
			pages[i] = alloc_page(GFP_KERNEL);
			get_page(pages[i]);
			get_page(pages[i]);
		}
		for (int t = 0; t < 3; t++)
			pthread_create(&threads[t], NULL, put_all, pages);
		for (int t = 0; t < 3; t++)
			pthread_join(threads[t], NULL);
		for (int i = 0; i < 1000; i++)
			cr_assert_eq(page_count(pages[i]), 1);
	}
}

/* "split_page takes a non-compound higher-order page, and splits it into n (1<<order) sub-pages: page[0..n]. Each
 * sub-page must be freed individually." */
Test(kernel, split_pages_are_freed_one_by_one)
{
	for (unsigned order = 0; order <= MAX_PAGE_ORDER; order++) {
		unsigned long start = __get_free_pages(GFP_KERNEL, order), count = 1ul << order;
		struct page *page = virt_to_page((void *)start);
		cr_assert(start);
		split_page(page, order);
		size_t with = in_use(); /* what is kept of the pieces included */
		for (unsigned long i = 0; i < count; i++) {
			unsigned long at = (i * 7 + 3) % count;
			cr_assert_eq(in_use(), with);
			memset(page_address(page + at), 1, PAGE_SIZE);
			if (at == count / 2) {
				get_page(page + at);
				put_page(page + at);
			}
			if (at % 2)
				free_page(start + at * PAGE_SIZE);
			else
				put_page(page + at);
		}
		cr_assert_lt(in_use(), with);
	}
}

Test(kernel, piece_freed_twice, .signal = SIGABRT)
{
	struct page *page = alloc_pages(GFP_KERNEL, 2);

	split_page(page, 2);
	__free_page(page);
	__free_page(page);
}

Test(kernel, piece_freed_as_more, .signal = SIGABRT)
{
	struct page *page = alloc_pages(GFP_KERNEL, 2);

	split_page(page, 2);
	__free_pages(page, 2);
}

/* "free_pages_exact: free memory allocated via alloc_pages_exact", and vfree and kfree of pages: what somebody else has
 * a reference of stays until that is given back; the next owner of the memory finds nothing of the last one's. */
Test(kernel, other_frees_look_at_references)
{
	for (int how = 0; how < 4; how++) {
		char *p = how == 0   ? alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL)
		          : how == 1 ? vmalloc(3 * PAGE_SIZE)
		          : how == 2 ? kmalloc(4 * PAGE_SIZE, GFP_KERNEL)
		                     : page_address(alloc_pages(GFP_KERNEL, 2));
		size_t with = in_use();
		get_page(virt_to_page(p));
		if (how == 3)
			split_page(virt_to_page(p), 2); /* of one page of it there is another reference */
		if (how == 0)
			free_pages_exact(p, 3 * PAGE_SIZE);
		else if (how == 1)
			vfree(p);
		else
			kfree(p);
		cr_assert(in_use() == with && page_count(virt_to_page(p)) == 1, "%d", how);
		memset(p, 1, PAGE_SIZE);
		put_page(virt_to_page(p));
		cr_assert_lt(in_use(), with, "%d", how);
	}
	struct page *split = alloc_pages(GFP_KERNEL, 2), *again;
	split_page(split, 2);
	__free_page(split + 1);
	kfree(page_address(split));
	again = alloc_pages(GFP_KERNEL, 2);
	cr_assert_eq(again, split, "what this is about");
	__free_pages(again, 2); /* a block with one reference, and no pieces */
}

/* As the kernel's, it frees the pages that it is told, whatever else the block was split into. */
Test(kernel, exactly_some_pieces)
{
	size_t before;

	kfree(kmalloc(10, GFP_KERNEL));
	before = in_use();
	struct page *page = alloc_pages(GFP_KERNEL, 3);
	size_t with = in_use();
	split_page(page, 3);
	get_page(page + 1);
	free_pages_exact(page, 2 * PAGE_SIZE);
	cr_assert_eq(page_count(page + 1), 1);
	free_pages_exact(page + 4, 3 * PAGE_SIZE - 100); /* not from its start */
	__free_page(page + 2);
	__free_page(page + 3);
	put_page(page + 1);
	cr_assert_eq(in_use(), with);
	__free_page(page + 7);
	cr_assert_eq(in_use(), before);
	/* as who wants three pages has them: the tail goes first */
	page = alloc_pages(GFP_KERNEL, 2);
	split_page(page, 2);
	__free_page(page + 3);
	free_pages_exact(page, 3 * PAGE_SIZE);
	cr_assert_eq(in_use(), before);
}

Test(kernel, block_freed_after_its_first_piece, .signal = SIGABRT)
{
	struct page *page = alloc_pages(GFP_KERNEL, 2);

	split_page(page, 2);
	__free_page(page);
	kfree(page);
}

Test(kernel, more_than_exactly_that, .signal = SIGABRT)
{
	char *p = alloc_pages_exact(2 * PAGE_SIZE, GFP_KERNEL);

	get_page(virt_to_page(p));
	free_pages_exact(p, 5 * PAGE_SIZE);
}

enum { RACE_ORDER = 8, RACES = 3000 };

static struct page *_Atomic to_be_freed;
static _Atomic int freed_so_far;

static void *
free_blocks(void *unused)
{
	for (int i = 0; i < RACES; i++) {
		struct page *page;
		while (!(page = atomic_exchange(&to_be_freed, NULL)))
			;
		kfree(page_address(page));
		freed_so_far++;
	}
	return unused;
}

/* One frees a split block of which the tail is gone already, and another gives the last reference of its first page
 * back: whoever comes last frees the block, and nobody is at it when it is the next owner's. */
Test(kernel, split_block_freed_by_two, .timeout = 600)
{
	pthread_t thread;

	pthread_create(&thread, NULL, free_blocks, NULL);
	for (int i = 0; i < RACES; i++) {
		struct page *page = alloc_pages(GFP_KERNEL, RACE_ORDER), *next;
		split_page(page, RACE_ORDER);
		for (int k = 8; k < 1 << RACE_ORDER; k++)
			__free_page(page + k);
		get_page(page);
		to_be_freed = page;
		while (page_count(page) != 1)
			;
		put_page(page);
		next = alloc_pages(GFP_KERNEL, RACE_ORDER);
		split_page(next, RACE_ORDER);
		for (int k = 0; k < 1 << RACE_ORDER; k++)
			get_page(next + k);
		while (freed_so_far <= i)
			;
		for (int k = 0; k < 1 << RACE_ORDER; k++) {
			cr_assert_eq(page_count(next + k), 2);
			put_page(next + k);
			put_page(next + k);
		}
	}
	pthread_join(thread, NULL);
}

/* The memory in which references are counted is not the limit's. */
Test(kernel, references_at_the_limit)
{
	enum { PAGES = 2000 };
	static struct page *pages[PAGES];
	int n = 0;

	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 0) && lab_set_param(LAB_PARAM_LIMIT, 7 * MIB));
	while (n < PAGES && (pages[n] = alloc_page(GFP_KERNEL | __GFP_NORETRY)))
		n++;
	cr_assert(n > 1000 && n < PAGES);
	for (int i = 0; i < n; i++)
		get_page(pages[i]);
	for (int i = 0; i < n; i++)
		cr_assert_eq(page_count(pages[i]), 2);
}

Test(kernel, fragments)
{
	struct page_frag_cache cache = {NULL, 0};
	char *fragments[100];
	size_t before;

	kfree(kmalloc(10, GFP_KERNEL));
	before = in_use();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 100; i++) {
			fragments[i] =
			        page_frag_alloc_align(&cache, 1500, round ? GFP_KERNEL : GFP_KERNEL | __GFP_ZERO, 64);
			cr_assert(fragments[i] && (uintptr_t)fragments[i] % 64 == 0);
			cr_assert(round || trace_is_zero(fragments[i], 1500));
			memset(fragments[i], i, 1500);
		}
		for (int i = 0; i < 100; i++) {
			cr_assert(fragments[i][0] == i && fragments[i][1499] == i);
			page_frag_free(fragments[i]);
		}
	}
	page_frag_cache_drain(&cache);
	cr_assert_eq(in_use(), before);
	cr_assert_null(page_frag_alloc(&cache, 5000, GFP_KERNEL));
	for (int i = 0; i < 70; i++) { /* also where a block ends */
		char *some = page_frag_alloc(&cache, 4096 - 64 * (i % 2), GFP_KERNEL),
		     *empty = page_frag_alloc(&cache, 0, GFP_KERNEL);
		cr_assert(some && empty && empty != some);
		page_frag_free(some);
		page_frag_free(empty);
	}
	page_frag_cache_drain(&cache);
	cr_assert_eq(in_use(), before);
	char *in_a_handler = page_frag_alloc(&cache, 100, GFP_ATOMIC);
	cr_assert(in_a_handler);
	page_frag_cache_drain(&cache);
	in_a_handler[99] = 1;
	page_frag_free(in_a_handler);
}

Test(kernel, folios)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 3);

	cr_assert(folio && folio_size(folio) == PAGE_SIZE << 3 && folio_order(folio) == 3 &&
	          folio_nr_pages(folio) == 8);
	cr_assert_eq((char *)page_address(folio_page(folio, 7)), (char *)folio_address(folio) + 7 * PAGE_SIZE);
	folio_get(folio);
	folio_put(folio);
	cr_assert_eq(folio_ref_count(folio), 1);
	folio_put(folio);
}

/* ---- one for each processor -------------------------------------------------------------------------------------- */

struct counters {
	long packets, bytes;
	char name[20];
};

static struct counters *counters;

static void *
count(void *unused)
{
	for (int i = 0; i < 20000; i++) {
		this_cpu_inc(counters->packets);
		this_cpu_add(counters->bytes, 3);
		if (i % 1000 == 0)
			sched_yield();
	}
	return unused;
}

/* Threads are moved, and take turns on one processor, in the midst of it. */
Test(kernel, sums_over_processors_are_exact)
{
	pthread_t threads[4];
	long packets = 0, bytes = 0;
	unsigned cpu;

	counters = alloc_percpu(struct counters);
	cr_assert(counters && num_possible_cpus() >= 1 && raw_smp_processor_id() < nr_cpu_ids);
	for_each_possible_cpu(cpu) cr_assert(trace_is_zero(per_cpu_ptr(counters, cpu), sizeof *counters));
	for (int t = 0; t < 4; t++)
		pthread_create(&threads[t], NULL, count, NULL);
	for (int t = 0; t < 4; t++)
		pthread_join(threads[t], NULL);
	for_each_possible_cpu(cpu)
	{
		packets += per_cpu_ptr(counters, cpu)->packets;
		bytes += *per_cpu_ptr(&counters->bytes, cpu);
	}
	cr_assert(packets == 80000 && bytes == 240000);
	free_percpu(counters);
	free_percpu(NULL);
}

/* No two overlap, in any processor's memory, and what was freed is zeroed anew. */
Test(kernel, instances_are_apart)
{
	enum { LIVE = 200, ROUNDS = 4000 };
	static unsigned char *live[LIVE];
	static size_t sizes[LIVE];
	struct trace_random random = {1};

	for (int round = 0; round < ROUNDS; round++) {
		unsigned i = trace_below(&random, LIVE), last = num_possible_cpus() - 1;
		if (live[i]) {
			for (size_t at = 0; at < sizes[i]; at++)
				cr_assert(live[i][at] == i % 255 + 1 && per_cpu_ptr(live[i], last)[at] == i % 255 + 1);
			free_percpu(live[i]);
		}
		size_t align = (size_t)1 << trace_below(&random, 13);
		sizes[i] = trace_below(&random, 20) ? 1 + trace_below(&random, 300) : 1 + trace_below(&random, 32768);
		live[i] = __alloc_percpu(sizes[i], align);
		cr_assert(live[i] && (uintptr_t)live[i] % align == 0);
		cr_assert(trace_is_zero(live[i], sizes[i]) && trace_is_zero(per_cpu_ptr(live[i], last), sizes[i]));
		memset(live[i], (int)(i % 255 + 1), sizes[i]);
		memset(per_cpu_ptr(live[i], last), (int)(i % 255 + 1), sizes[i]);
	}
	cr_assert_null(__alloc_percpu(LAB_PERCPU_STRIDE + 1, 8));
	cr_assert_null(__alloc_percpu(8, 8192));
}

Test(kernel, instance_freed_twice, .signal = SIGABRT)
{
	int *instance = alloc_percpu(int);

	free_percpu(instance);
	free_percpu(instance);
}

/* ---- shrinkers --------------------------------------------------------------------------------------------------- */

static void *hoard[200];
static unsigned long hoarded;
static gfp_t last_mask;
static int stop_after = INT_MAX;

static unsigned long
count_hoard(struct shrinker *shrinker, struct shrink_control *control)
{
	cr_assert_eq(shrinker->private_data, hoard);
	last_mask = control->gfp_mask;
	return hoarded ? hoarded : SHRINK_EMPTY;
}

static unsigned long
scan_hoard(struct shrinker *shrinker, struct shrink_control *control)
{
	unsigned long n = 0;

	(void)shrinker;
	if (!(control->gfp_mask & __GFP_FS) || stop_after-- <= 0)
		return SHRINK_STOP;
	while (n < control->nr_to_scan && hoarded) {
		kfree(hoard[--hoarded]);
		n++;
	}
	return n;
}

static struct shrinker *
begin_to_hoard(void)
{
	struct shrinker *shrinker = shrinker_alloc(0, "hoard-%d", 1);

	cr_assert(shrinker);
	shrinker->count_objects = count_hoard;
	shrinker->scan_objects = scan_hoard;
	shrinker->batch = 8;
	shrinker->private_data = hoard;
	shrinker_register(shrinker);
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 0) && lab_set_param(LAB_PARAM_LIMIT, 32 * MIB));
	while (hoarded < 200 && (hoard[hoarded] = kmalloc(200000, GFP_KERNEL | __GFP_NORETRY)) && last_mask == 0)
		hoarded++;
	cr_assert(hoarded > 20 && hoarded < 200);
	return shrinker;
}

/* The limit asks those who hold what they can do without, until it is enough. */
Test(kernel, limit_calls_shrinkers)
{
	struct shrinker *shrinker = begin_to_hoard();
	void *p = kmalloc(4 * MIB, GFP_KERNEL), *q = kvmalloc(20 * MIB, GFP_KERNEL);

	cr_assert(p && q && (last_mask & GFP_KERNEL) == GFP_KERNEL);
	kfree(p);
	kvfree(q);
	shrinker_free(shrinker);
	last_mask = 0;
	cr_assert(kmalloc(4 * MIB, GFP_KERNEL) && !kvmalloc(64 * MIB, GFP_KERNEL) && last_mask == 0);
}

static pthread_barrier_t all_there;

static unsigned long
scan_hoard_slowly(struct shrinker *shrinker, struct shrink_control *control)
{
	usleep(20000);
	return scan_hoard(shrinker, control);
}

static void *
want_memory(void *unused)
{
	pthread_barrier_wait(&all_there);
	void *p = kmalloc(2 * MIB, GFP_KERNEL);
	return p ? p : unused;
}

/* Who comes while another thread is in the shrinker waits for what that one frees. */
Test(kernel, threads_at_the_limit_share_a_shrinker, .timeout = 200)
{
	struct shrinker *shrinker = begin_to_hoard();
	pthread_t threads[4];

	unsigned scope = memalloc_noreclaim_save(); /* to the brim, without asking the shrinker */
	while (hoarded < 200 && (hoard[hoarded] = kmalloc(200000, GFP_KERNEL)))
		hoarded++;
	memalloc_noreclaim_restore(scope);
	shrinker->scan_objects = scan_hoard_slowly;
	pthread_barrier_init(&all_there, NULL, 4);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, want_memory, NULL);
	for (int i = 0; i < 4; i++) {
		void *p;
		pthread_join(threads[i], &p);
		cr_assert_not_null(p);
	}
	shrinker_free(shrinker);
}

/* They are told what the caller must not do: by its flags, and by its scope. */
Test(kernel, shrinkers_are_told_of_locks)
{
	struct shrinker *shrinker = begin_to_hoard();

	cr_assert_null(kvmalloc(20 * MIB, GFP_NOFS));
	cr_assert((last_mask & GFP_KERNEL) == GFP_NOFS);
	cr_assert_null(kvmalloc(20 * MIB, GFP_NOIO));
	cr_assert((last_mask & GFP_KERNEL) == GFP_NOIO);
	unsigned outer = memalloc_nofs_save(), inner = memalloc_noio_save();
	cr_assert_eq(current_gfp_context(GFP_KERNEL), GFP_NOIO);
	cr_assert_null(kvmalloc(20 * MIB, GFP_KERNEL));
	cr_assert((last_mask & GFP_KERNEL) == GFP_NOIO);
	memalloc_noio_restore(inner);
	cr_assert_eq(current_gfp_context(GFP_KERNEL), GFP_NOFS);
	memalloc_nofs_restore(outer);
	cr_assert_eq(current_gfp_context(GFP_KERNEL), GFP_KERNEL);
	outer = memalloc_flags_save(PF_MEMALLOC_NOFS | PF_MEMALLOC_NOIO);
	cr_assert_eq(current_gfp_context(GFP_KERNEL), GFP_NOIO);
	inner = memalloc_flags_save(PF_MEMALLOC_NOFS);
	memalloc_flags_restore(inner);
	cr_assert_eq(current_gfp_context(GFP_KERNEL), GFP_NOIO);
	memalloc_flags_restore(outer);
	cr_assert_eq(current_gfp_context(GFP_KERNEL), GFP_KERNEL);
	last_mask = 0;
	outer = memalloc_noreclaim_save();
	cr_assert_null(kvmalloc(20 * MIB, GFP_KERNEL));
	cr_assert_eq(last_mask, 0, "nothing is reclaimed");
	memalloc_noreclaim_restore(outer);
	cr_assert(kvmalloc(20 * MIB, GFP_KERNEL));
	shrinker_free(shrinker);
}

/* PF_MEMALLOC: what is not to be had comes from the reserve. */
Test(kernel, noreclaim_reaches_into_the_reserve)
{
	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 0) && lab_set_param(LAB_PARAM_LIMIT, 8 * MIB));
	while (kmalloc(60000, GFP_KERNEL | __GFP_NORETRY))
		;
	unsigned saved = memalloc_noreclaim_save();
	struct lab_stats stats;
	void *p = kmalloc(60000, GFP_KERNEL);
	lab_stats_get(&stats);
	cr_assert(p && stats.reserve_used >= 60000);
	memalloc_noreclaim_restore(saved);
	cr_assert_null(kmalloc(60000, GFP_KERNEL));
}

/* ---- NOFAIL ------------------------------------------------------------------------------------------------------ */

static void *held[400];
static int holding;

static void *
let_go(void *unused)
{
	usleep(50000);
	for (int i = 0; i < holding; i++)
		kfree(held[i]);
	return unused;
}

Test(kernel, nofail_waits_for_memory, .timeout = 200)
{
	struct kmem_cache *cache = kmem_cache_create("sure", 100000, 0, 0, NULL);
	pthread_t thread;

	cr_assert(lab_set_param(LAB_PARAM_WAIT_MS, 0) && lab_set_param(LAB_PARAM_LIMIT, 16 * MIB));
	for (int round = 0; round < 3; round++) {
		for (holding = 0; holding < 400 && (held[holding] = kmalloc(100000, GFP_KERNEL)); holding++)
			;
		cr_assert(holding < 400 && !kmem_cache_alloc(cache, GFP_KERNEL));
		pthread_create(&thread, NULL, let_go, NULL);
		void *p = round == 0   ? kmalloc(3 * MIB, GFP_KERNEL | __GFP_NOFAIL)
		          : round == 1 ? kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOFAIL)
		                       : krealloc(NULL, 2 * MIB, GFP_KERNEL | __GFP_NOFAIL);
		cr_assert(p);
		pthread_join(thread, NULL);
		kfree(p);
	}
	cr_assert_null(kmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL | __GFP_NOFAIL));
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static int
failures_of(int calls, gfp_t gfp)
{
	int failures = 0;

	for (int i = 0; i < calls; i++) {
		void *p = kmalloc(10, gfp);
		failures += p == NULL;
		kfree(p);
	}
	return failures;
}

static __attribute__((noinline)) void *
here(void)
{
	void *p = kmalloc(10, GFP_KERNEL);

	__asm__ volatile("" : "+r"(p));
	return p;
}

/* Functions that ask for a fault are the place from which they are called, whatever they are made of. */
static __attribute__((noinline)) void *
also_here(int which)
{
	switch (which) {
	case 1:
		return kcalloc(3, 10, GFP_KERNEL);
	case 2:
		return krealloc(NULL, 10, GFP_KERNEL);
	case 3:
		return kmemdup("text", 5, GFP_KERNEL);
	case 4:
		return kstrdup("text", GFP_KERNEL);
	case 5:
		return vzalloc(10);
	case 6:
		return alloc_page(GFP_KERNEL);
	default:
		return &hoard;
	}
}

Test(kernel, faults_on_purpose)
{
	struct lab_faults faults = {.interval = 10, .probability = 100, .times = UINT_MAX};

	cr_assert_eq(failures_of(1000, GFP_KERNEL), 0);
	lab_faults_set(&faults);
	cr_assert(failures_of(1000, GFP_KERNEL) == 100 && lab_faults_made() == 100);
	cr_assert_eq(failures_of(1000, GFP_KERNEL | __GFP_NOFAIL), 0);
	faults = (struct lab_faults){.probability = 30, .times = UINT_MAX};
	lab_faults_set(&faults);
	int first = failures_of(10000, GFP_KERNEL);
	cr_assert(first > 2500 && first < 3500);
	lab_faults_set(&faults);
	cr_assert_eq(failures_of(10000, GFP_KERNEL), first, "the same in each run");
	faults = (struct lab_faults){.probability = 100, .times = 7, .space = 1001};
	lab_faults_set(&faults);
	cr_assert(failures_of(100, GFP_KERNEL) == 0 && failures_of(100, GFP_ATOMIC) == 7);
	faults = (struct lab_faults){.probability = 100, .times = UINT_MAX, .only_atomic = true};
	lab_faults_set(&faults);
	cr_assert(failures_of(100, GFP_KERNEL) == 0 && failures_of(100, GFP_ATOMIC) == 100);
	faults = (struct lab_faults){
	        .probability = 100, .times = UINT_MAX, .start = (void *)here, .end = (char *)(void *)here + 100};
	lab_faults_set(&faults);
	cr_assert(failures_of(100, GFP_KERNEL) == 0 && !here());
	faults.start = (void *)also_here;
	faults.end = (char *)(void *)also_here + 2000;
	lab_faults_set(&faults);
	for (int which = 0; which <= 6; which++)
		cr_assert_eq(also_here(which) == NULL, which != 0, "%d", which);
	faults.start = faults.end = NULL;
	lab_faults_set(&faults);
	struct kmem_cache *cache = kmem_cache_create("faulty", 100, 0, 0, NULL);
	cr_assert(!kmem_cache_alloc(cache, GFP_KERNEL) && !alloc_page(GFP_KERNEL) && !vmalloc(10) &&
	          !kcalloc(2, 2, 0) && !krealloc(NULL, 10, GFP_KERNEL) && !kstrdup("x", GFP_KERNEL));
	lab_faults_set(NULL);
	cr_assert(here());
}
