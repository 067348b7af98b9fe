/* cmd_slabinfo.c - `labyrinth slabinfo`: blocks by size class, in the columns of /proc/slabinfo. */
#include <stdio.h>

#include "caches.h"
#include "report.h"
#include "tool.h"

static void
print_class(const struct class_figures *class)
{
	char name[32];

	snprintf(name, sizeof name, "size-%llu", (unsigned long long)class->size);
	printf("%-12s %10llu %10llu %9llu %11llu %12llu : %8llu %12llu %3.0f%%\n", name,
	       (unsigned long long)class->live, (unsigned long long)class->carved, (unsigned long long)class->size,
	       (unsigned long long)(LAB_UNIT_SIZE / class->size), (unsigned long long)LAB_UNIT_PAGES,
	       (unsigned long long)class->spans, (unsigned long long)class->pinned,
	       class->carved ? 100.0 * (double)class->live / (double)class->carved : 0.0);
}

/* A slab may be less than a page, or not a whole number of them: what it pins is all of it. */
static void
print_cache(const struct cache *cache)
{
	printf("%-12s %10llu %10llu %9llu %11llu %12llu : %8llu %12llu %3.0f%%\n", cache->name,
	       (unsigned long long)cache->live, (unsigned long long)cache->made, (unsigned long long)cache->size,
	       (unsigned long long)cache->per_slab,
	       (unsigned long long)((cache->slab_bytes + LAB_PAGE_SIZE - 1) / LAB_PAGE_SIZE),
	       (unsigned long long)cache->slabs, (unsigned long long)(cache->slabs * cache->slab_bytes),
	       cache->made ? 100.0 * (double)cache->live / (double)cache->made : 0.0);
}

static void
print_all(const struct census *census, const struct caches *caches)
{
	puts("# name       <active_objs> <num_objs> <objsize> <objperspan> <pagesperspan> : <spans> <pinned_bytes> "
	     "<live>");
	for (size_t i = 0; i < caches->count; i++)
		print_cache(&caches->entries[i]);
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++)
		if (census->classes[c].spans)
			print_class(&census->classes[c]);
}

int
cmd_slabinfo(int argc, char **argv)
{
	struct pid_arguments arguments;
	struct looked looked;
	struct caches caches;
	int result = EXIT_OK;

	parse_pid_arguments(
	        argc, argv,
	        "Prints the objects of a process's typed caches and its blocks by size class, in the columns of "
	        "/proc/slabinfo: live blocks, "
	        "blocks that were made, bytes of a block, blocks and pages of a span; then spans, bytes that "
	        "live blocks pin (touched pages around them), and how much of what was made is live.",
	        &arguments);
	if (!look_at(&looked, arguments.pid))
		return EXIT_NO;
	caches_take(&caches, &looked.target);
	if (arguments.json) {
		json_t *report = report_head(&looked.snapshot);
		json_object_set_new(report, "caches", caches_json(&caches));
		json_object_set_new(report, "classes", report_classes(&looked.census));
		result = report_print(report);
	} else {
		print_all(&looked.census, &caches);
	}
	caches_free(&caches);
	look_away(&looked);
	return result;
}
