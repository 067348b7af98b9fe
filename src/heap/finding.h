/*
 * finding.h - misuse that a frame finds while it is inside a heap: it is noted there, the heap is mended, and it is
 * reported when the frame has left the heap. So whatever handler SIGABRT has finds the heap whole, and may allocate,
 * free and jump out.
 *
 * INV-FIND-1  lab_report_… is called outside of every guard of the frame that calls. What a heap that is not left by
 *             lab_leave has in its note goes to the one that is (lab_finding_pass_owned).
 */
#ifndef LAB_HEAP_FINDING_H
#define LAB_HEAP_FINDING_H

#include "heap/heap.h"

/* Notes it for the end of the frame; of several the first. block: for damage, any address in the span or run. By the
 * holder. */
LAB_COLD void lab_finding_note_owned(struct lab_heap *heap, enum lab_finding_kind kind, const void *block);

/* Moves the note, if there is one, to another heap of the caller's. */
void lab_finding_pass_owned(struct lab_heap *from, struct lab_heap *to);

/* Takes the note out; false: there is none. */
static inline bool
lab_finding_take_owned(struct lab_heap *heap, struct lab_finding *finding)
{
	if (lab_likely(heap->found.kind == LAB_FOUND_NOTHING))
		return false;
	*finding = heap->found;
	heap->found.kind = LAB_FOUND_NOTHING;
	return true;
}

/* Its line, and the end. */
LAB_COLD LAB_NORETURN void lab_finding_report(const struct lab_finding *finding);

#endif
