/* cmd_buddyinfo.c - `labyrinth buddyinfo`: free pages by order, and how much of them is of no use for an order. */
#include <stdio.h>
#include <string.h>

#include "page/buddy.h"
#include "report.h"
#include "tool.h"

enum { ORDERS = LAB_ORDER_MAX + 1 };

/* Adds the greatest free blocks of a segment: aligned, as spans take them. */
static void
count_free(const struct segment *segment, uint64_t counts[ORDERS])
{
	for (size_t page = 0; page < segment->pages;) {
		unsigned order = 0;
		if (segment_page_is(segment->taken, page)) {
			page++;
			continue;
		}
		for (; order < LAB_ORDER_MAX; order++) {
			size_t size = (size_t)2 << order, end = page + size;
			if (page % size != 0 || end > segment->pages)
				break;
			bool free = true;
			for (size_t other = page + size / 2; free && other < end; other++)
				free = !segment_page_is(segment->taken, other);
			if (!free)
				break;
		}
		counts[order]++;
		page += (size_t)1 << order;
	}
}

/* The part of the free pages that lies in blocks too small for the order: Gorman and Whitcroft (2006). 0: all of it is
 * of use, or nothing is free. */
static double
unusable(const uint64_t counts[ORDERS], unsigned order)
{
	uint64_t total = 0, usable = 0;

	for (unsigned o = 0; o < ORDERS; o++) {
		total += counts[o] << o;
		usable += o >= order ? counts[o] << o : 0;
	}
	return total ? (double)(total - usable) / (double)total : 0;
}

static void
print_row(const char *what, const char *rest, const uint64_t counts[ORDERS])
{
	printf("%-8s %-14s", what, rest);
	for (unsigned order = 0; order < ORDERS; order++)
		printf(" %4llu", (unsigned long long)counts[order]);
	putchar('\n');
}

static json_t *
row_json(const uint64_t counts[ORDERS])
{
	json_t *row = json_array();

	for (unsigned order = 0; order < ORDERS; order++)
		json_array_append_new(row, json_integer((json_int_t)counts[order]));
	return row;
}

/* The free blocks of one heap's segments; of those that are nobody's, if heap is NULL. */
static bool
count_heap(const struct snapshot *snapshot, const struct heap *heap, uint64_t counts[ORDERS])
{
	bool any = false;

	memset(counts, 0, ORDERS * sizeof *counts);
	for (size_t i = 0; i < snapshot->segment_count; i++) {
		const struct segment *segment = &snapshot->segments[i];
		if (heap ? segment->is_empty || segment->heap != heap->id : !segment->is_empty)
			continue;
		any = true;
		count_free(segment, counts);
	}
	return any;
}

static void
print_text_of(const struct snapshot *snapshot)
{
	uint64_t counts[ORDERS], sum[ORDERS] = {0};

	printf("%-23s", "# order");
	for (unsigned order = 0; order < ORDERS; order++)
		printf(" %4u", order);
	putchar('\n');
	for (size_t i = 0; i <= snapshot->heap_count; i++) {
		const struct heap *heap = i < snapshot->heap_count ? &snapshot->heaps[i] : NULL;
		char name[24] = "Nobody's,", rest[32] = "empty";
		if (!count_heap(snapshot, heap, counts))
			continue;
		if (heap) {
			snprintf(name, sizeof name, "Heap %u,", heap->id);
			snprintf(rest, sizeof rest, "%s %u", heap_state_name(heap->state), heap->tid);
		}
		print_row(name, rest, counts);
		for (unsigned order = 0; order < ORDERS; order++)
			sum[order] += counts[order];
	}
	print_row("All", "", sum);
	printf("%-23s", "Unusable space index");
	for (unsigned order = 0; order < ORDERS; order++)
		printf(" %.2f", unusable(sum, order));
	putchar('\n');
}

static json_t *
make_json(const struct snapshot *snapshot)
{
	json_t *report = report_head(snapshot), *heaps = json_array(), *index = json_array();
	uint64_t counts[ORDERS], sum[ORDERS] = {0};

	for (size_t i = 0; i <= snapshot->heap_count; i++) {
		const struct heap *heap = i < snapshot->heap_count ? &snapshot->heaps[i] : NULL;
		if (!count_heap(snapshot, heap, counts))
			continue;
		for (unsigned order = 0; order < ORDERS; order++)
			sum[order] += counts[order];
		json_array_append_new(heaps, json_pack("{s:o, s:s, s:i, s:o}", "id",
		                                       heap ? json_integer(heap->id) : json_null(), "state",
		                                       heap ? heap_state_name(heap->state) : "empty", "thread",
		                                       heap ? (int)heap->tid : 0, "free", row_json(counts)));
	}
	for (unsigned order = 0; order < ORDERS; order++)
		json_array_append_new(index, json_real(unusable(sum, order)));
	json_object_set_new(report, "heaps", heaps);
	json_object_set_new(report, "free", row_json(sum));
	json_object_set_new(report, "unusable_index", index);
	return report;
}

int
cmd_buddyinfo(int argc, char **argv)
{
	struct pid_arguments arguments;
	struct looked looked;
	int result = EXIT_OK;

	parse_pid_arguments(
	        argc, argv,
	        "Prints the free blocks of 2^order pages of each heap, as /proc/buddyinfo does of the machine, "
	        "and the unusable-space index: the part of the free pages that lies in smaller blocks than "
	        "the order. A span takes order 4.",
	        &arguments);
	if (!look_at(&looked, arguments.pid))
		return EXIT_NO;
	if (arguments.json)
		result = report_print(make_json(&looked.snapshot));
	else
		print_text_of(&looked.snapshot);
	look_away(&looked);
	return result;
}
