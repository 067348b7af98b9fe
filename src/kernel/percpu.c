/*
 * percpu.c - one instance for each processor (lab_percpu_alloc, include/labyrinth/kernel/support.h).
 *
 * A chunk is LAB_PERCPU_STRIDE bytes for each processor, side by side, and one bitmap for all of them, of granules of
 * 16 bytes: a word of the map stands for 1 KiB. What is as small lies in one word, by one CAS; what is larger has whole
 * words. Pages that nobody has written to take no memory. Chunks are in a list, to which new ones are pushed, and stay:
 * so who walks it needs no protection. A frame that is cut short loses the granules in its hand.
 *
 * Instances are by processor and not by thread: a sum over for_each_possible_cpu is then exact, whichever threads come
 * and go. What the kernel has by disabling preemption is had by atomic instructions (kernel/percpu.h).
 */
#include <labyrinth/kernel/support.h>

#include <string.h>

#include "alloc/allocate.h"
#include "alloc/gfp.h"
#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

enum { GRANULE = 16, WORD_BYTES = 64 * GRANULE, WORDS = LAB_PERCPU_STRIDE / WORD_BYTES, ALIGN_MAX = 4096 };

struct chunk {
	struct chunk *next; /* never changes once it is listed */
	char *base;
	_Atomic uint64_t taken[WORDS];
	_Atomic uint16_t granules[WORDS * 64]; /* of what begins there; 0: nothing does */
};

static _Atomic(struct chunk *) chunks;
static _Atomic unsigned processors;

/* "0-3", or "0,2-5": one more than the last number. */
static unsigned
count_processors(void)
{
	char text[256];
	size_t length = lab_os.read_file("/sys/devices/system/cpu/possible", text, sizeof text);
	unsigned last = 0, number = 0;

	for (size_t i = 0; i < length; i++) {
		number = text[i] >= '0' && text[i] <= '9' ? number * 10 + (unsigned)(text[i] - '0') : 0;
		if (number > last && number < 1u << 16)
			last = number;
	}
	return last + 1;
}

LAB_EXPORT unsigned
lab_percpu_count(void)
{
	unsigned count = lab_load_rlx(&processors);

	if (lab_unlikely(count == 0)) {
		unsigned none = 0;
		count = count_processors();
		if (!atomic_compare_exchange_strong(&processors, &none, count)) /* pairs with nothing: a number */
			count = none;
	}
	return count;
}

LAB_EXPORT unsigned
lab_percpu_current(void)
{
	unsigned count = lab_percpu_count(), cpu = lab_os_processor();

	return lab_likely(cpu < count) ? cpu : cpu % count;
}

/* The first granule of n in a row, at a multiple of `step`, that were free in this word, and are taken; -1: none. */
static int
take_in_word(_Atomic uint64_t *word, unsigned n, unsigned step)
{
	uint64_t mask = n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX, seen = lab_load_rlx(word);

	for (unsigned at = 0; at + n <= 64; at += step) {
		if (seen & mask << at)
			continue;
		if (lab_cas64(word, seen, seen | mask << at)) /* pairs with the rel of give */
			return (int)at;
		seen = lab_load_rlx(word);
		at = 0 - step; /* from the start again: lock-free, another has changed it */
	}
	return -1;
}

static void
give(struct chunk *chunk, size_t first, size_t n)
{
	for (size_t end = first + n; first < end; first = (first | 63) + 1) {
		size_t here = end - first < 64 - first % 64 ? end - first : 64 - first % 64;
		uint64_t mask = (here < 64 ? (UINT64_C(1) << here) - 1 : UINT64_MAX) << first % 64;
		(void)lab_and_rel(&chunk->taken[first / 64], ~mask); /* pairs with the CAS of take_in_word */
	}
}

/* `words` whole ones at a multiple of `step`; the number of their first granule, or -1. */
static int
take_words(struct chunk *chunk, unsigned words, unsigned step)
{
	for (unsigned at = 0; at + words <= WORDS; at += step) {
		unsigned have = 0;
		while (have < words && take_in_word(&chunk->taken[at + have], 64, 64) == 0)
			have++;
		if (have == words)
			return (int)(at * 64);
		give(chunk, at * 64, (size_t)have * 64);
	}
	return -1;
}

static int
take(struct chunk *chunk, size_t granules, size_t align)
{
	int at = -1;

	if (granules > 64 || align > WORD_BYTES)
		return take_words(chunk, (unsigned)((granules + 63) / 64),
		                  align > WORD_BYTES ? (unsigned)(align / WORD_BYTES) : 1);
	for (unsigned w = 0; w < WORDS && at < 0; w++) {
		at = take_in_word(&chunk->taken[w], (unsigned)granules, (unsigned)(align / GRANULE));
		if (at >= 0)
			at += (int)w * 64;
	}
	return at;
}

/* The chunk lies behind its memory. */
static struct chunk *
add_chunk(struct lab_guard *guard, unsigned gfp)
{
	size_t bytes = lab_percpu_count() * LAB_PERCPU_STRIDE;
	unsigned kept = gfp & (LAB_GFP_NORECLAIM | LAB_GFP_NOIO);
	char *base = lab_allocate(
	        guard, (struct lab_request){bytes + sizeof(struct chunk), ALIGN_MAX, LAB_GFP_LASTING | kept});
	struct chunk *chunk, *first = lab_load_rlx(&chunks);

	if (!base)
		return NULL;
	chunk = memset(base + bytes, 0, sizeof *chunk);
	chunk->base = base;
	do
		chunk->next = first;
	while (!atomic_compare_exchange_weak(&chunks, &first, chunk)); /* pairs with the acq of first_chunk */
	return chunk;
}

static struct chunk *
first_chunk(void)
{
	return lab_load_acq(&chunks); /* pairs with the CAS of add_chunk: all of it is seen */
}

static void *
take_from(struct chunk *chunk, size_t size, size_t align)
{
	size_t granules = (size + GRANULE - 1) / GRANULE;
	int at = take(chunk, granules, align);

	if (at < 0)
		return NULL;
	if (granules > 64 || align > WORD_BYTES)
		granules = (granules + 63) / 64 * 64;
	for (unsigned cpu = 0; cpu < lab_percpu_count(); cpu++)
		memset(chunk->base + cpu * LAB_PERCPU_STRIDE + (size_t)at * GRANULE, 0, size);
	lab_store_rel(&chunk->granules[at], (uint16_t)granules); /* pairs with the exchange of lab_percpu_free */
	return chunk->base + (size_t)at * GRANULE;
}

LAB_EXPORT void *
lab_percpu_alloc(size_t size, size_t align, unsigned gfp)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	void *p = NULL;

	if (!lab_gfp_check_but(gfp, LAB_GFP_EXCLUSIVE) || size > LAB_PERCPU_STRIDE || align > ALIGN_MAX ||
	    (align & (align - 1)))
		return lab_or_enomem(NULL);
	size = size ? size : 1;
	align = align > GRANULE ? align : GRANULE;
	for (struct chunk *chunk = first_chunk(); chunk && !p; chunk = chunk->next)
		p = take_from(chunk, size, align);
	while (!p && lab_gfp_is(gfp, LAB_GFP_KERNEL)) {
		struct lab_guard inner = {.sp = guard.sp};
		struct chunk *chunk = add_chunk(&inner, gfp);
		if (!chunk)
			break;
		p = take_from(chunk, size, align);
	}
	return lab_or_enomem(p);
}

LAB_EXPORT void
lab_percpu_free(void *instance)
{
	for (struct chunk *chunk = first_chunk(); chunk && instance; chunk = chunk->next) {
		size_t offset = (size_t)((char *)instance - chunk->base);
		if (offset >= LAB_PERCPU_STRIDE)
			continue;
		/* acq: what was written to it comes before; pairs with the rel of take_from */
		uint16_t n = offset % GRANULE ? 0
		                              : atomic_exchange_explicit(&chunk->granules[offset / GRANULE], 0,
		                                                         memory_order_acq_rel);
		if (n == 0)
			break;
		give(chunk, offset / GRANULE, n);
		return;
	}
	if (instance)
		lab_report_misuse("free_percpu", instance, "not of alloc_percpu, or freed before");
}
