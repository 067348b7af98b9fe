/* info.c - mallinfo, mallinfo2, mallopt, malloc_trim, malloc_stats, malloc_info: return values, and figures that are
 * true. Clauses: G1.4, G10.1. */
#include "check.h"

#include <ctype.h>
#include <limits.h>
#include <malloc.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct mallinfo __libc_mallinfo(void);
int __libc_mallopt(int parameter, int value);

/* mallinfo is deprecated in favour of mallinfo2, rightly; it is tested all the same. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { BLOCKS = 20000, BLOCK_SIZE = 1000 };
static void *blocks[BLOCKS];

static void
allocate_blocks(void)
{
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(BLOCK_SIZE);
		memset(blocks[i], 1, BLOCK_SIZE);
	}
}

static void
free_blocks(void)
{
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

/* ---- mallinfo -------------------------------------------------------------------------------------------------- */

static void
test_mallinfo_of_small_blocks(void)
{
	const size_t sum = (size_t)BLOCKS * BLOCK_SIZE;
	struct mallinfo2 before = mallinfo2();
	struct mallinfo2 during;
	struct mallinfo2 after;

	allocate_blocks();
	during = mallinfo2();
	for (int i = 0; i < BLOCKS; i += 2)
		free(blocks[i]);
	after = mallinfo2();
	for (int i = 1; i < BLOCKS; i += 2)
		free(blocks[i]);

	CHECK(during.arena == during.uordblks + during.fordblks);
	CHECK(during.uordblks - before.uordblks >= sum);
	CHECK(during.uordblks - before.uordblks <= sum + sum / 5);
	CHECK(during.arena >= sum);
	CHECK(during.uordblks - after.uordblks >= sum / 2);
	CHECK(after.fordblks > during.fordblks || check_glibc);
	CHECK(after.ordblks >= during.ordblks);
	after = mallinfo2();
	CHECK(after.uordblks <= before.uordblks + sum / 20);
}

static void
test_mallinfo_of_huge_block(void)
{
	const size_t size = (size_t)40 << 20;
	struct mallinfo2 before = mallinfo2();
	void *block = malloc(size);
	struct mallinfo2 during = mallinfo2();
	struct mallinfo2 after;

	free(block);
	after = mallinfo2();
	CHECK(during.hblks == before.hblks + 1);
	CHECK(during.hblkhd - before.hblkhd >= size);
	CHECK(during.hblkhd - before.hblkhd <= size + size / 5);
	CHECK(after.hblks == before.hblks && after.hblkhd == before.hblkhd);
}

static void
test_mallinfo_in_ints(void)
{
	struct mallinfo2 wide = mallinfo2();
	struct mallinfo narrow = mallinfo();
	struct mallinfo same = __libc_mallinfo();

	CHECK((size_t)narrow.uordblks == wide.uordblks && (size_t)same.uordblks == wide.uordblks);
	CHECK((size_t)narrow.hblks == wide.hblks && (size_t)narrow.hblkhd == wide.hblkhd);
	CHECK(narrow.smblks == 0 || check_glibc);
	if (!check_glibc) { /* glibc's wrap around */
		void *block = malloc((size_t)3 << 30);

		CHECK(block != NULL);
		CHECK(mallinfo2().hblkhd >= (size_t)3 << 30);
		CHECK(mallinfo().hblkhd == INT_MAX);
		free(block);
	}
}

/* ---- mallopt --------------------------------------------------------------------------------------------------- */

static void
test_mallopt_values(void)
{
	static const int accepted[][2] = {
	        {M_ARENA_MAX, 1},
	        {M_ARENA_MAX, 8},
	        {M_ARENA_MAX, 0},
	        {M_ARENA_TEST, 2},
	        {M_TOP_PAD, 65536},
	        {M_MMAP_MAX, 1000},
	        {M_CHECK_ACTION, 3},
	        {M_MMAP_THRESHOLD, 256 << 10},
	        {M_MMAP_THRESHOLD, 8 << 20},
	        {M_TRIM_THRESHOLD, 1 << 20},
	        {M_TRIM_THRESHOLD, -1},
	        {M_TRIM_THRESHOLD, 128 << 10},
	        {M_PERTURB, 0},
	        {M_MXFAST, 0},
	        {M_MXFAST, 64},
	        {M_MXFAST, 160},
	        {-12345, 1},
	};

	errno = ERRNO_KEPT;
	for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
		CHECK(mallopt(accepted[i][0], accepted[i][1]) == 1);
		CHECK(__libc_mallopt(accepted[i][0], accepted[i][1]) == 1);
	}
	CHECK(mallopt(M_MXFAST, -1) == 0);
	CHECK(mallopt(M_MXFAST, 161) == 0);
	CHECK(errno == ERRNO_KEPT);
	allocate_blocks(); /* with all these settings the heap still works */
	free_blocks();
}

static long
faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static void
work(void)
{
	static const size_t sizes[] = {100, 3000, 40000, 300000, 6000000};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t count = ((size_t)12 << 20) / sizes[i] / 4;
		for (size_t j = 0; j < count && j < BLOCKS; j++)
			memset(blocks[j] = malloc(sizes[i]), 1, sizes[i]);
		for (size_t j = 0; j < count && j < BLOCKS; j++)
			free(blocks[j]);
	}
}

/* What real-time programs ask for: once memory was had, it is there without a fault, however much time goes by. */
static void
test_nothing_is_given_back(void)
{
	enum { PERIODS = 3 };

	CHECK(mallopt(M_TRIM_THRESHOLD, -1) == 1);
	CHECK(mallopt(M_MMAP_MAX, 0) == 1);
	work();
	work();
	long before = faults();
	for (int i = 0; i < PERIODS; i++) {
		struct timespec decay = {.tv_sec = 1,
		                         .tv_nsec = 200000000}; /* what is free for a second goes back otherwise */
		nanosleep(&decay, NULL);
		work();
	}
	CHECK(faults() - before < 200);
	CHECK(malloc_trim(0) == 1);
	CHECK(mallopt(M_MMAP_MAX, 65536) == 1);
	CHECK(mallopt(M_TRIM_THRESHOLD, 128 << 10) == 1);
}

/* New memory has the complement of the byte, freed memory the byte, calloc's is zero. (Small blocks escape glibc's.) */
static void
test_perturb(void)
{
	static const size_t sizes[] = {2000, 5000, 40000};

	CHECK(mallopt(M_PERTURB, 0x15a) == 1); /* the low byte counts */
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		unsigned char *block = malloc(sizes[i]);
		unsigned char *zeroed = calloc(1, sizes[i]);

		CHECK(block[0] == 0xa5 && memcmp(block, block + 1, sizes[i] - 1) == 0);
		CHECK(check_zero(zeroed, sizes[i]));
		free(block);
		free(zeroed);
	}
	CHECK(mallopt(M_PERTURB, 0) == 1);
}

/* ---- malloc_trim, malloc_stats --------------------------------------------------------------------------------- */

static void
test_trim(void)
{
	size_t during;

	allocate_blocks();
	during = resident();
	free_blocks();
	(void)malloc_trim(0);
	CHECK(during - resident() > (size_t)BLOCKS * BLOCK_SIZE / 10 * 8);
	CHECK(malloc_trim(0) >= 0 && malloc_trim((size_t)1 << 30) <= 1);
	allocate_blocks(); /* what was given back can be used again */
	free_blocks();
}

/* malloc_stats writes something, and on stderr. */
static void
test_stats(void)
{
	char text[200] = "";
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);

	CHECK(file != NULL && saved >= 0);
	fflush(stderr);
	dup2(fileno(file), STDERR_FILENO);
	malloc_stats();
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	CHECK(fread(text, 1, sizeof text - 1, file) > 10);
	CHECK(strchr(text, '\n') != NULL);
	fclose(file);
}

/* ---- malloc_info ----------------------------------------------------------------------------------------------- */

/* `at` is behind '<' and a name: reads attributes and '>' or '/>'. Returns what is behind, or NULL. */
static const char *
read_attributes(const char *at, bool *empty)
{
	*empty = false;
	for (;;) {
		const char *start = at;

		at += strspn(at, " \n\t");
		if (*at == '>')
			return at + 1;
		if (at[0] == '/' && at[1] == '>') {
			*empty = true;
			return at + 2;
		}
		if (at == start || !isalpha((unsigned char)*at))
			return NULL;
		at += strspn(at, "abcdefghijklmnopqrstuvwxyz-_0123456789");
		if (at[0] != '=' || at[1] != '"')
			return NULL;
		at += 2 + strcspn(at + 2, "\"<&");
		if (*at++ != '"')
			return NULL;
	}
}

/* Whether text is one XML element with properly nested others in it, and nothing but white space between. */
static bool
is_xml(const char *text)
{
	enum { DEPTH = 16 };
	const char *open[DEPTH];
	size_t length[DEPTH];
	int depth = 0;
	bool seen = false;
	bool empty;

	for (text += strspn(text, " \n\t"); *text == '<'; text += strspn(text, " \n\t")) {
		bool closes = text[1] == '/';
		const char *name = text + 1 + closes;
		size_t n = strcspn(name, " />\n\t");

		if (n == 0 || (depth == 0 && (closes || seen)))
			return false;
		seen = true;
		if (closes) {
			depth--;
			if (n != length[depth] || strncmp(name, open[depth], n) != 0 || name[n] != '>')
				return false;
			text = name + n + 1;
			continue;
		}
		text = read_attributes(name + n, &empty);
		if (!text || (!empty && depth == DEPTH))
			return false;
		if (!empty) {
			open[depth] = name;
			length[depth++] = n;
		}
	}
	return *text == '\0' && depth == 0 && seen;
}

/* The number in attribute `name` of the last element that begins with `element`; SIZE_MAX if there is none. */
static size_t
figure(const char *text, const char *element, const char *name)
{
	const char *last = NULL;

	for (const char *at = text; (at = strstr(at, element)) != NULL; at++)
		last = at;
	last = last ? strstr(last, name) : NULL;
	return last ? strtoul(last + strlen(name) + 2, NULL, 10) : SIZE_MAX;
}

static char *
read_malloc_info(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	CHECK(stream != NULL);
	CHECK(malloc_info(0, stream) == 0);
	fclose(stream);
	return text;
}

static void
test_info(void)
{
	const size_t size = (size_t)40 << 20;
	char *text;
	void *block;

	allocate_blocks();
	for (int i = 0; i < BLOCKS; i += 2)
		free(blocks[i]);
	block = malloc(size);
	text = read_malloc_info();
	CHECK(is_xml(text));
	CHECK(strncmp(text, "<malloc version=\"1\">", 20) == 0);
	CHECK(figure(text, "<total type=\"mmap\"", "count") >= 1);
	CHECK(figure(text, "<total type=\"mmap\"", "size") >= size);
	CHECK(figure(text, "<total type=\"rest\"", "size") >= (size_t)BLOCKS * BLOCK_SIZE / 2);
	CHECK(figure(text, "<system type=\"current\"", "size") >= (size_t)BLOCKS * BLOCK_SIZE);
	if (!check_glibc) {
		CHECK(figure(text, "<blocks", "count") >= BLOCKS / 2);
		CHECK(figure(text, "<blocks", "size") >= size + (size_t)BLOCKS / 2 * BLOCK_SIZE);
		CHECK(strstr(text, "<labyrinth version=\"") != NULL);
	}
	free(text);
	free(block);
	for (int i = 1; i < BLOCKS; i += 2)
		free(blocks[i]);
}

static void
test_info_options(void)
{
	static const int options[] = {1, -1, 2, INT_MAX};
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	errno = ERRNO_KEPT;
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		CHECK(malloc_info(options[i], stream) == EINVAL);
	CHECK(errno == ERRNO_KEPT);
	fclose(stream);
	CHECK(size == 0);
	free(text);
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	CHECK(is_xml("<a><b x=\"1\"/><c></c></a>\n") && !is_xml("<a><b></a></b>") &&
	      !is_xml("<a x=1/>")); /* the reader works */
	test_mallinfo_of_small_blocks();
	test_mallinfo_of_huge_block();
	test_mallinfo_in_ints();
	test_trim();
	test_stats();
	test_info();
	test_info_options();
	test_nothing_is_given_back();
	test_perturb();
	test_mallopt_values();
	return check_end();
}
