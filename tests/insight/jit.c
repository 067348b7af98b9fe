/*
 * jit.c - a program that registers unwind tables while it runs, as compilers that make code in memory do. The unwinder
 * of gcc before 13 then takes a lock, and asks for memory inside of it: a heap profile that looks at that block is not
 * to ask the unwinder in turn.
 *
 * Clauses: G12.4.
 */
#include <execinfo.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void __register_frame(void *tables);

/* The program's own tables, by .eh_frame_hdr: version and encodings, then the distance to .eh_frame. */
static int
find_tables(struct dl_phdr_info *object, size_t size, void *tables)
{
	(void)size;
	for (int i = 0; i < object->dlpi_phnum; i++)
		if (object->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME) {
			char *header = (char *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
			int distance;
			memcpy(&distance, header + 4, sizeof distance);
			*(char **)tables = header + 4 + distance;
		}
	return 1; /* the first object is the program */
}

int
main(void)
{
	void *tables = NULL, *addresses[16];
	void *(*volatile allocate)(size_t) = malloc;

	dl_iterate_phdr(find_tables, &tables);
	if (!tables)
		return 77;
	__register_frame(tables);
	for (int i = 0; i < 100; i++)
		free(allocate(100));
	int frames = backtrace(addresses, 16);
	printf("%d frames\n", frames);
	return frames > 1 ? 0 : 1;
}
