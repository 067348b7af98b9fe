/* scenes_space.c - address space that others use, that is full, or that many blocks take: see scenes_kinds.h. */
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "calls.h"
#include "scenes_kinds.h"

/* ---- mappings of others among ours ----------------------------------------------------------------------------- */

enum { STRANGERS = 600, HELD = 24, SLOT = 128 * 1024 };

static void *strangers[STRANGERS];
static int stranger_count;

static void
put_stranger(char *address)
{
	void *p = mmap(address, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		return;
	if (p == address && stranger_count < STRANGERS)
		strangers[stranger_count++] = p;
	else
		(void)munmap(p, 4096);
}

/* Pages behind the heap's own blocks: it steps over them, and takes the place when they have gone. */
void
scene_strangers(void)
{
	struct block blocks[HELD];

	(void)malloc_trim(0);
	struct block first = new_block(3 * MIB);
	char *start = (char *)((uintptr_t)first.p & ~(uintptr_t)(4 * MIB - 1));
	for (int i = 1; i < STRANGERS; i++)
		put_stranger(start + (size_t)i * (i < 200 ? SLOT : MIB));
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < HELD; i++)
			blocks[i] = step_new(i % 2 ? 3 * MIB : 700 * KIB);
		for (int i = 0; i < HELD; i++)
			step_free(&blocks[i]);
		(void)malloc_trim(0);
		while (stranger_count > 0)
			REQUIRE(munmap(strangers[--stranger_count], 4096) == 0);
	}
	step_free(&first);
}

/* ---- many huge blocks ------------------------------------------------------------------------------------------ */

void
scene_many_huge_blocks(void)
{
	enum { COUNT = 260 };
	static void *blocks[COUNT];

	for (int i = 0; i < COUNT; i++) {
		blocks[i] = malloc(5 * MIB + (size_t)i % 7 * 4096);
		REQUIRE(blocks[i] != NULL);
	}
	for (int i = 0; i < COUNT; i++) {
		REQUIRE(malloc_usable_size(blocks[i]) >= 5 * MIB);
		free(blocks[i]);
	}
	(void)malloc_trim(0);
}

/* ---- settings of pages ----------------------------------------------------------------------------------------- */

static void
with(enum lab_param param, size_t value, size_t usual)
{
	REQUIRE(library_set(param, value));
	scene_purges();
	struct block block = step_new(4 * MIB); /* as large as a segment: huge pages that are free as a whole */
	step_free(&block);
	scene_purges();
	REQUIRE(library_set(param, usual));
}

void
scene_settings_of_pages(void)
{
	with(LAB_PARAM_THP, 2, 0);
	with(LAB_PARAM_THP, 1, 0);
}
