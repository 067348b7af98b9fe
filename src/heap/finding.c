/* finding.c - what a frame inside a heap has found wrong, until it has left the heap: see finding.h. Any context. */
#include "heap/finding.h"
#include "base/check.h"
#include "page/map.h"

/* The memory whose blocks are of one size: a span, or the one block of a run. */
static void
describe(struct lab_finding *finding)
{
	struct lab_place place = lab_map_find(finding->block);

	if (place.kind == LAB_PLACE_SPAN) {
		finding->start = place.unit->base;
		finding->bytes = LAB_UNIT_SIZE;
		finding->block_size = place.unit->size;
	} else if (place.kind == LAB_PLACE_RUN) {
		finding->start = finding->block;
		finding->bytes = finding->block_size = lab_load_rlx(&place.run->pages) << LAB_PAGE_SHIFT;
	}
}

void
lab_finding_note_owned(struct lab_heap *heap, enum lab_finding_kind kind, const void *block)
{
	struct lab_finding finding = {.kind = kind, .block = block};

	if (heap->found.kind != LAB_FOUND_NOTHING)
		return;
	describe(&finding);
	heap->found = finding;
}

void
lab_finding_pass_owned(struct lab_heap *from, struct lab_heap *to)
{
	if (lab_likely(from->found.kind == LAB_FOUND_NOTHING))
		return;
	if (to->found.kind == LAB_FOUND_NOTHING)
		to->found = from->found;
	from->found.kind = LAB_FOUND_NOTHING;
}

void
lab_finding_report(const struct lab_finding *finding)
{
	if (finding->kind == LAB_FOUND_DOUBLE_FREE)
		lab_report_misuse("free", finding->block, "double free");
	lab_report_damage(finding->start, finding->bytes, finding->block_size);
}
