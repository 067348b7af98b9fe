/*
 * strange.c - processes that show the note of Labyrinth, and behind it something else: another version's block
 * ("version"), or garbage of this version's layout ("garbage SEED"). What looks at them ends by itself, whatever they
 * hold.
 *
 * Clauses: G12.3.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc/inspect.h"
#include "objects/cache.h"

struct lab_inspect strange_block;

__asm__(".pushsection .note.labyrinth, \"a\", %note\n"
        ".balign 4\n"
        ".long 10, 8, 1\n"
        ".asciz \"Labyrinth\"\n"
        ".balign 4\n"
        ".quad strange_block - .\n"
        ".popsection\n");

enum { ROOM = 1 << 22 };

static uint64_t state;

static uint64_t
random_word(void)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return state >> 11 ^ state << 20;
}

/* Words of all kinds: small numbers, wild ones, addresses of the room itself. */
static uint64_t
any_word(char *room)
{
	switch (random_word() % 4) {
	case 0:
		return random_word() % 5000;
	case 1:
		return random_word();
	case 2:
		return (uint64_t)(uintptr_t)room + random_word() % ROOM / 64 * 64;
	}
	return 0;
}

/* A space that passes for one, whose slots lead to segments that pass for such now and then. */
static void
make_space(char *room)
{
	struct lab_space *space = (struct lab_space *)(void *)room;
	const size_t slots = (size_t)1 << (4 + random_word() % 12);

	space->base = UINT64_C(0x700000000000);
	space->slot_count = random_word() % 8 ? slots : random_word();
	space->slots = (struct lab_slot *)(void *)(room + ROOM / 4);
	space->units = (struct lab_unit *)(void *)(room + ROOM / 2);
	space->table_size = random_word() % 8 ? ROOM : random_word();
	space->high_water = random_word() % 8 ? slots : random_word();
	for (size_t i = 0; i < slots && i < 4096; i++) {
		struct lab_segment *segment = (struct lab_segment *)(void *)(room + ROOM / 4 * 3 + i % 8 * 32768);
		unsigned slots_log = (unsigned)(random_word() % 8);
		space->bits[i / 64].used |= UINT64_C(1) << (i % 64);
		space->slots[i].owner =
		        random_word() % 4 ? lab_owner_make(i, 0, slots_log, LAB_SLOT_OWNED) : any_word(room);
		space->slots[i].segment = random_word() % 8 ? segment : (struct lab_segment *)(uintptr_t)any_word(room);
		segment->base = (char *)space->base + i * LAB_SLOT_SIZE;
		segment->capacity = 1024;
		segment->pages = 32u << slots_log;
	}
}

/* Caches that lead to each other, with slabs that lead to themselves; a name without an end. */
static void *
make_caches(char *room)
{
	static _Atomic(const struct lab_objects *) published;
	static struct lab_cache *_Atomic first;
	static struct lab_objects objects = {.caches = &first, .layout = LAB_CACHE_LAYOUT};
	struct lab_cache *caches = (struct lab_cache *)(void *)room;
	struct lab_slab *slabs = (struct lab_slab *)(void *)(room + 8192);

	for (unsigned i = 0; i < 3; i++) {
		caches[i].state = random_word() % 4 ? LAB_CACHE_LIVE : (uint32_t)random_word();
		caches[i].next = &caches[random_word() % 3];
		caches[i].slabs.list = &slabs[i];
		slabs[i].next = &slabs[random_word() % 3];
	}
	first = random_word() % 8 ? caches : (struct lab_cache *)(uintptr_t)random_word();
	published = &objects;
	return &published;
}

static void
make_garbage(char *room)
{
	uint64_t *words = (uint64_t *)(void *)room;
	static _Atomic(struct lab_space *) space;
	static _Atomic uint32_t heaps;

	for (size_t i = 0; i < ROOM / sizeof *words; i++)
		words[i] = any_word(room);
	make_space(room);
	space = (struct lab_space *)(void *)room;
	heaps = (uint32_t)(random_word() % 8 ? random_word() % 100 : random_word());
	strange_block = (struct lab_inspect){
	        .magic = LAB_INSPECT_MAGIC,
	        .layout = LAB_INSPECT_LAYOUT,
	        .space = &space,
	        .owners = (_Atomic uint64_t *)(void *)(room + ROOM / 8),
	        .heaps = &heaps,
	        .huge_parts = (void *)(room + ROOM / 3 / 64 * 64),
	        .reserve = (void *)(room + ROOM / 5 / 4096 * 4096),
	        .shares = (void *)(room + ROOM / 6 / 4096 * 4096),
	        .counts = (void *)(room + ROOM / 7 / 64 * 64),
	        .settings = (void *)(room + 4096),
	        .texts = (void *)(room + 16384),
	        .limit = (void *)(room + 8192),
	        .waits = (void *)(room + 8200),
	        .start = (void *)(room + 8216),
	        .objects = make_caches(room + ROOM / 9 / 4096 * 4096),
	};
	memset(strange_block.release, 'x', sizeof strange_block.release);
}

int
main(int argc, char **argv)
{
	char byte, *room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED || argc < 2)
		return 99;
	strange_block = (struct lab_inspect){.magic = LAB_INSPECT_MAGIC, .layout = 1, .release = "9.8.7"};
	if (strcmp(argv[1], "garbage") == 0 && argc > 2) {
		state = (uint64_t)atoi(argv[2]);
		make_garbage(room);
	}
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
