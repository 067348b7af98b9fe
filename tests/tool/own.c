/* own.c - a program with a malloc of its own, which comes before any preloaded one. It is never called. */
#include <stddef.h>

void *malloc(size_t size);

void *
malloc(size_t size)
{
	(void)size;
	return NULL;
}

int
main(void)
{
	return 0;
}
