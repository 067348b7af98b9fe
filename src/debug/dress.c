/* dress.c - see dress.h. Any context. */
#include <string.h>

#include "base/bits.h"
#include "debug/dress.h"
#include "os/backtrace.h"
#include "os/os.h"
#include "page/map.h"

enum {
	SIDE = 16,         /* bytes of canary in front, and behind at least half of it */
	BEHIND_MOST = 128, /* bytes behind that are looked at */
	BEHIND_FEW = 16,   /* the same, of blocks without sites: what can be borne always */
	GUARDED_FROM = 32 << 10,
	GUARDED_FROM_FEW = 1 << 20, /* the same, of blocks without sites: each costs four system calls, and new pages */
	GUARDS_MOST = 16000,        /* each takes two of the system's 65,530 mappings */
	FILL_MOST = 64 << 10,
	FILL_FEW = 64,
	FREED_BYTE = 0xdb, /* of which no pointer is made */
};

/* Sizes and alignments above this are nobody's. */
#define SIZE_LIMIT ((size_t)1 << 46)

_Atomic unsigned lab_debug_mode;
static uint64_t secret;
static _Atomic int32_t guards;

void
lab_debug_start(enum lab_debug_mode mode)
{
	uint64_t random[2] = {0};
	uintptr_t bytes = lab_os_main_stack_top(); /* AT_RANDOM */

	if (bytes)
		memcpy(random, (const void *)bytes, sizeof random);
	/* not what libc makes its own secrets of */
	secret = (random[0] * UINT64_C(0x9e3779b97f4a7c15) ^ random[1]) * UINT64_C(0xf1de83e19937733d) & ~UINT64_C(3);
	lab_store_rlx(&lab_debug_mode, mode);
}

unsigned
lab_dress_shuffle(uint64_t n)
{
	uint64_t mixed = (n ^ secret) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)((mixed ^ mixed >> 32) * (secret | 1) >> 56);
}

/* ---- layout ----------------------------------------------------------------------------------------------------- */

static size_t
record_size(void)
{
	return sizeof(struct lab_dress) + (lab_debug_is_all() ? sizeof(struct lab_sites) : 0);
}

static bool
is_to_be_guarded(size_t size)
{
	size_t least = lab_debug_is_all() ? GUARDED_FROM : GUARDED_FROM_FEW;

	return size >= least;
}

/* Bytes in front of what the program gets, at least. */
static size_t
front(size_t size, size_t align)
{
	size_t least = is_to_be_guarded(size) ? LAB_PAGE_SIZE : record_size() + SIDE;

	return lab_round_up(least, align);
}

size_t
lab_dress_raw_size(size_t size, size_t align)
{
	size_t behind = is_to_be_guarded(size) ? 2 * LAB_PAGE_SIZE : SIDE / 2;

	if (size > SIZE_LIMIT || align > SIZE_LIMIT)
		return SIZE_MAX;
	return front(size, align) + size + behind;
}

/* The end of what may be written to in a raw block. */
static char *
end_of(const struct lab_dress *dress)
{
	return (char *)(uintptr_t)dress + dress->raw_size - (dress->is_guarded ? LAB_PAGE_SIZE : 0);
}

/* ---- marks and canaries ----------------------------------------------------------------------------------------- */

static uint64_t
mark_for(const struct lab_dress *raw, enum lab_dress_state state)
{
	return (secret ^ (uint64_t)(uintptr_t)raw << 2) + (uint64_t)state;
}

enum lab_dress_state
lab_dress_state(const struct lab_dress *raw)
{
	/* pairs with lab_dress_make: the record is seen */
	uint64_t state = lab_load_acq(&raw->mark) - mark_for(raw, LAB_DRESS_NONE);

	return state <= LAB_DRESS_GONE ? (enum lab_dress_state)state : LAB_DRESS_NONE;
}

static uint64_t
front_canary(const char *start)
{
	return secret * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)start;
}

/* Never 0: the byte that is written behind a block most often. */
static uint8_t
canary_byte(void)
{
	return (uint8_t)(secret >> 40 | 0x81);
}

static size_t
behind(const struct lab_dress *dress)
{
	size_t size = (size_t)(end_of(dress) - (lab_dress_start(dress) + dress->size));

	size_t most = lab_debug_is_all() ? BEHIND_MOST : BEHIND_FEW;

	return size < most ? size : most;
}

static uint64_t
all_bytes(uint8_t byte)
{
	return byte * UINT64_C(0x0101010101010101);
}

static uint64_t
word_at(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

/* The first byte of [p, p + size) that is another; NULL: none. */
static const void *
find_other(const char *p, size_t size, uint8_t byte)
{
	const uint64_t all = all_bytes(byte);

	if (size >= sizeof all) { /* the last word may overlap the one before */
		uint64_t others = word_at(p + size - sizeof all) ^ all;
		for (size_t i = 0; i + sizeof all < size; i += sizeof all)
			others |= word_at(p + i) ^ all;
		if (lab_likely(others == 0))
			return NULL;
	}
	for (size_t i = 0; i < size; i++)
		if ((uint8_t)p[i] != byte)
			return p + i;
	return NULL;
}

static void
fill(char *p, size_t size, uint8_t byte)
{
	const uint64_t all = all_bytes(byte);

	if (size >= sizeof all && size <= 2 * sizeof all) {
		memcpy(p, &all, sizeof all);
		memcpy(p + size - sizeof all, &all, sizeof all);
	} else {
		memset(p, byte, size);
	}
}

static void
put_canaries(struct lab_dress *dress)
{
	char *start = lab_dress_start(dress);
	const uint64_t canary[2] = {~front_canary(start), front_canary(start)};

	memcpy(start - sizeof canary, canary, sizeof canary);
	fill(start + dress->size, behind(dress), canary_byte());
}

static bool
has_front_canary(const char *start)
{
	const uint64_t canary[2] = {~front_canary(start), front_canary(start)};

	return memcmp(start - sizeof canary, canary, sizeof canary) == 0;
}

bool
lab_dress_was_start(const void *p)
{
	size_t size;
	const char *raw = (uintptr_t)p % SIDE == 0 ? lab_map_block_around(p, &size) : NULL;

	return raw && (const char *)p - raw >= SIDE && has_front_canary(p);
}

const char *
lab_dress_damage(const struct lab_dress *dress, const void **at)
{
	const char *start = lab_dress_start(dress), *end = start + dress->size;

	*at = find_other(end, behind(dress), canary_byte());
	if (*at)
		return "written behind the end of the block";
	*at = start - 1;
	return has_front_canary(start) ? NULL : "written before the start of the block";
}

/* ---- making ----------------------------------------------------------------------------------------------------- */

static bool
guard(char *page, size_t size)
{
	if (lab_add_rlx(&guards, 1) < GUARDS_MOST && lab_os.protect(page, size, LAB_ACCESS_NONE))
		return true;
	lab_add_rlx(&guards, -1);
	return false;
}

static void
note_maker(struct lab_dress *dress, const struct lab_stack *stack)
{
	dress->made_frames = dress->freed_frames = 0;
	dress->freed_by = 0;
	if (!lab_debug_is_all()) {
		dress->made_by = 0;
		return;
	}
	dress->made_by = lab_os_tid();
	dress->made_frames = (uint8_t)(stack->depth < LAB_DRESS_FRAMES ? stack->depth : LAB_DRESS_FRAMES);
	memcpy(dress->sites->made, stack->addresses, dress->made_frames * sizeof *stack->addresses);
}

void *
lab_dress_make(void *raw, size_t raw_size, size_t size, size_t align, enum lab_maker maker,
               const struct lab_stack *stack)
{
	struct lab_dress *dress = raw;
	char *last = (char *)raw + raw_size - LAB_PAGE_SIZE, *start = (char *)raw + front(size, align);

	dress->size = size;
	dress->raw_size = raw_size;
	dress->maker = (uint8_t)maker;
	dress->is_guarded = is_to_be_guarded(size) && guard(last, LAB_PAGE_SIZE);
	if (dress->is_guarded) /* so that it ends where the guard begins, as far as its alignment allows */
		start = (char *)((uintptr_t)(last - size) & ~(uintptr_t)(align - 1));
	dress->offset = (uint32_t)(start - (char *)raw);
	note_maker(dress, stack);
	put_canaries(dress);
	lab_store_rel(&dress->mark, mark_for(dress, LAB_DRESS_LIVE)); /* pairs with lab_dress_state */
	return start;
}

void
lab_dress_shorten(struct lab_dress *dress, size_t size)
{
	dress->size = size;
	put_canaries(dress);
}

struct lab_dress *
lab_dress_find(const void *p, enum lab_dress_state *state)
{
	size_t size;
	struct lab_dress *dress = (struct lab_dress *)lab_map_block_around(p, &size);

	*state = dress && size >= sizeof *dress ? lab_dress_state(dress) : LAB_DRESS_NONE;
	return *state != LAB_DRESS_NONE ? dress : NULL;
}

/* ---- freeing ---------------------------------------------------------------------------------------------------- */

/* How much of a freed block is filled, and looked at. */
static size_t
filled(const struct lab_dress *dress)
{
	size_t most = lab_debug_is_all() ? FILL_MOST : FILL_FEW;

	return dress->size < most ? dress->size : most;
}

static void
note_free(struct lab_dress *dress, const void *frame)
{
	if (!lab_debug_is_all())
		return;
	dress->freed_by = lab_os_tid();
	dress->freed_frames = (uint8_t)lab_os_backtrace(frame, dress->sites->freed, LAB_DRESS_FRAMES, NULL);
}

bool
lab_dress_free(struct lab_dress *dress, const void *frame)
{
	char *second = (char *)dress + LAB_PAGE_SIZE;
	size_t rest = dress->raw_size - LAB_PAGE_SIZE;

	/* pairs with another free of the block, which fails */
	if (!lab_cas64(&dress->mark, mark_for(dress, LAB_DRESS_LIVE), mark_for(dress, LAB_DRESS_FREED)))
		return false;
	note_free(dress, frame);
	if (dress->is_guarded) { /* its pages are given back: they are only addresses while it waits */
		(void)lab_os.purge(second, rest - LAB_PAGE_SIZE);
		(void)lab_os.protect(second, rest, LAB_ACCESS_NONE);
	} else {
		memset(lab_dress_start(dress), FREED_BYTE, filled(dress));
	}
	return true;
}

const void *
lab_dress_written(const struct lab_dress *dress)
{
	return dress->is_guarded ? NULL : find_other(lab_dress_start(dress), filled(dress), FREED_BYTE);
}

bool
lab_dress_undress(struct lab_dress *dress)
{
	if (dress->is_guarded) {
		if (!lab_os.protect((char *)dress + LAB_PAGE_SIZE, dress->raw_size - LAB_PAGE_SIZE, LAB_ACCESS_WRITE))
			return false;
		lab_add_rlx(&guards, -1);
	}
	lab_store_rel(&dress->mark, mark_for(dress, LAB_DRESS_GONE)); /* pairs with lab_dress_state */
	return true;
}

/* ---- reports ---------------------------------------------------------------------------------------------------- */

void
lab_dress_describe(const void *raw, size_t raw_size, struct lab_block_facts *facts)
{
	const struct lab_dress *dress = raw;

	if (raw_size < sizeof *dress || lab_dress_state(dress) == LAB_DRESS_NONE)
		return;
	facts->start = lab_dress_start(dress);
	facts->size = dress->size;
	facts->made_by = dress->made_by;
	facts->made_at = dress->sites->made;
	facts->made_frames = dress->made_frames;
	facts->freed_by = dress->freed_by;
	facts->freed_at = dress->sites->freed;
	facts->freed_frames = dress->freed_frames;
}
