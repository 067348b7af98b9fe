/* hangs.c - a library that ends no program, and begins none: what is preloaded with it hangs. */
#include <unistd.h>

__attribute__((constructor)) static void
hang(void)
{
	for (;;)
		pause();
}
