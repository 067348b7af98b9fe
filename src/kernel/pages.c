/*
 * pages.c - references to pages, and blocks that are given back page by page (lab_page_get, lab_page_split,
 * include/labyrinth/kernel/support.h). Any context.
 *
 * A page that has more than its first reference, or is a piece of a block that was split, has words in a table, found
 * by hashing. A word is a key, which never changes, and a value, which is 0 where there is nothing to say. Pages
 * without are not in it: they cost nothing.
 *
 *     REFERENCES  of a page: those beyond the first
 *     PIECE       of a page of a block that was split: 1 + its number there
 *     WHOLE       of that block's first page: pieces that are still in use
 *
 * INV-PAGES-1  A key is in one word at most: it is put into the first word of its row that has none, by CAS, and words
 *              never lose their keys. So what looks for a key and comes to a word without one knows that it is nowhere.
 */
#include <labyrinth/kernel/support.h>

#include "alloc/checks.h"
#include "alloc/release.h"
#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"
#include "page/geometry.h"

enum kind { REFERENCES, PIECE, WHOLE };
enum {
	VALUE_BITS = 17, /* 45 are the page's number, where addresses have 57 bits */
	KIND_BITS = 2,
	FIRST_LOG = 9, /* words of the first table; each one is twice as large as that before it */
	TABLES = 23,
	ROW = 16, /* words in which a key may be in a table */
};
#define VALUE_MAX ((UINT64_C(1) << VALUE_BITS) - 1)

static _Atomic uint64_t first_table[1 << FIRST_LOG];
static _Atomic(_Atomic uint64_t *) tables[TABLES]; /* but the first */
static _Atomic bool is_used;

/* Mapped apart from the heap, as a heap's own descriptors are: the limit on blocks does not stop it. */
static _Atomic uint64_t *
make_table(unsigned k)
{
	size_t size = sizeof(uint64_t) << (FIRST_LOG + k);
	_Atomic uint64_t *none = NULL, *table = lab_os.map(lab_round_up(size, LAB_PAGE_SIZE), LAB_ACCESS_WRITE);

	if (!table)
		return NULL;
	/* pairs with the acq of table_at: its zeros are seen */
	if (atomic_compare_exchange_strong(&tables[k], &none, table))
		return table;
	(void)lab_os.unmap((void *)table, lab_round_up(size, LAB_PAGE_SIZE));
	return none;
}

static _Atomic uint64_t *
table_at(unsigned k)
{
	return k == 0 ? first_table : lab_load_acq(&tables[k]); /* pairs with the CAS of make_table */
}

/* The word of a key. NULL: it has none, and with `make`: there is no memory for one. */
static _Atomic uint64_t *
find(const void *page, enum kind kind, bool make)
{
	uint64_t key = (uint64_t)(uintptr_t)page >> LAB_PAGE_SHIFT << KIND_BITS | kind;
	uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);

	for (unsigned k = 0; k < TABLES; k++) {
		_Atomic uint64_t *table = table_at(k);
		if (!table && make)
			table = make_table(k);
		if (!table)
			return NULL;
		for (unsigned i = 0; i < ROW; i++) {
			_Atomic uint64_t *word = &table[((hash >> 32) + i) & ((1u << (FIRST_LOG + k)) - 1)];
			uint64_t seen = lab_load_rlx(word);
			if (seen == 0 && !make)
				return NULL;
			if (seen == 0 && lab_cas64(word, 0, key << VALUE_BITS)) /* pairs with nothing: INV-PAGES-1 */
				return word;
			if (lab_load_rlx(word) >> VALUE_BITS == key)
				return word;
		}
	}
	return NULL;
}

static uint64_t
value_of(const _Atomic uint64_t *word)
{
	return word ? lab_load_rlx(word) & VALUE_MAX : 0;
}

/* One less, but not of 0, nor of VALUE_MAX, where it stays. Returns what it was. */
static uint64_t
decrement(_Atomic uint64_t *word)
{
	uint64_t seen, value;

	do {
		/* pairs with the CAS below of an earlier put: what others have written to the page is seen */
		seen = word ? lab_load_acq(word) : 0;
		value = seen & VALUE_MAX;
		/* pairs with itself, and with the load above */
	} while (value != 0 && value != VALUE_MAX && !lab_cas64(word, seen, seen - 1));
	return value;
}

LAB_EXPORT bool
lab_page_get(void *page)
{
	_Atomic uint64_t *word = find(page, REFERENCES, true);
	uint64_t seen;

	if (!word)
		return lab_or_enomem(NULL);
	lab_store_rlx(&is_used, true);
	do
		seen = lab_load_rlx(word);
	while ((seen & VALUE_MAX) != VALUE_MAX && !lab_cas64(word, seen, seen + 1)); /* pairs with decrement */
	return true;
}

LAB_EXPORT unsigned
lab_page_count(const void *page)
{
	return 1 + (unsigned)value_of(find(page, REFERENCES, false));
}

/* What the page's PIECE says, which is 0 from here on. */
static uint64_t
take_piece(const char *page)
{
	_Atomic uint64_t *word = find(page, PIECE, false);

	/* pairs with itself: of two frees of a piece one sees that it was free */
	return value_of(word) ? atomic_exchange(word, lab_load_rlx(word) & ~VALUE_MAX) & VALUE_MAX : 0;
}

/* A split block of which no piece is left. */
static void
release_whole(char *block, const char *call)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (!lab_release_if_dressed(block, call))
		lab_release(&guard, block, call);
}

/* The page, whose last reference was given back, is a piece: it goes, and the block with the last one. False: it is
 * none. */
static bool
put_piece(char *page, const char *call)
{
	uint64_t piece = take_piece(page);

	if (piece == 0 && value_of(find(page, WHOLE, false)) != 0)
		lab_report_misuse(call, page, "double free");
	if (piece == 0)
		return false;
	char *block = page - (piece - 1) * LAB_PAGE_SIZE;
	if (decrement(find(block, WHOLE, false)) == 1)
		release_whole(block, call);
	return true;
}

LAB_EXPORT bool
lab_page_put(void *page)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (!page)
		return false;
	if (lab_load_rlx(&is_used)) {
		if (decrement(find(page, REFERENCES, false)) != 0)
			return false;
		if (put_piece(page, "put_page"))
			return true;
	}
	if (!lab_release_if_dressed(page, "put_page"))
		lab_release(&guard, page, "put_page");
	return true;
}

LAB_EXPORT bool
lab_page_put_order(void *page, unsigned order)
{
	if (!page)
		return false;
	if (lab_unlikely(lab_load_rlx(&is_used))) {
		if (decrement(find(page, REFERENCES, false)) != 0)
			return false;
		if (value_of(find(page, PIECE, false)) != 0 && order != 0)
			lab_report_misuse("free_pages", page, "wrong order");
		if (put_piece(page, "free_pages"))
			return true;
	}
	lab_free_pages(page, order);
	return true;
}

static size_t
size_of(void *block, const char *call)
{
	const struct lab_dress *dress = lab_unlikely(lab_debug_is_on()) ? lab_checked_find(block, call) : NULL;

	return dress ? dress->size : lab_block_size(block, call);
}

/* Takes one reference of each of the pieces in [start, end) of a split block away: whether no piece is left. `whole` is
 * held meanwhile by one more, so that the block is not gone, and another's, before this has come to its end. */
static bool
let_pieces_go(_Atomic uint64_t *whole, char *start, const char *end, const char *call)
{
	(void)atomic_fetch_add(whole, 1); /* pairs with decrement */
	for (char *page = start; page < end; page += LAB_PAGE_SIZE)
		if (decrement(find(page, REFERENCES, false)) == 0) {
			if (take_piece(page) != 0)
				(void)decrement(whole);
			else if (page == start)
				lab_report_misuse(call, page, "double free");
		}
	return decrement(whole) == 1;
}

static LAB_NOINLINE bool
let_go(char *block)
{
	_Atomic uint64_t *whole = find(block, WHOLE, false);

	if (value_of(whole) != 0)
		return let_pieces_go(whole, block, block + size_of(block, "kfree"), "kfree");
	return decrement(find(block, REFERENCES, false)) == 0;
}

LAB_EXPORT bool
lab_page_let_go(void *block)
{
	return lab_likely(!lab_load_rlx(&is_used)) || let_go(block);
}

LAB_EXPORT void
lab_page_put_exact(void *block, size_t size)
{
	static const char call[] = "free_pages_exact";
	bool may_be_split = block && lab_load_rlx(&is_used);
	uint64_t piece = may_be_split ? value_of(find(block, PIECE, false)) : 0;
	char *start = (char *)block - (piece ? piece - 1 : 0) * LAB_PAGE_SIZE;
	_Atomic uint64_t *whole = may_be_split ? find(start, WHOLE, false) : NULL;
	size_t bytes = lab_round_up(size, LAB_PAGE_SIZE);

	if (value_of(whole) != 0) {
		if (bytes < size || bytes > size_of(start, call) - (size_t)((char *)block - start))
			lab_report_misuse(call, block, "wrong size");
		if (let_pieces_go(whole, block, (char *)block + bytes, call))
			release_whole(start, call);
	} else if (!block || lab_page_let_go(block)) {
		lab_free_pages_exact(block, size);
	} else if (bytes < size || bytes > size_of(block, call)) {
		lab_report_misuse(call, block, "wrong size");
	}
}

/* A frame that is cut short leaves a block of which pieces are missing: it is never given back. */
LAB_EXPORT bool
lab_page_split(void *pages, unsigned order)
{
	size_t count = order <= LAB_ORDER_MAX_ALLOC ? (size_t)1 << order : 0, size;
	char *page = pages;

	const struct lab_dress *dress = lab_unlikely(lab_debug_is_on()) ? lab_checked_find(pages, "split_page") : NULL;
	size = dress ? dress->size : lab_block_size(pages, "split_page");
	if (count == 0 || size < count << LAB_PAGE_SHIFT)
		lab_report_misuse("split_page", pages, "wrong order");
	if (order == 0)
		return true;
	_Atomic uint64_t *whole = find(pages, WHOLE, true);
	bool is_there = whole != NULL;
	for (size_t i = 0; i < count && is_there; i++) /* before any is a piece */
		is_there = find(page + i * LAB_PAGE_SIZE, PIECE, true) != NULL;
	if (!is_there)
		return lab_or_enomem(NULL);
	lab_store_rlx(&is_used, true);
	(void)atomic_fetch_or(whole, count); /* its value was 0; pairs with decrement */
	for (size_t i = 0; i < count; i++)   /* pairs with put_piece */
		(void)atomic_fetch_or(find(page + i * LAB_PAGE_SIZE, PIECE, false), i + 1);
	return true;
}
