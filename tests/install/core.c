/*
 * core.c - a program linked with core. With the argument "one-heap", as under LD_PRELOAD of the drop-in, malloc's
 * blocks are Labyrinth's; with "two-heaps" they are libc's.
 */
#include <labyrinth/labyrinth.h>
#include <stdlib.h>
#include <string.h>

int
main(int count, char **arguments)
{
	char *ours = lab_malloc(100), *theirs = malloc(100);
	bool one_heap = count == 2 && strcmp(arguments[1], "one-heap") == 0;

	if (!ours || !theirs || !lab_owns(ours) || lab_owns(theirs) != one_heap)
		return 1;
	if (strcmp(lab_version(), VERSION) != 0)
		return 2;
	/* No receive ring: this is not written in the kernel's style. */
	struct lab_reserve_class ring = {0};
	for (size_t i = 0; lab_reserve_class_get(i, &ring) && ring.size != 2048; i++)
		;
	if (!one_heap && ring.slots >= 64)
		return 3;
	if (one_heap) {
		lab_free(theirs);
		free(ours);
	} else {
		free(theirs);
		lab_free(ours);
	}
	return 0;
}
