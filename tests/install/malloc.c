/* malloc.c - a program that knows libc only, linked with the drop-in: its blocks are Labyrinth's. */
#include <labyrinth/labyrinth.h>
#include <stdlib.h>
#include <string.h>

int
main(void)
{
	char *block = malloc(100);
	char *huge = calloc(3, 5 << 20);
	char *copy = strdup("libc's own calls too");

	if (!block || !huge || !copy || !lab_owns(block) || !lab_owns(huge) || !lab_owns(copy))
		return 1;
	block = realloc(block, 100000);
	if (!block || !lab_owns(block))
		return 2;
	free(block);
	free(huge);
	lab_free(copy);
	return 0;
}
