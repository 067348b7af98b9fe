/*
 * conf.c - a program that may bring settings along (-DCONF="…"), and as a library (-DLIBRARY) a constructor that
 * allocates before others' have run. Either says whether new blocks are filled, as `perturb` wants.
 *
 * Clauses: G8.3.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef CONF
extern const char lab_conf[];
const char lab_conf[] = CONF;
#endif

enum { LARGE = 3 << 20 };

static void
say(const char *who)
{
	char line[64];
	unsigned char *block = malloc(LARGE);

	if (!block)
		abort();
	snprintf(line, sizeof line, "%s: %02x\n", who, block[LARGE / 2]);
	free(block);
	if (write(STDOUT_FILENO, line, strlen(line)) < 0)
		abort();
}

#ifdef LIBRARY
__attribute__((constructor)) static void
early(void)
{
	say("early");
}
#else
int
main(void)
{
	say("main");
	return 0;
}
#endif
