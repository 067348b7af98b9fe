/* entropy.c - prints where a process has a small block, the next of its kind, a block of pages, a huge block, and
 * libc: see entropy.py. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int
main(void)
{
	void *places[] = {malloc(100), malloc(100), malloc(200000), malloc(20 << 20)};

	for (int i = 0; i < 4; i++)
		printf("%lx ", (unsigned long)(uintptr_t)places[i]);
	printf("%lx\n", (unsigned long)(uintptr_t)&puts);
	for (int i = 0; i < 4; i++)
		free(places[i]);
	return 0;
}
