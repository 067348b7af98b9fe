/* cmd_slabinfo.c - `labyrinth slabinfo`: blocks by size class, in the columns of /proc/slabinfo. */
#include <stdio.h>

#include "caches.h"
#include "report.h"
#include "tool.h"

/* A line: of a size class, or of a typed cache. */
struct line {
	const char *name;
	uint64_t live, made, size, per_span, pages, spans, pinned;
};

static void
print_line(struct line line)
{
	printf("%-12s %9llu %9llu %7llu %6llu %5llu : %7llu %10s %4.0f%%\n", line.name, (unsigned long long)line.live,
	       (unsigned long long)line.made, (unsigned long long)line.size, (unsigned long long)line.per_span,
	       (unsigned long long)line.pages, (unsigned long long)line.spans, human_bytes(line.pinned),
	       line.made ? 100.0 * (double)line.live / (double)line.made : 0.0);
}

static void
print_class(const struct class_figures *class)
{
	char name[32];

	snprintf(name, sizeof name, "size-%llu", (unsigned long long)class->size);
	print_line((struct line){name, class->live, class->carved, class->size, LAB_UNIT_SIZE / class->size,
	                         LAB_UNIT_PAGES, class->spans, class->pinned});
}

/* A slab may be less than a page: what it pins is all of it. */
static void
print_cache(const struct cache *cache)
{
	uint64_t pages = (cache->slab_bytes + LAB_PAGE_SIZE - 1) / LAB_PAGE_SIZE;

	print_line((struct line){cache->name, cache->live, cache->made, cache->size, cache->per_slab, pages,
	                         cache->slabs, cache->slabs * cache->slab_bytes});
}

static void
print_all(const struct census *census, const struct caches *caches)
{
	puts("# name            live      made    size  /span pages :   spans     pinned  live");
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
	        "/proc/slabinfo: live blocks, blocks that were made, bytes of a block, blocks and pages of a span; "
	        "then spans, bytes that "
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
