/* module.c - one of the modules of modules.c: a KiB of thread-local variables, a constructor and a destructor that
 * allocate. */
#include <stdlib.h>
#include <string.h>

void *module_exchange(void);

static __thread char *kept;
static __thread char large[1024];
static char *from_constructor;

__attribute__((constructor)) static void
begin(void)
{
	from_constructor = strdup("constructed");
}

__attribute__((destructor)) static void
end(void)
{
	char *last = strdup("destructed");

	free(from_constructor);
	free(last);
}

void *
module_exchange(void)
{
	char *old = kept ? kept : strdup("first");

	kept = strdup(from_constructor);
	memset(large, kept[0], sizeof large);
	return old;
}
