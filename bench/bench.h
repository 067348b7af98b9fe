/*
 * bench.h - what the benchmark programs share: options, a fast PRNG, wall time, stamped blocks and the closing line.
 *
 * The programs use the C library and threads only, so that any malloc can be put under them with LD_PRELOAD. A block is
 * stamped with a key in its first and last word when it is made and checked before it is freed: an allocator that hands
 * out memory twice, or writes into live blocks, makes the program exit with status 1 and one line. The keys of all
 * freed blocks add up to a checksum that depends on the options only, never on addresses or on the order in which
 * threads ran: the runner compares it between allocators.
 *
 * Include it before any system header: it asks for the GNU names.
 */
#ifndef LABYRINTH_BENCH_H
#define LABYRINTH_BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BENCH_KIB       ((uint64_t)1 << 10)
#define BENCH_MIB       ((uint64_t)1 << 20)
#define BENCH_PAGE      ((size_t)4096)
#define BENCH_MIN_BLOCK 16                  /* room for a first and a last word that do not overlap */
#define BENCH_MAX_BLOCK ((uint64_t)1 << 31) /* sizes and counts stay below 2^32: see bench_scale */
#define BENCH_MAX_OPS   ((uint64_t)1 << 40) /* and totals far from overflow */
#define BENCH_COUNT(a)  (sizeof(a) / sizeof((a)[0]))

/* ---- failure --------------------------------------------------------------------------------------------------- */

/* Ends the process with status 1 and one line. Does not allocate: the heap may be what is broken. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void
bench_fail(const char *format, ...)
{
	char line[256];
	va_list args;
	va_start(args, format);
	int used = snprintf(line, sizeof(line) - 1, "%s: ", program_invocation_short_name);
	vsnprintf(line + used, sizeof(line) - 1 - (size_t)used, format, args);
	va_end(args);
	size_t length = strlen(line);
	line[length] = '\n';
	ssize_t ignored = write(STDERR_FILENO, line, length + 1);
	(void)ignored;
	_exit(1);
}

/* ---- options --------------------------------------------------------------------------------------------------- */

/* An option `--name NUMBER`. *value holds the default; --quick puts `quick` there. Other numbers must lie in min …
 * max. */
struct bench_option {
	const char *name;
	uint64_t *value;
	uint64_t quick;
	uint64_t min;
	uint64_t max;
	const char *help;
};

static inline void
bench_usage(FILE *out, const char *purpose, const struct bench_option *options, size_t count)
{
	fprintf(out, "%s: %s\n\nOptions (numbers may end in k, m or g, for 2^10, 2^20 and 2^30):\n",
	        program_invocation_short_name, purpose);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "  --%-12s %s (default %" PRIu64 ")\n", options[i].name, options[i].help,
		        *options[i].value);
	fprintf(out, "  --%-12s %s\n", "quick", "a run of some hundredths of a second, as a smoke test");
}

static inline bool
bench_parse_number(const char *text, uint64_t *value)
{
	char *end;
	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *text == '-')
		return false;
	const char *suffixes = "kmg";
	const char *suffix = *end ? strchr(suffixes, *end) : NULL;
	unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
	if (number > UINT64_MAX >> shift || end[suffix != NULL] != '\0')
		return false;
	*value = number << shift;
	return true;
}

/* The option that an argument names, or NULL. */
static inline const struct bench_option *
bench_find_option(const char *argument, const struct bench_option *options, size_t count)
{
	for (size_t i = 0; i < count && strncmp(argument, "--", 2) == 0; i++) {
		if (strcmp(argument + 2, options[i].name) == 0)
			return &options[i];
	}
	return NULL;
}

/* Reads `--name NUMBER` pairs, in which --quick may be mixed. Gives the argument that is wrong, or NULL. */
static inline const char *
bench_read_options(int argc, char **argv, const struct bench_option *options, size_t count)
{
	for (int arg = 1; arg < argc; arg++) {
		if (strcmp(argv[arg], "--quick") == 0)
			continue;
		const struct bench_option *option = bench_find_option(argv[arg], options, count);
		if (!option || arg + 1 == argc)
			return argv[arg];
		uint64_t number;
		if (!bench_parse_number(argv[++arg], &number) || number < option->min || number > option->max)
			return argv[arg];
		*option->value = number;
	}
	return NULL;
}

/* Reads the command line; exits with status 2 if it is not understood, and with 0 after --help. */
static inline void
bench_options(int argc, char **argv, const char *purpose, const struct bench_option *options, size_t count)
{
	bool quick = false;
	for (int arg = 1; arg < argc; arg++) {
		quick |= strcmp(argv[arg], "--quick") == 0;
		if (strcmp(argv[arg], "--help") == 0) {
			bench_usage(stdout, purpose, options, count);
			exit(0);
		}
	}
	for (size_t i = 0; quick && i < count; i++)
		*options[i].value = options[i].quick;
	const char *wrong = bench_read_options(argc, argv, options, count);
	if (wrong) {
		fprintf(stderr, "%s: not understood, or out of range: %s\n\n", program_invocation_short_name, wrong);
		bench_usage(stderr, purpose, options, count);
		exit(2);
	}
}

/* ---- random numbers ---------------------------------------------------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). Any state is a good seed. */
static inline uint64_t
bench_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Maps 32 random bits to 0 … bound - 1 without a division. */
static inline uint64_t
bench_scale(uint32_t bits, uint64_t bound)
{
	return bits * bound >> 32;
}

/* The two halves of one random number serve as two numbers: most programs want a place and a size. */
static inline uint64_t
bench_scale_high(uint64_t random, uint64_t bound)
{
	return bench_scale((uint32_t)(random >> 32), bound);
}

static inline uint64_t
bench_scale_low(uint64_t random, uint64_t min, uint64_t max)
{
	return min + bench_scale((uint32_t)random, max - min + 1);
}

/*
 * A size from 16 B to 32 KiB - 1, skewed as sizes in programs are: half of them below 64 B, 9 in 10 below 1 KiB, 1 in
 * 50 of 4 KiB and more, 440 B on average. The shape is made up in the manner of published histograms; it is no trace.
 */
static inline size_t
bench_skewed_size(uint32_t bits)
{
	/* Of 1024 sizes, how many are below 2^5, 2^6, … 2^15. */
	static const uint16_t below[] = {205, 492, 697, 820, 902, 953, 984, 1004, 1016, 1021, 1024};
	unsigned pick = bits >> 22, order = 0;
	while (pick >= below[order])
		order++;
	size_t base = (size_t)BENCH_MIN_BLOCK << order;
	return base + (bits & (base - 1));
}

/* ---- blocks ---------------------------------------------------------------------------------------------------- */

/* Hides from the compiler where a pointer comes from, so that it can drop neither the allocation nor the writes. */
static inline void *
bench_opaque(void *pointer)
{
	__asm__ volatile("" : "+r"(pointer) : : "memory");
	return pointer;
}

static inline void *
bench_malloc(size_t size)
{
	void *block = bench_opaque(malloc(size));
	if (!block)
		bench_fail("malloc(%zu) failed", size);
	return block;
}

static inline void
bench_write_word(void *at, uint64_t word)
{
	memcpy(at, &word, sizeof(word));
}

static inline uint64_t
bench_read_word(const void *at)
{
	uint64_t word;
	memcpy(&word, at, sizeof(word));
	return word;
}

/* Fails unless the word `offset` bytes into the block is what was written there. */
static inline void
bench_expect_word(const void *block, size_t offset, uint64_t expected)
{
	uint64_t found = bench_read_word((const char *)block + offset);
	if (__builtin_expect(found != expected, 0))
		bench_fail("corrupted block: %p + %zu holds %016" PRIx64 ", not %016" PRIx64, block, offset, found,
		           expected);
}

/* Writes the key into the first and the last word of a block of at least BENCH_MIN_BLOCK bytes. */
static inline void
bench_stamp(void *block, size_t size, uint64_t key)
{
	bench_write_word(block, key);
	bench_write_word((char *)block + size - sizeof(key), ~key);
}

static inline void
bench_check(const void *block, size_t size, uint64_t key)
{
	bench_expect_word(block, 0, key);
	bench_expect_word(block, size - sizeof(key), ~key);
}

/* A place for one block. block == NULL: empty. */
struct bench_slot {
	void *block;
	size_t size;
	uint64_t key;
};

static inline void
bench_slot_fill(struct bench_slot *slot, size_t size, uint64_t key)
{
	slot->block = bench_malloc(size);
	slot->size = size;
	slot->key = key;
	bench_stamp(slot->block, size, key);
}

/* Checks and frees the slot's block. Gives its key, for the checksum; 0 if the slot was empty. */
static inline uint64_t
bench_slot_empty(struct bench_slot *slot)
{
	if (!slot->block)
		return 0;
	bench_check(slot->block, slot->size, slot->key);
	free(slot->block);
	slot->block = NULL;
	return slot->key;
}

/* A table of empty slots. It lives to the end, and costs every allocator the same. */
static inline struct bench_slot *
bench_slots_new(size_t count)
{
	struct bench_slot *slots = calloc(count, sizeof(*slots));
	if (!slots)
		bench_fail("calloc(%zu, %zu) failed", count, sizeof(*slots));
	return slots;
}

/* Empties every slot and frees the table. Gives the sum of the keys. */
static inline uint64_t
bench_slots_free(struct bench_slot *slots, size_t count)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += bench_slot_empty(&slots[i]);
	free(slots);
	return sum;
}

/* ---- time and result ------------------------------------------------------------------------------------------- */

static inline double
bench_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Resident KiB of this process. Allocates nothing, as that could change the figure. Any thread. */
static inline uint64_t
bench_resident_kib(void)
{
	char text[128];
	int statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t length = statm < 0 ? -1 : read(statm, text, sizeof(text) - 1);
	if (length <= 0)
		bench_fail("cannot read /proc/self/statm");
	close(statm);
	text[length] = '\0';
	const char *second = strchr(text, ' ');
	return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) / 1024 : 0;
}

/* The closing lines. `ops`: as each program counts them; `since`: bench_seconds() at the start. */
static inline void
bench_report(uint64_t ops, double since, uint64_t checksum)
{
	double seconds = bench_seconds() - since;
	printf("checksum %016" PRIx64 "\n", checksum);
	printf("ops %" PRIu64 " seconds %.6f\n", ops, seconds);
	if (fflush(stdout) != 0)
		bench_fail("cannot write the result");
}

#endif
