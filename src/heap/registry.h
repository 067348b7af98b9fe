/*
 * registry.h - which heap belongs to which thread, and what for.
 *
 * Each heap has an owner word, a lease whose tag says what it is held for (enum lab_heap_state). In a child of fork all
 * heaps but those of the forking thread are frozen: their memory was copied while others wrote it, so that nothing is
 * allocated from them again.
 *
 *     UNUSED ──make──▶ CURRENT | BORROWED                   IDLE ◀──give back── BORROWED | HELD | ABSORBING
 *     IDLE ──take───▶ CURRENT | BORROWED | HELD | ABSORBING
 *     of a dead thread, or of the caller's left by a jump ──▶ CURRENT | BORROWED | ABSORBING
 *
 * INV-REG-1  Every change of an owner word is a CAS that raises the epoch, but for the new thread id in fork's child:
 *            no value occurs twice.
 * INV-REG-2  Nothing is taken from a living thread: a heap changes hands when it is idle, or when the thread that its
 *            word names is proved dead after the word was read, in the process that wrote it.
 */
#ifndef LAB_HEAP_REGISTRY_H
#define LAB_HEAP_REGISTRY_H

#include "heap/heap.h"

enum lab_heap_state {
	LAB_HEAP_UNUSED = 0, /* never used */
	LAB_HEAP_IDLE,       /* whole; anyone may take it */
	/* the thread in the word has it, */
	LAB_HEAP_CURRENT,   /* for life: its word names it */
	LAB_HEAP_BORROWED,  /* for one call, whose thread's own heap is busy, has a visitor inside, or cannot be had */
	LAB_HEAP_HELD,      /* until its fork has returned; nobody is inside */
	LAB_HEAP_ABSORBING, /* to take out what is in it, or to repair it */
	LAB_HEAP_FROZEN,    /* of a thread that this process does not have */
};

static inline bool
lab_heap_state_is_owned(enum lab_heap_state hold)
{
	return hold >= LAB_HEAP_CURRENT && hold <= LAB_HEAP_ABSORBING;
}

/* Prepares the window (page/window.h) and the fork mark; repeatable. False if there is no memory. */
bool lab_registry_start(void);

/* The second half: notes which process writes the owner words. To be called before there can be a vfork. */
bool lab_registry_note_process(void);

/* The owner words, and the number of them that may be of heaps: for who looks from outside (alloc/inspect.h). */
extern _Atomic uint64_t lab_registry_owners[LAB_HEAP_MAX] LAB_HIDDEN;
extern _Atomic uint32_t lab_registry_end LAB_HIDDEN;

/* The pages of the owner words: most are never touched, and the atomic tier needs none of them. */
const void *lab_registry_table(size_t *size);

struct lab_heap *lab_registry_heap(uint32_t id);
uint32_t lab_registry_count(void);
enum lab_heap_state lab_registry_state(uint32_t id);
uint32_t lab_registry_tid(uint32_t id);

/* The heap of a dead thread, or if `idle_too` an idle one that blocks were freed into, found by up to `probes`
 * questions to the kernel; perhaps not whole. NULL if none was found. */
struct lab_heap *lab_registry_adopt(uint32_t tid, enum lab_heap_state hold, unsigned probes, bool idle_too);

/* The heap with this id, for life, if it is idle, or a thread had it for life that lay where the calling one lies, and
 * is dead: without a question to the kernel. Perhaps not whole. */
struct lab_heap *lab_registry_succeed(uint32_t tid, uint32_t id);

/* Whether `idle_too` may find one some time: a heap is another thread's, or is such an idle one. */
bool lab_registry_has_to_clear(uint32_t tid);

/* An idle heap; whole. NULL if there is none. For life (CURRENT) from the other end, so that what is borrowed often
 * stays there. */
struct lab_heap *lab_registry_take_idle(uint32_t tid, enum lab_heap_state hold);

/* The idle heap with this id; whole. NULL if it is not idle. */
struct lab_heap *lab_registry_take_if_idle(uint32_t tid, enum lab_heap_state hold, uint32_t id);

/* A new heap, not whole: it has to be built first. NULL if there is no memory, or there are LAB_HEAP_MAX. */
struct lab_heap *lab_registry_make(uint32_t tid, enum lab_heap_state hold);

/* The next heap from *id on whose word, *word, names tid; NULL at the end. *id is then behind it. */
struct lab_heap *lab_registry_next_of(uint32_t tid, uint32_t *id, uint64_t *word);

/* From exactly `word`, which names the caller's thread id already. False: somebody was quicker, who had proved a
 * namesake dead, or a handler. */
bool lab_registry_claim_own(struct lab_heap *heap, uint64_t word, enum lab_heap_state hold);

static inline enum lab_heap_state
lab_registry_state_in(uint64_t word)
{
	return (enum lab_heap_state)lab_lease_tag(word);
}

/* The owner word of a heap that the caller has won, for lab_registry_give_back. */
uint64_t lab_registry_word(const struct lab_heap *heap);

/* From `word`, a lease that the caller has won, to IDLE. Nothing of the heap may be touched afterwards. Of another's
 * lease nothing is changed. */
void lab_registry_give_back(struct lab_heap *heap, uint64_t word);

/* Whether the caller is another process than the one whose memory this is: made by vfork or clone with CLONE_VM. True
 * also if that cannot be told. */
bool lab_registry_in_shared_memory_child(void);

/* Whether this process is a fork's child whose leases are not settled yet. */
bool lab_registry_is_forked(void);

/* From libc's hook in the child: makes lab_registry_is_forked true, where the kernel does not wipe pages. */
void lab_registry_note_fork(void);

/* In fork's child, a lab_lease_kind: heaps are frozen but those of the forking thread, and of threads that the child
 * has begun. */
void lab_registry_settle(const struct lab_lease_fork *fork);

/* All leases are settled. */
void lab_registry_end_fork(void);

#endif
