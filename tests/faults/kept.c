/* kept.c - see kept.h. */
#include "kept.h"

#include <errno.h>
#include <string.h>

enum { UNTOUCHED = 7777 };

static uint64_t seeds = 1;

void
kept_begin(void)
{
	errno = UNTOUCHED;
}

void
kept_judge_done(bool done)
{
	if (!done)
		REQUIRE(fault_excuses());
}

void
kept_judge(const void *result)
{
	REQUIRE_EQUAL(errno, result ? UNTOUCHED : ENOMEM);
	kept_judge_done(result);
}

/* How far apart the words are that are written and looked at: every byte of small blocks, some of large ones. */
static size_t
stride(size_t size)
{
	if (size <= 2048)
		return sizeof(uint64_t);
	if (size <= ((size_t)64 << 10))
		return 512;
	return size <= ((size_t)256 << 10) ? 4096 : (size_t)64 << 10;
}

static uint64_t
word_at(const struct kept *kept, size_t at)
{
	return (kept->seed << 32 | 1) * 0x9e3779b97f4a7c15u + at;
}

/* The first `size` bytes, which were filled as kept->size ones were. The last word of a large block is part of it. */
static void
each_word(const struct kept *kept, size_t size, bool fill)
{
	size_t step = stride(kept->size);

	for (size_t at = 0; at < size; at += step) {
		uint64_t word = word_at(kept, at);
		size_t length = size - at < sizeof word ? size - at : sizeof word;
		if (fill)
			memcpy(kept->p + at, &word, length);
		else
			REQUIRE(memcmp(kept->p + at, &word, length) == 0);
	}
}

static void
fill(struct kept *kept)
{
	each_word(kept, kept->size, true);
	if (kept->size)
		kept->p[kept->size - 1] = (char)kept->seed;
}

static void
look(const struct kept *kept, size_t size)
{
	if (size < kept->size || size == 0) {
		each_word(kept, size / stride(kept->size) * stride(kept->size), false);
		return;
	}
	REQUIRE(kept->p[kept->size - 1] == (char)kept->seed);
	each_word(kept, (kept->size - 1) / sizeof(uint64_t) * sizeof(uint64_t), false);
}

static void
keep(struct kept *kept, void *p, size_t size, size_t align)
{
	*kept = (struct kept){p, size, seeds++};
	if (!p)
		return;
	REQUIRE((uintptr_t)p % align == 0);
	REQUIRE(lab_owns(p) && lab_usable_size(p) >= size);
	fill(kept);
}

void
kept_malloc(struct kept *kept, size_t size)
{
	REQUIRE(!kept->p);
	kept_begin();
	void *p = lab_malloc(size);
	kept_judge(p);
	keep(kept, p, size, 16);
}

/* Of large blocks a process that repeats looks at what lies where each_word writes, any other at every byte. */
static bool
is_zero(const char *bytes, size_t size)
{
	size_t step = fault_run->plan.repetitions > 1 ? stride(size) : 1;

	if (step <= sizeof(uint64_t))
		return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
	for (size_t at = 0; at < size; at += step)
		if (bytes[at] != 0)
			return false;
	return bytes[size - 1] == 0;
}

void
kept_calloc(struct kept *kept, size_t size)
{
	REQUIRE(!kept->p);
	kept_begin();
	void *p = lab_calloc(1, size);
	kept_judge(p);
	if (p)
		REQUIRE(is_zero(p, size));
	keep(kept, p, size, 16);
}

void
kept_aligned(struct kept *kept, size_t align, size_t size)
{
	REQUIRE(!kept->p);
	kept_begin();
	void *p = lab_aligned_alloc(align, size);
	kept_judge(p);
	keep(kept, p, size, align);
}

void
kept_memalign(struct kept *kept, size_t align, size_t size)
{
	void *p = kept;

	REQUIRE(!kept->p);
	kept_begin();
	int result = lab_posix_memalign(&p, align, size);
	REQUIRE_EQUAL(errno, UNTOUCHED);
	REQUIRE(result == 0 || (result == ENOMEM && p == kept));
	kept_judge_done(result == 0);
	keep(kept, result == 0 ? p : NULL, size, align);
}

void
kept_gfp(struct kept *kept, size_t size, unsigned gfp)
{
	REQUIRE(!kept->p);
	kept_begin();
	char *p = lab_alloc(size, gfp);
	kept_judge(p);
	if (p && gfp & LAB_GFP_ZERO)
		REQUIRE(is_zero(p, lab_usable_size(p)));
	keep(kept, p, size, gfp & LAB_GFP_EXCLUSIVE ? LAB_OS_PAGE_SIZE : 16);
}

void
kept_pages(struct kept *kept, unsigned order)
{
	REQUIRE(!kept->p);
	kept_begin();
	void *p = lab_alloc_pages(LAB_GFP_KERNEL, order);
	kept_judge(p);
	keep(kept, p, LAB_OS_PAGE_SIZE << order, LAB_OS_PAGE_SIZE << order);
}

void
kept_realloc(struct kept *kept, size_t size, unsigned gfp)
{
	if (!kept->p) {
		kept_gfp(kept, size, gfp);
		return;
	}
	size_t usable = lab_usable_size(kept->p), clear = size < usable ? size : usable; /* from there on */
	kept_begin();
	char *p = lab_realloc(kept->p, size, gfp);
	kept_judge(p);
	if (!p) {
		kept_check(kept);
		return;
	}
	kept->p = p;
	look(kept, size < kept->size ? size : kept->size);
	if (gfp & LAB_GFP_ZERO)
		REQUIRE(is_zero(p + clear, lab_usable_size(p) - clear));
	keep(kept, p, size, 16);
}

void
kept_check(const struct kept *kept)
{
	if (!kept->p)
		return;
	REQUIRE(lab_owns(kept->p) && lab_usable_size(kept->p) >= kept->size);
	look(kept, kept->size);
}

void
kept_free(struct kept *kept)
{
	kept_check(kept);
	kept_begin();
	lab_free(kept->p);
	REQUIRE_EQUAL(errno, UNTOUCHED);
	kept->p = NULL;
}
