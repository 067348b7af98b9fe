/* shares.c - lab_reserve_thread: where shares get their memory. KERNEL contexts. */
#include "alloc/alloc.h"
#include "alloc/provision.h"
#include "heap/registry.h"
#include "os/os.h"

/* A share that nobody has: its memory may have been given back, and may not be had again. */
static struct lab_share *
reuse(unsigned shift, size_t slots, uint32_t tid)
{
	struct lab_share *share;

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++) {
		if (share->shift != shift || share->slots != slots || !lab_share_win(share, tid, lab_os.thread_is_dead))
			continue;
		struct lab_range memory = lab_share_memory(share);
		if (lab_provision_fill(memory, memory))
			return share;
		lab_share_let_go(share); /* another will do, before one more is made: there is no end to those otherwise */
	}
	return NULL;
}

static struct lab_share *
make(unsigned shift, size_t slots, uint32_t tid)
{
	size_t size = lab_share_bytes(shift, slots);
	/* all of it is to be resident: what the system would not let a program have is not tried */
	char *memory = size && lab_os.may_commit(size) ? lab_os.map(size, LAB_ACCESS_WRITE) : NULL;

	if (!memory)
		return NULL;
	struct lab_share *share = NULL;
	if (lab_provision_fill((struct lab_range){memory, size}, (struct lab_range){memory, size}))
		share = lab_share_make(memory, shift, slots, tid);
	if (!share)
		lab_os.unmap(memory, size);
	return share;
}

static bool
give_all_back(unsigned shift)
{
	struct lab_share *share;
	uint32_t tid = lab_thread_tid();

	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++) {
		if (share->shift != shift || lab_share_tid(share) != tid || lab_load_rlx(&share->drawer) != lab_thread_pointer())
			continue;
		lab_share_detach(&lab_thread.share, share);
		if (lab_share_is_all_free(share)) {
			struct lab_range memory = lab_share_memory(share);
			lab_os.unlock(memory.start, memory.size);
			(void)lab_os.purge(memory.start, memory.size);
		}
		lab_share_let_go(share);
	}
	return true;
}

LAB_EXPORT bool
lab_reserve_thread(size_t size, size_t count)
{
	lab_thread_settle_fork(false);
	uint32_t tid = lab_thread_tid();

	if (size > (size_t)1 << LAB_RESERVE_MAX_SHIFT)
		return false;
	unsigned shift = lab_log2_up(size > 32 ? size : 32);
	if (count == 0)
		return give_all_back(shift);
	if (!lab_registry_start())
		return false;
	struct lab_share *share = reuse(shift, count, tid);
	if (!share)
		share = make(shift, count, tid);
	if (!share)
		return false;
	lab_share_attach(&lab_thread.share, share);
	return true;
}
