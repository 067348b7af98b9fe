/* slab.c - see slab.h. */
#include "objects/slab.h"

#include "base/check.h"

#define SLAB_SIZE_MIN ((size_t)512)
#define SLAB_SIZE_MAX ((size_t)64 << 10)
#define OBJECT_MAX    ((size_t)16 << 20) /* all pages of a slab are written to when it opens */

enum { LARGE_OBJECTS = 4 }; /* at least so many fit in a slab of large objects */

bool
lab_slabs_lay_out(struct lab_slabs *slabs, size_t size, size_t align)
{
	if (size > OBJECT_MAX || align > OBJECT_MAX)
		return false;
	size_t stride = lab_round_up(size ? size : 1, align);
	size_t first = lab_round_up(sizeof(struct lab_slab_head), align);
	size_t least = (size_t)1 << lab_log2_up(first + LARGE_OBJECTS * stride);
	/* the greatest power of two that 32 objects and the head still fill */
	size_t slab_size = (size_t)1 << lab_log2((first + LAB_SLOTS_A_WORD * stride) | SLAB_SIZE_MIN);
	if (slab_size > SLAB_SIZE_MAX)
		slab_size = least > SLAB_SIZE_MAX ? least : SLAB_SIZE_MAX;
	size_t objects = (slab_size - first) / stride;
	lab_poke(&slabs->size, size);
	lab_poke(&slabs->align, align);
	lab_poke(&slabs->stride, stride);
	lab_poke(&slabs->first, first);
	lab_poke(&slabs->slab_size, slab_size);
	lab_poke(&slabs->objects, (uint32_t)(objects < LAB_SLOTS_A_WORD ? objects : LAB_SLOTS_A_WORD));
	return true;
}

static void
set_hint(struct lab_slabs *slabs, struct lab_slab *slab)
{
	_Atomic(struct lab_slab *) *hint = &slabs->hints[lab_slots_start(LAB_SLAB_HINTS - 1)].slab;

	if (lab_load_rlx(hint) != slab)
		lab_store_rel(hint, slab); /* pairs with the acq of lab_slabs_take */
}

static void *
object_at(const struct lab_slabs *slabs, struct lab_slab_head *memory, size_t object)
{
	return (char *)memory + slabs->first + object * slabs->stride;
}

static void *
take_from(struct lab_slabs *slabs, struct lab_slab *slab)
{
	int object = lab_slots_claim(&slab->word, (uint32_t)lab_mask(slabs->objects));

	if (object < 0)
		return NULL;
	lab_add_rlx(&slab->allocations, 1);
	return object_at(slabs, lab_load_rlx(&slab->memory), (size_t)object);
}

static LAB_NOINLINE void *
walk(struct lab_slabs *slabs, size_t most)
{
	struct lab_slab *start = lab_load_acq(&slabs->cursor), *slab; /* pairs with the rel below */
	void *object = NULL;

	if (!start)
		start = lab_slabs_first(slabs);
	slab = start;
	while (slab && !object && most-- > 0) {
		object = take_from(slabs, slab);
		if (object)
			set_hint(slabs, slab);
		else
			slab = slab->next ? slab->next : lab_slabs_first(slabs);
		if (slab == start)
			break; /* all were looked at */
	}
	lab_store_rel(&slabs->cursor, slab); /* pairs with the acq above */
	return object;
}

void *
lab_slabs_take(struct lab_slabs *slabs, size_t most)
{
	/* pairs with the rel of set_hint */
	struct lab_slab *slab = lab_load_acq(&slabs->hints[lab_slots_start(LAB_SLAB_HINTS - 1)].slab);
	void *object = slab ? take_from(slabs, slab) : NULL;

	return lab_likely(object != NULL) ? object : walk(slabs, most);
}

bool
lab_slab_release(struct lab_slab *slab, unsigned object)
{
	set_hint(slab->slabs, slab);
	return lab_slots_release(&slab->word, object) == LAB_RESERVE_RELEASED; /* of a closed slab all were free */
}

struct lab_slab *
lab_slabs_find(struct lab_slabs *slabs, const void *p, unsigned *object, const char **why)
{
	struct lab_slab_head *head = (struct lab_slab_head *)((uintptr_t)p & ~(slabs->slab_size - 1));

	*why = "not an object of this cache";
	if (lab_block_size(head, NULL) == 0 /* else it may not be there */ || lab_peek(&head->slabs) != slabs)
		return NULL;
	struct lab_slab *slab = lab_peek(&head->slab);
	if (lab_block_size(slab, NULL) < sizeof *slab || slab->slabs != slabs || lab_load_rlx(&slab->memory) != head)
		return NULL;
	*why = "not the start of an object";
	/* what lies before the first object gives a huge number */
	size_t offset = (size_t)((const char *)p - (const char *)head) - slabs->first, number = offset / slabs->stride;
	if (offset % slabs->stride != 0 || number >= slabs->objects)
		return NULL;
	*object = (unsigned)number;
	return slab;
}

/* As gfp gives it, and never from the reserve, which is no place for what stays. */
static void *
allocate(struct lab_guard *guard, size_t size, size_t align, unsigned gfp)
{
	const struct lab_request request = {size, align, LAB_GFP_LASTING | (gfp & (LAB_GFP_NORECLAIM | LAB_GFP_NOIO))};

	if (lab_gfp_is(gfp, LAB_GFP_NOWAIT))
		return lab_allocate_nowait(guard, request);
	return lab_allocate(guard, request);
}

/* A slab in state OPENING: one that is there without memory, else a new one. */
static struct lab_slab *
claim(struct lab_slabs *slabs, struct lab_guard *guard, unsigned gfp)
{
	/* before the list is read; pairs with the add of leave_closed */
	uint64_t closings = lab_load_acq(&slabs->closings);
	bool may_be = closings != lab_load_rlx(&slabs->none_closed_at);
	struct lab_slab *first = lab_slabs_first(slabs);

	for (struct lab_slab *slab = may_be ? first : NULL; slab; slab = slab->next)
		/* pairs with the rel of leave_closed */
		if (lab_load_rlx(&slab->word) == 0 && lab_cas64(&slab->word, 0, LAB_SLAB_OPENING))
			return slab;
	/* What has been closed meanwhile, perhaps behind the walk's back, makes the next one look again. */
	lab_store_rlx(&slabs->none_closed_at, closings);
	struct lab_slab *slab = allocate(guard, sizeof *slab, sizeof *slab, gfp);
	if (!slab)
		return NULL;
	*slab = (struct lab_slab){.word = LAB_SLAB_OPENING, .slabs = slabs};
	do
		slab->next = first;
	while (!atomic_compare_exchange_weak(&slabs->list, &first, slab)); /* pairs with the acq of lab_slabs_first */
	return slab;
}

/* All objects are made; every page has been written to. */
static void
construct_all(const struct lab_slabs *slabs, struct lab_slab_head *memory)
{
	for (size_t page = 0; page < slabs->slab_size; page += LAB_PAGE_SIZE)
		((volatile char *)memory)[page] = ((char *)memory)[page];
	for (size_t i = 0; slabs->construct && i < slabs->objects; i++)
		slabs->construct(object_at(slabs, memory, i));
}

/* OPENING or CLOSING → 0, by the frame that made it so; the memory is that frame's. */
static struct lab_slab_head *
leave_closed(struct lab_slab *slab)
{
	struct lab_slab_head *memory = lab_load_rlx(&slab->memory);

	lab_store_rlx(&slab->memory, NULL);
	lab_store_rel(&slab->word, 0);          /* pairs with the CAS of claim */
	lab_add_rel(&slab->slabs->closings, 1); /* pairs with the acq of claim */
	return memory;
}

void *
lab_slabs_open(struct lab_slabs *slabs, struct lab_guard *guard, unsigned gfp)
{
	struct lab_slab *slab = claim(slabs, guard, gfp);
	struct lab_slab_head *memory = slab ? allocate(guard, slabs->slab_size, slabs->slab_size, gfp) : NULL;

	if (slab && !memory)
		(void)leave_closed(slab);
	if (!memory)
		return NULL;
	*memory = (struct lab_slab_head){slabs, slab};
	lab_store_rlx(&slab->memory, memory);
	construct_all(slabs, memory);
	lab_add_rlx(&slab->allocations, 1);
	/* rel: INV-SLAB-2; pairs with the acq of claims and of lab_slab_close. */
	lab_store_rel(&slab->word, LAB_SLAB_ALL_FREE & ~UINT64_C(1));
	set_hint(slabs, slab);
	return object_at(slabs, memory, 0);
}

void
lab_slabs_let_go(const struct lab_slabs *slabs, struct lab_guard *guard, struct lab_slab_head *memory, const char *call)
{
	void (*release)(void *, struct lab_rcu_head *) = lab_load_rlx(&slabs->release);

	if (release)
		release(memory, (struct lab_rcu_head *)memory);
	else
		lab_release(guard, memory, call);
}

size_t
lab_slab_close(struct lab_slab *slab, uint64_t from, struct lab_guard *guard)
{
	/* pairs with the instruction that releases, and with the rel of lab_slabs_open */
	if (lab_load_rlx(&slab->word) != from || !lab_cas64(&slab->word, from, LAB_SLAB_CLOSING))
		return 0;
	struct lab_slab_head *memory = leave_closed(slab);
	lab_assert(memory || from == LAB_SLAB_OPENING); /* INV-SLAB-1 */
	size_t size = memory ? lab_block_size(memory, NULL) : 0;
	if (memory)
		lab_slabs_let_go(slab->slabs, guard, memory, "lab_cache_shrink");
	return size;
}
