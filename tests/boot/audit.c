/*
 * audit.c - an LD_AUDIT module that allocates in each of its hooks. It and its libc live in a namespace of their own:
 * what it calls is that libc's malloc, while the program's is the drop-in's. Says at the end how many of its blocks
 * were well.
 *
 * Clauses: G8.3.
 */
#include <link.h>
#include <stdio.h>

#include "boot.h"

enum { BLOCKS = 256 };

static char *blocks[BLOCKS];
static unsigned count;

static void
allocate(void)
{
	char **slot = &blocks[count++ % BLOCKS];

	if (*slot)
		boot_free(*slot);
	*slot = boot_allocate();
}

unsigned int la_version(unsigned int version);
unsigned int la_objopen(struct link_map *map, Lmid_t name_space, uintptr_t *cookie);
char *la_objsearch(const char *name, uintptr_t *cookie, unsigned int flag);
void la_preinit(uintptr_t *cookie);
uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned int index, uintptr_t *from, uintptr_t *to, unsigned int *flags,
                       const char *name);

unsigned int
la_version(unsigned int version)
{
	allocate();
	return version;
}

unsigned int
la_objopen(struct link_map *map, Lmid_t name_space, uintptr_t *cookie)
{
	(void)map, (void)name_space, (void)cookie;
	allocate();
	return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

char *
la_objsearch(const char *name, uintptr_t *cookie, unsigned int flag)
{
	(void)cookie, (void)flag;
	allocate();
	return (char *)(uintptr_t)name;
}

void
la_preinit(uintptr_t *cookie)
{
	(void)cookie;
	allocate();
}

uintptr_t
la_symbind64(Elf64_Sym *symbol, unsigned int index, uintptr_t *from, uintptr_t *to, unsigned int *flags,
             const char *name)
{
	(void)index, (void)from, (void)to, (void)flags, (void)name;
	allocate();
	return symbol->st_value;
}

__attribute__((destructor)) static void
end(void)
{
	CHECK(!lab_owns);
	for (unsigned i = 0; i < BLOCKS; i++)
		if (blocks[i])
			boot_free(blocks[i]);
	if (count >= 10)
		boot_say("audit module: all well\n");
}
