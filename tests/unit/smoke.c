/*
 * smoke.c - the whole lab_ API, briefly: for memcheck, under which everything is slow, and as a first test of a new
 * platform. Prints nothing and returns 0 if all is well.
 */
#include <errno.h>
#include <pthread.h>

#include "trace.h"

static void
use_every_entry_point(void)
{
	void *aligned = NULL;

	for (size_t size = 0; size < (size_t)12 << 20; size = size * 3 + 7) {
		unsigned char *p = lab_malloc(size), *q = lab_calloc(size / 8 + 1, 8);
		REQUIRE(p && q && trace_is_zero(q, size));
		REQUIRE(lab_owns(p) && !lab_owns(p + 8) && lab_usable_size(p) >= size);
		trace_fill(p, size, 1);
		p = lab_realloc(p, size * 2 + 1, LAB_GFP_KERNEL);
		REQUIRE(p && trace_reads_as(p, size, size, 1));
		p = lab_reallocarray(p, 3, size + 1);
		REQUIRE(p && trace_reads_as(p, size, size, 1));
		lab_free_sized(p, 3 * (size + 1));
		lab_free(q);
		REQUIRE(lab_posix_memalign(&aligned, 256, size) == 0 && (uintptr_t)aligned % 256 == 0);
		lab_free(aligned);
		aligned = lab_aligned_alloc(65536, size);
		REQUIRE(aligned && (uintptr_t)aligned % 65536 == 0);
		lab_free_aligned_sized(aligned, 65536, size);
	}
	REQUIRE(lab_realloc(lab_malloc(5), 0, LAB_GFP_KERNEL) == NULL);
	errno = 0;
	REQUIRE(lab_malloc(LAB_SIZE_MAX) == NULL && errno == ENOMEM);
	lab_free(NULL);
}

static void
ignore_line(void *context, const char *line)
{
	REQUIRE(*line);
	++*(size_t *)context;
}

static void
look_at_figures(void)
{
	struct lab_stats stats;
	struct lab_class_stats class[LAB_CLASSES_MAX];
	size_t lines = 0, classes = lab_class_stats_get(class, LAB_CLASSES_MAX, NULL);

	lab_stats_get(&stats);
	REQUIRE(stats.committed > 0);
	lab_stats_print(ignore_line, &lines);
	REQUIRE(classes > 10 && lines > 10);
	REQUIRE(lab_set_param(LAB_PARAM_DECAY_MS, 100) && lab_set_param(LAB_PARAM_PERTURB, 0x55));
	lab_free(lab_malloc(3000));
	REQUIRE(lab_set_param(LAB_PARAM_PERTURB, 0));
	(void)lab_trim(0);
	REQUIRE(lab_version()[0] != 0);
}

static struct trace_block handed[50];

static void *
work(void *number)
{
	static struct trace_block blocks[2][50];
	struct trace trace = {{(uintptr_t)number + 1}, blocks[(uintptr_t)number], 50, 12, 18, 20, false};

	trace_run(&trace, 1000);
	trace_free_all(&trace);
	for (size_t i = (uintptr_t)number; i < 50; i += 2)
		trace_free_block(&handed[i]); /* main's */
	for (size_t i = (uintptr_t)number; i < 50; i += 2)
		trace_adopt_block(&handed[i], lab_malloc(i * 50), i * 50, (uint32_t)i);
	return NULL;
}

int
main(void)
{
	static struct trace_block blocks[100];
	struct trace trace = {{3}, blocks, 100, 13, 22, 20, true};
	pthread_t threads[2];

	use_every_entry_point();
	trace_run(&trace, 3000);
	for (size_t i = 0; i < 50; i++)
		trace_adopt_block(&handed[i], lab_malloc(i * 40), i * 40, (uint32_t)i);
	for (uintptr_t i = 0; i < 2; i++)
		REQUIRE(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
	trace_run(&trace, 1000);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < 50; i++)
		trace_free_block(&handed[i]); /* the dead threads' */
	look_at_figures();
	trace_free_all(&trace);
	return 0;
}
