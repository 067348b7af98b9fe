/* libc_calls.c - calls of libc that allocate: streams, lists of folders, addresses, patterns, sorting, and the figures
 * of the library itself. */
#include <dirent.h>
#include <glob.h>
#include <locale.h>
#include <malloc.h>
#include <netdb.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "soak.h"

enum { ROUNDS = 12, LINES = 300, NUMBERS = 30000 };

static void
write_and_read_lines(uint32_t *random)
{
	FILE *file = tmpfile();
	char *line = NULL;
	size_t room = 0, sum = 0, found = 0;

	REQUIRE(file != NULL);
	for (int i = 0; i < LINES; i++) {
		int width = (int)(next_random(random) % 2000);
		fprintf(file, "%*d %zu\n", width, i, options.mib);
		sum += (size_t)i;
	}
	rewind(file);
	while (getline(&line, &room, file) > 0)
		found += strtoul(line, NULL, 10);
	REQUIRE(found == sum);
	free(line);
	fclose(file);
}

static void
print_line(void *stream, const char *line)
{
	fprintf(stream, "%s\n", line);
}

static void
print_figures(void)
{
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);

	REQUIRE(stream != NULL);
	lab_stats_print(print_line, stream);
	REQUIRE(malloc_info(0, stream) == 0);
	fclose(stream);
	REQUIRE(length > 100 && strlen(text) == length);
	free(text);
}

static void
make_strings(uint32_t *random)
{
	char *text = NULL, *copy;

	REQUIRE(asprintf(&text, "%*s|%u", (int)(next_random(random) % 9000), "", cycle) > 0);
	copy = strdup(text);
	REQUIRE(copy && strcmp(copy, text) == 0);
	free(text);
	free(copy);
}

static void
list_folders(void)
{
	DIR *folder = opendir("/proc/self");
	glob_t found;
	int entries = 0;

	while (folder && readdir(folder))
		entries++;
	REQUIRE(entries > 5);
	closedir(folder);
	REQUIRE(glob("/proc/sys/*/*", 0, NULL, &found) == 0 && found.gl_pathc > 10);
	globfree(&found);
}

static void
find_addresses(void)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;

	REQUIRE(getaddrinfo("127.0.0.1", "80", &hints, &found) == 0);
	freeaddrinfo(found);
	REQUIRE(getaddrinfo("::1", "80", &hints, &found) == 0);
	freeaddrinfo(found);
}

static void
match_patterns(void)
{
	regex_t expression;
	regmatch_t match;

	REQUIRE(regcomp(&expression, "(a|b)*c[[:digit:]]{2,9}", REG_EXTENDED) == 0);
	REQUIRE(regexec(&expression, "xxababc1234", 1, &match, 0) == 0 && match.rm_so == 2);
	regfree(&expression);
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* qsort takes its room from malloc. */
static void
sort(uint32_t *random)
{
	uint32_t *numbers = calloc(NUMBERS, sizeof *numbers);

	REQUIRE(numbers != NULL);
	for (int i = 0; i < NUMBERS; i++)
		numbers[i] = next_random(random);
	qsort(numbers, NUMBERS, sizeof *numbers, compare);
	for (int i = 1; i < NUMBERS; i++)
		REQUIRE(numbers[i - 1] <= numbers[i]);
	free(numbers);
}

static void
use_locales(void)
{
	locale_t locale = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);

	if (locale)
		freelocale(locale);
}

void
play_libc(struct player *player, enum phase phase)
{
	if (phase != GROW && phase != CHURN)
		return;
	for (int i = 0; i < ROUNDS; i++) {
		write_and_read_lines(&player->random);
		print_figures();
		make_strings(&player->random);
		list_folders();
		find_addresses();
		match_patterns();
		sort(&player->random);
		use_locales();
	}
}
