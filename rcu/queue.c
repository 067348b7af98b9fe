/* queue.c - see queue.h. */
#include "queue.h"

#include "base/check.h"

#define HEAD_IS_BLOCK ((uintptr_t)1)

/* What was pushed since the last take: the counts first, so that one that was left by a jump is forgotten by the next
 * take, and the figures do not drift. */
static struct {
	_Atomic uintptr_t top;
	_Atomic size_t blocks, bytes;
} waiting;

static struct {
	_Atomic uintptr_t first;
	_Atomic size_t blocks, bytes; /* as counted by the take */
} batch;

static _Atomic size_t freed;

static struct lab_rcu_head *
head_of(uintptr_t link)
{
	return (struct lab_rcu_head *)(link & ~HEAD_IS_BLOCK);
}

void
lab_queue_push(void *block, struct lab_rcu_head *head, bool head_is_block)
{
	uintptr_t top = lab_load_rlx(&waiting.top);

	lab_assert(((uintptr_t)head & HEAD_IS_BLOCK) == 0);
	lab_add_rlx(&waiting.blocks, 1);
	lab_add_rlx(&waiting.bytes, lab_usable_size(block));
	head->room[1] = block;
	do
		head->room[0] = (void *)top;
	/* pairs with the exchange of lab_queue_take; and, before the load of `depth`, with the add of nap */
	while (!atomic_compare_exchange_weak(&waiting.top, &top, (uintptr_t)head | head_is_block));
}

bool
lab_queue_is_empty(void)
{
	/* pairs with the CAS of lab_queue_push: Dekker, see nap in worker.c */
	return atomic_load(&waiting.top) == 0;
}

size_t
lab_queue_blocks(void)
{
	return lab_load_rlx(&waiting.blocks) + lab_load_rlx(&batch.blocks);
}

size_t
lab_queue_bytes(void)
{
	return lab_load_rlx(&waiting.bytes) + lab_load_rlx(&batch.bytes);
}

bool
lab_queue_has_batch(void)
{
	return lab_load_rlx(&batch.first) != 0;
}

bool
lab_queue_take(void)
{
	lab_assert(!lab_queue_has_batch());
	if (lab_queue_is_empty())
		return false;
	uintptr_t top = lab_load_rlx(&waiting.top);
	do {
		lab_store_rlx(&batch.first, top); /* INV-RCU-2 */
		/* pairs with the CAS of lab_queue_push: the heads are seen; before the counts, which a push makes
		 * first, so that none stay that belong to what is taken */
	} while (!atomic_compare_exchange_weak(&waiting.top, &top, 0));
	lab_store_rlx(&batch.blocks, atomic_exchange_explicit(&waiting.blocks, 0, memory_order_relaxed));
	lab_store_rlx(&batch.bytes, atomic_exchange_explicit(&waiting.bytes, 0, memory_order_relaxed));
	return true;
}

void
lab_queue_settle_batch(void)
{
	uintptr_t link = atomic_load(&waiting.top), first = lab_load_rlx(&batch.first); /* pairs with lab_queue_push */

	if (!first)
		return;
	while (link && link != first)
		link = (uintptr_t)head_of(link)->room[0];
	if (link) /* it was about to be taken */
		lab_store_rlx(&batch.first, 0);
}

void
lab_queue_free_batch(void)
{
	uintptr_t link;

	while ((link = lab_load_rlx(&batch.first)) != 0) {
		struct lab_rcu_head *head = head_of(link);
		void *block = head->room[1];
		lab_store_rlx(&batch.first, (uintptr_t)head->room[0]); /* INV-RCU-2 */
		lab_compiler_barrier();
		lab_free(block);
		if (link & HEAD_IS_BLOCK)
			lab_free(head);
		lab_add_rlx(&freed, 1);
	}
	lab_store_rlx(&batch.blocks, 0);
	lab_store_rlx(&batch.bytes, 0);
}

size_t
lab_queue_freed(void)
{
	return lab_load_rlx(&freed);
}
