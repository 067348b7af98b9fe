/* figures.c - see figures.h. */
#include "alloc/figures.h"

#define FIGURE(field, kind, name, help)                                                                                \
	{                                                                                                              \
		offsetof(struct lab_stats, field), LAB_FIGURE_##kind, name, help                                       \
	}

const struct lab_figure lab_figures[] = {
        FIGURE(in_use, BYTES, "allocated", "in live blocks, rounded up to their size class"),
        FIGURE(active, BYTES, "active", "pages in which there are blocks"),
        FIGURE(resident, BYTES, "resident", "what is resident, at most"),
        FIGURE(committed, BYTES, "mapped", "mapped for blocks"),
        FIGURE(retained, BYTES, "retained", "mapped, in free pages that take no memory"),
        FIGURE(metadata, BYTES, "metadata", "what describes what is mapped"),
        FIGURE(reserved, BYTES, "reserved", "address space in all"),
        FIGURE(free_in_spans, BYTES, "free_in_spans", "free blocks in spans"),
        FIGURE(dirty, BYTES, "dirty", "free pages that were not given back"),
        FIGURE(purged, BYTES_TOTAL, "purged", "given back to the system"),
        FIGURE(blocks, COUNT, "blocks", "live blocks"),
        FIGURE(runs, COUNT, "large_blocks", "live blocks of whole pages"),
        FIGURE(huge, BYTES, "huge", "in live blocks that are mappings of their own"),
        FIGURE(huge_blocks, COUNT, "huge_blocks", "live blocks that are mappings of their own"),
        FIGURE(segments, COUNT, "segments", "segments that heaps own"),
        FIGURE(heaps, COUNT, "heaps", "heaps made"),
        FIGURE(remote_frees, TOTAL, "remote_frees", "blocks freed by others than their heap's"),
        FIGURE(reentrant, TOTAL, "reentrant_calls", "calls that found their heap busy"),
        FIGURE(adopted, TOTAL, "adopted_heaps", "heaps taken over from dead threads"),
        FIGURE(reserve_total, BYTES, "reserve", "the reserve"),
        FIGURE(reserve_used, BYTES, "reserve_used", "of the reserve, in use"),
        FIGURE(limit, LIMIT, "limit", "what blocks and free dirty pages may take"),
        FIGURE(charged, LIMIT, "charged", "what counts against the limit"),
        FIGURE(waits, TOTAL, "waits", "calls that waited for memory under the limit"),
};
const size_t lab_figure_count = sizeof lab_figures / sizeof *lab_figures;

bool
lab_figure_applies(const struct lab_figure *figure, const struct lab_stats *stats)
{
	return figure->kind != LAB_FIGURE_LIMIT || stats->limit != SIZE_MAX;
}
