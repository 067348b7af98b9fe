/* misuse.c - what reports of misuse say of the block, and who else is told of them: see misuse.h; and the threads
 * whose slow calls are misuse. Any context. */
#include <labyrinth/labyrinth.h>

#include "alloc/misuse.h"
#include "base/atomic.h"
#include "base/check.h"
#include "debug/dress.h"
#include "heap/sleeper.h"
#include "heap/visitor.h"
#include "page/map.h"

static _Atomic(lab_misuse_callback *) callback;

static void
describe(const void *p, struct lab_block_facts *facts)
{
	size_t size = 0;
	char *block = lab_map_block_around(p, &size);

	if (!block)
		return;
	facts->start = block;
	facts->size = size;
	if (lab_debug_is_on())
		lab_dress_describe(block, size, facts);
}

static void
tell(const struct lab_report *report)
{
	lab_misuse_callback *told = lab_load_acq(&callback); /* pairs with lab_on_misuse */
	const struct lab_misuse misuse = {
	        .struct_size = sizeof misuse,
	        .call = report->call,
	        .reason = report->reason,
	        .pointer = report->p,
	        .block = report->block.start,
	        .block_size = report->block.size,
	        .thread = (int)report->thread,
	        .text = report->text,
	        .trace = report->trace,
	        .frames = report->frames,
	};

	if (told)
		told(&misuse);
}

void
lab_misuse_start(void)
{
	static const struct lab_report_hooks hooks = {describe, tell};

	lab_report_set_hooks(&hooks);
}

LAB_EXPORT void
lab_on_misuse(lab_misuse_callback *told)
{
	lab_store_rel(&callback, told); /* pairs with tell */
}

LAB_EXPORT enum lab_realtime
lab_thread_realtime(enum lab_realtime mode)
{
	static const uint16_t marks[] = {0, LAB_SCOPE_REPORTS, LAB_SCOPE_ABORTS};
	uint16_t scope = lab_thread.scope;

	lab_thread.scope = (uint16_t)((scope & ~LAB_SCOPE_OWN) | marks[mode]);
	if (lab_thread.heap) {
		lab_sleeper_name_thread(lab_thread.heap, &lab_thread);
		/* a visitor that took the lease before may have read the name: pairs with its CAS, and the load after
		 * that */
		atomic_thread_fence(memory_order_seq_cst);
		(void)lab_visit_wait_for_end(lab_thread.heap);
	}
	return scope & LAB_SCOPE_ABORTS    ? LAB_REALTIME_ABORT
	       : scope & LAB_SCOPE_REPORTS ? LAB_REALTIME_REPORT
	                                   : LAB_REALTIME_OFF;
}
