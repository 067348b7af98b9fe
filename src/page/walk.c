/* walk.c - see walk.h. Any context; wait-free. */
#include "page/walk.h"
#include "os/os.h"
#include "page/frame.h"

/* 0: walks protect nothing. For the test that shows what they are for (tests/unit/page/arenas.c). */
#ifndef LAB_GRACE
#define LAB_GRACE 1
#endif

static struct slot {
	LAB_ALIGNED(64) _Atomic uint64_t word; /* {count, tid}; tid 0: free */
	_Atomic uintptr_t sp;                  /* of the frame that walks; 0: it has not begun */
	_Atomic uint64_t age;
} slots[LAB_WALK_WORDS];

static _Atomic uint64_t age_now = 1;
static _Atomic uint32_t uncounted; /* walks that found no word */
static _Atomic uint32_t process;

static uint32_t
tid_of(uint64_t word)
{
	return (uint32_t)word;
}

static uint32_t
count_of(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static uint64_t
make_word(uint32_t count, uint32_t tid)
{
	return (uint64_t)count << 32 | tid;
}

/* Of the calling thread's words: whether no frame will go on with the walk. */
static bool
is_left(struct slot *slot, uintptr_t sp, uint32_t tid)
{
	uintptr_t flag = lab_load_rlx(&slot->sp);

	return flag == 0 || lab_frame_is_dead(flag, sp, tid);
}

/* In a child that has not settled, or one of vfork, another process's ids may be in the words: everybody is alive then. */
static bool
is_dead(uint32_t tid)
{
	if (lab_load_rlx(&process) != lab_os_pid() || !lab_os.thread_is_dead(tid))
		return false;
	atomic_thread_fence(memory_order_seq_cst); /* INV-WALK-1: the word was read before the proof, the CAS comes after */
	return true;
}

/* Takes a word from exactly `word`. False: somebody else has it, a handler in between perhaps. */
static bool
take(struct lab_walk *walk, int i, uint64_t word, uint32_t tid, uintptr_t sp)
{
	struct slot *slot = &slots[i];
	uint64_t mine = make_word(count_of(word) + 1, tid);

	if (!lab_cas64(&slot->word, word, mine))
		return false;
	atomic_store(&slot->age, atomic_load(&age_now));
	lab_store_rlx(&slot->sp, sp);
	walk->slot = i;
	walk->count = count_of(mine);
	lab_compiler_barrier();
	return atomic_load(&slot->word) == mine; /* INV-WALK-2 */
}

static bool
find_word(struct lab_walk *walk, uint32_t tid, uintptr_t sp, bool among_dead)
{
	for (uint32_t n = 0; n < LAB_WALK_WORDS; n++) {
		int i = (int)((tid + n) % LAB_WALK_WORDS);
		uint64_t word = atomic_load(&slots[i].word);
		uint32_t holder = tid_of(word);
		bool is_there = holder == 0 || (holder == tid ? is_left(&slots[i], sp, tid) : among_dead && is_dead(holder));
		if (is_there && take(walk, i, word, tid, sp))
			return true;
	}
	return false;
}

LAB_NOINLINE void
lab_walk_begin(struct lab_walk *walk)
{
	uintptr_t sp = LAB_ENTRY_STACK_POINTER;

	*walk = (struct lab_walk){.everywhere = lab_map_arena(1) != NULL, .slot = -1};
	if (lab_likely(!walk->everywhere))
		return;
	uint32_t tid = lab_os_tid_to_write();
	if (find_word(walk, tid, sp, false) || find_word(walk, tid, sp, true))
		return;
	walk->slot = -1;
	atomic_fetch_add(&uncounted, 1);
}

/* Whoever's id the word has: fork's child has changed it. If the count is another one the walk had been taken for dead in a process that it
 * does not exist in. */
static void
let_go(int i, uint32_t count)
{
	uint64_t word = atomic_load(&slots[i].word);

	if (count_of(word) == count)
		lab_store_rlx(&slots[i].sp, 0);
	lab_compiler_barrier();
	while (count_of(word) == count && tid_of(word) != 0 && !lab_cas64(&slots[i].word, word, make_word(count, 0)))
		word = atomic_load(&slots[i].word);
}

void
lab_walk_end(struct lab_walk *walk)
{
	if (lab_likely(!walk->everywhere))
		return;
	if (walk->slot >= 0)
		let_go(walk->slot, walk->count);
	else
		atomic_fetch_sub(&uncounted, 1);
}

/* Whether a word, which was read before, belongs to nobody any more. If it is that of a walk that was cut short, it is freed. */
static bool
is_free(int i, uint64_t word, uintptr_t sp)
{
	uint32_t holder = tid_of(word);

	if (holder == 0)
		return true;
	if (holder == lab_os_tid() ? !is_left(&slots[i], sp, holder) : !is_dead(holder))
		return false;
	(void)lab_cas64(&slots[i].word, word, make_word(count_of(word), 0)); /* else it is somebody's who is younger */
	return true;
}

enum { TAG_SLOT_BITS = 6, TAG_COUNT_BITS = LAB_ARENA_TAG_BITS - TAG_SLOT_BITS };
_Static_assert(LAB_WALK_WORDS == 1 << TAG_SLOT_BITS, "a tag names a word");

static uint64_t
make_tag(int slot, uint32_t count)
{
	return (uint64_t)slot | (uint64_t)(count & ((1u << TAG_COUNT_BITS) - 1)) << TAG_SLOT_BITS;
}

uint64_t
lab_walk_tag(const struct lab_walk *walk)
{
	return make_tag(walk->slot, walk->count);
}

bool
lab_walk_is_over(uint64_t tag)
{
	int i = (int)(tag % LAB_WALK_WORDS);
	uint64_t word = atomic_load(&slots[i].word);

	return make_tag(i, count_of(word)) != tag || is_free(i, word, LAB_ENTRY_STACK_POINTER);
}

uint64_t
lab_walk_next_age(void)
{
	return atomic_fetch_add(&age_now, 1) + 1;
}

bool
lab_walk_none_before(uint64_t age, const struct lab_walk *own)
{
	if (!LAB_GRACE)
		return true;
	for (int i = 0; i < LAB_WALK_WORDS; i++) {
		uint64_t word = atomic_load(&slots[i].word);
		if (i == own->slot || tid_of(word) == 0 || atomic_load(&slots[i].age) >= age)
			continue;
		if (!is_free(i, word, LAB_ENTRY_STACK_POINTER))
			return false;
	}
	return atomic_load(&uncounted) == 0;
}

void
lab_walk_note_process(uint32_t pid)
{
	lab_store_rlx(&process, pid);
}

/* The id of a thread that has no heap is not known: then none can be told to be another's, and all hold up unmapping in this child. */
void
lab_walk_after_fork(uint32_t old_tid, uint32_t new_tid)
{
	for (int i = 0; old_tid != 0 && i < LAB_WALK_WORDS; i++) {
		uint64_t word = atomic_load(&slots[i].word);
		uint32_t holder = tid_of(word);
		if (holder == old_tid)
			(void)lab_cas64(&slots[i].word, word, make_word(count_of(word), new_tid));
		else if (holder != 0 && holder != new_tid && !lab_os_has_thread(holder)) /* else begun in the child */
			(void)lab_cas64(&slots[i].word, word, make_word(count_of(word), 0));
	}
}
