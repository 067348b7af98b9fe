/*
 * handler.c - see handler.h. A step may be interrupted by others in its calls of malloc: what it works on is taken out
 * of its place first.
 */
#include "handler.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

struct block held[HELD];
struct block mail_to_handler[MAIL], mail_to_main[MAIL];
bool handler_is_calm;
void (*handler_also)(uint32_t n);

static uint32_t turn;

size_t
size_for_turn(uint32_t n)
{
	static const uint16_t sizes[] = {16, 40, 64, 100, 24, 200, 512, 1000, 80, 1024, 1500, 8, 3000, 320, 48, 0};

	if (handler_is_calm)
		return sizes[n % 8];
	if (n % 4096 == 1)
		return 5 * MIB;
	if (n % 512 == 2)
		return 300 * KIB;
	if (n % 128 == 3)
		return 40 * KIB + n % 7 * 4096;
	if (n % 64 == 5)
		return 9000 + n % 20 * 1000;
	return sizes[n % 16] + n % 3;
}

/* No free changes errno, and none that succeeds does. */
static void
check_errno_is(int expected)
{
	if (errno != expected)
		fail("errno was changed: is, was", (uintptr_t)errno, (uintptr_t)expected);
}

static void
free_quietly(struct block *block)
{
	errno = EXDEV;
	free_block(block);
	check_errno_is(EXDEV);
}

static struct block
take_out(struct block *place)
{
	struct block block = *place;

	place->p = NULL;
	return block;
}

/* What a handler in between has put there goes. */
static void
put_in(struct block *place, struct block block)
{
	struct block other = take_out(place);

	*place = block;
	free_quietly(&other);
}

static struct block
new_for_turn(uint32_t n, size_t size)
{
	void *p = NULL;

	errno = EXDEV;
	if (n % 5 == 0) {
		p = calloc(1, size);
		check_zero(p, size);
	} else if (n % 11 == 0) {
		p = aligned_alloc(64, size);
		REQUIRE((uintptr_t)p % 64 == 0);
	} else if (n % 23 == 1) {
		REQUIRE(posix_memalign(&p, 128, size) == 0 && (uintptr_t)p % 128 == 0);
	} else if (n % 23 == 2) {
		p = reallocarray(NULL, 2, size / 2 + 1);
	} else {
		p = malloc(size);
	}
	REQUIRE(p && malloc_usable_size(p) >= size);
	check_errno_is(EXDEV);
	return block_of(p, size);
}

/* A block that stays for HELD turns is checked, and freed, resized or replaced. */
static void
turn_over_held(uint32_t n)
{
	struct block *place = &held[n % HELD], block = take_out(place);
	size_t size = size_for_turn(n);

	if (block.p && n % 3 == 0) {
		reallocated(&block, realloc(block.p, size + 1), size + 1);
	} else {
		free_quietly(&block);
		block = new_for_turn(n, size);
	}
	put_in(place, block);
}

/* One block comes from the main program, one goes there. */
static void
exchange_in_handler(uint32_t n)
{
	struct block from = take_out(&mail_to_handler[n % MAIL]), *to = &mail_to_main[n % MAIL];

	if (from.p && n % 2 == 0)
		reallocated(&from, realloc(from.p, from.size + 50), from.size + 50);
	free_quietly(&from);
	if (!to->p)
		put_in(to, new_block(size_for_turn(n + 7)));
}

void
handler_program(void)
{
	uint32_t n = turn++;
	struct block fleeting = new_block(24 + n % 40);

	turn_over_held(n);
	if (n % 4 == 0)
		exchange_in_handler(n / 4);
	free_quietly(&fleeting);
	if (handler_also)
		handler_also(n);
}

void
handler_program_elsewhere(void)
{
	static _Atomic uint32_t turns;
	uint32_t n = turns++;
	struct block a = new_block(size_for_turn(n)), b = new_for_turn(n, 70 + n % 900);

	reallocated(&b, realloc(b.p, 2000), 2000);
	free_quietly(&a);
	free_quietly(&b);
}

void
check_held(void)
{
	for (int i = 0; i < HELD; i++)
		if (held[i].p)
			check_block(&held[i]);
}
