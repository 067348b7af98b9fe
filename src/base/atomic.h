/*
 * atomic.h - short names for C11 atomics, with the order in the name. Any context.
 *
 * rlx: the value alone. acq/rel: pair with each other, as the comment at each use says. Compare-and-swap takes the
 * expected value by value: state transitions read as "from this to that".
 */
#ifndef LAB_BASE_ATOMIC_H
#define LAB_BASE_ATOMIC_H

#include "base/compiler.h"

#define lab_load_rlx(p)       atomic_load_explicit((p), memory_order_relaxed)
#define lab_load_acq(p)       atomic_load_explicit((p), memory_order_acquire)
#define lab_store_rlx(p, v)   atomic_store_explicit((p), (v), memory_order_relaxed)
#define lab_store_rel(p, v)   atomic_store_explicit((p), (v), memory_order_release)
#define lab_add_rlx(p, v)     atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define lab_add_rel(p, v)     atomic_fetch_add_explicit((p), (v), memory_order_release)
#define lab_or_acq_rel(p, v)  atomic_fetch_or_explicit((p), (v), memory_order_acq_rel)
#define lab_and_rel(p, v)     atomic_fetch_and_explicit((p), (v), memory_order_release)
#define lab_and_acq_rel(p, v) atomic_fetch_and_explicit((p), (v), memory_order_acq_rel)

/* From `from` to `to`, or false. Sequentially consistent: cold words, where a proof is worth more than a fence. It
 * pairs as the comment at its use says. */
static inline bool
lab_cas64(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
	/* pairs as said above */
	return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_seq_cst, memory_order_relaxed);
}

/*
 * A field that fast paths read while its owner may be writing it. Where a torn or stale value is harmless (it can only
 * make a check fail), the plain load lets the compiler fold it into an instruction; ThreadSanitizer is shown the atomic
 * form.
 */
#if defined(__SANITIZE_THREAD__)
#define LAB_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LAB_THREAD_SANITIZER 1
#endif
#endif
#if defined(LAB_THREAD_SANITIZER)
#define lab_peek(p)    __atomic_load_n((p), __ATOMIC_RELAXED)
#define lab_poke(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#else
#define lab_peek(p)    (*(p))
#define lab_poke(p, v) (*(p) = (v))
#endif

/* A field that another thread may have written after it has read what this thread writes next (heap/hold.h). What is
 * read from there on depends on it, which orders the processor; ThreadSanitizer is shown an acquire. */
#if defined(LAB_THREAD_SANITIZER)
#define lab_peek_dependent(p) __atomic_load_n((p), __ATOMIC_ACQUIRE) /* pairs with the swap of heap/hold.c */
#else
#define lab_peek_dependent(p) (*(p))
#endif

/* The store that commits a change of a fast path: what was written before it is seen by who sees it, as each store of
 * x86-64 has it. */
#if defined(__x86_64__) && !defined(LAB_THREAD_SANITIZER)
#define lab_poke_commit(p, v) (*(p) = (v))
#else
#define lab_poke_commit(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE) /* pairs with put_back of heap/sleeper.c */
#endif

/*
 * A plain store that a fence of the system (lab_os.fence), called by the thread that looks for it, orders after what
 * was written before. ThreadSanitizer, which knows nothing of such fences, is shown a release and an acquire; the
 * latter only after *p is known to be readable.
 */
#if defined(LAB_THREAD_SANITIZER)
#define lab_poke_for_fence(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE) /* pairs with the next line */
#define lab_observe_poke(p)      ((void)__atomic_load_n((p), __ATOMIC_ACQUIRE))
#else
#define lab_poke_for_fence(p, v) (*(p) = (v))
#define lab_observe_poke(p)      ((void)(p))
#endif

#endif
