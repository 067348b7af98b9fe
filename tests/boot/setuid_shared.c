/*
 * setuid_shared.c - linked with the shared drop-in. Says which settings of the environment it has: boot.py starts it as
 * an ordinary program, which has them all, and as a set-user-ID one, which has none. It may bring settings along
 * (-DCONF="…"); with the argument "misuse" it ends by one.
 *
 * Clauses: G8.3.
 */
#include <labyrinth/labyrinth.h>
#include <stdio.h>
#include <sys/auxv.h>

#include "boot.h"

#ifdef CONF
extern const char lab_conf[];
const char lab_conf[] = CONF;
#endif

enum { LARGE = 3 << 20 };

/* Whether new blocks are filled with the complement of what LABYRINTH_PERTURB says. */
static bool
is_perturbed(void)
{
	unsigned char *block = malloc(LARGE);

	CHECK(block != NULL);
	bool is = block[0] != 0 && block[LARGE - 1] == block[0];
	free(block);
	return is;
}

static bool
has_background_thread(void)
{
	char line[256];
	unsigned threads = 0;
	FILE *status = fopen("/proc/self/status", "r");

	CHECK(status != NULL);
	while (fgets(line, sizeof line, status))
		if (sscanf(line, "Threads: %u", &threads) == 1)
			break;
	fclose(status);
	return threads > 1;
}

int
main(int count, char **arguments)
{
	struct lab_stats stats;
	struct lab_reserve_info reserve;

	bool perturbed = is_perturbed(); /* first: the memory must be fresh */
	boot_free(boot_allocate());
	lab_stats_get(&stats);
	lab_reserve_info(&reserve);
	printf("%s:%s%s%s%s\n", getauxval(AT_SECURE) ? "secure" : "plain", perturbed ? " perturb" : "",
	       stats.limit == SIZE_MAX ? "" : " limit", reserve.mode == LAB_RESERVE_NONE ? " reserve" : "",
	       has_background_thread() ? " background" : "");
	if (count > 1 && strcmp(arguments[1], "misuse") == 0)
		free((char *)malloc(100) + 8);
	return 0;
}
