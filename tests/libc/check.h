/*
 * check.h - the few lines that the libc tests share. (Criterion allocates itself, so that these are plain programs.)
 *
 * Each program begins with check_begin and ends with `return check_end()`. Without arguments it demands that malloc
 * comes from liblabyrinth. With --glibc it demands that it does not, and leaves out what only Labyrinth promises: the
 * contract's other assertions are so held against glibc itself.
 */
#ifndef LAB_TESTS_LIBC_CHECK_H
#define LAB_TESTS_LIBC_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_count;
static int check_failures;
static bool check_glibc; /* --glibc was given */

/* A value of errno that no call here sets: what must stay. */
enum { ERRNO_KEPT = 7777 };

/* Counts a check; says where it failed, and with what (`detail` may be NULL). */
#define CHECK(condition)             check_that(condition, #condition, NULL, __FILE__, __LINE__)
#define CHECK_FOR(condition, detail) check_that(condition, #condition, detail, __FILE__, __LINE__)

static inline bool
check_that(bool ok, const char *text, const char *detail, const char *file, int line)
{
	__atomic_add_fetch(&check_count, 1, __ATOMIC_RELAXED);
	if (!ok) {
		__atomic_add_fetch(&check_failures, 1, __ATOMIC_RELAXED);
		fprintf(stderr, "%s:%d: failed: %s%s%s\n", file, line, text, detail ? " -- " : "",
		        detail ? detail : "");
	}
	return ok;
}

/* Whether ld.so binds `name` to liblabyrinth. */
static inline bool
check_is_ours(const char *name)
{
	Dl_info info;
	void *address = dlsym(RTLD_DEFAULT, name);

	return address && dladdr(address, &info) && info.dli_fname && strstr(info.dli_fname, "liblabyrinth");
}

static inline void
check_begin(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		check_glibc |= strcmp(argv[i], "--glibc") == 0;
	if (check_is_ours("malloc") == check_glibc) {
		fprintf(stderr, "%s: malloc is %s liblabyrinth\n", argv[0], check_glibc ? "that of" : "not that of");
		exit(1);
	}
}

static inline int
check_end(void)
{
	printf("%d checks, %d failed\n", check_count, check_failures);
	return check_failures == 0 ? 0 : 1;
}

/* The same pointer, and the same number; but no compiler knows, warns or optimises on where they came from. */
static inline void *
check_opaque(const volatile void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return (void *)(uintptr_t)p;
}

static inline size_t
check_opaque_number(size_t n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

/* A byte pattern that depends on position and seed, to see whether blocks overlap or move wrongly. */
static inline unsigned char
check_byte(size_t position, unsigned seed)
{
	return (unsigned char)(position * 31 + (position >> 8) * 7 + seed * 101 + 1);
}

static inline void
check_fill(void *block, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)block)[i] = check_byte(i, seed);
}

static inline bool
check_filled(const void *block, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		if (((const unsigned char *)block)[i] != check_byte(i, seed))
			return false;
	return true;
}

static inline bool
check_zero(const void *block, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)block;

	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static inline bool
check_aligned(const void *block, size_t alignment)
{
	return ((uintptr_t)block & (alignment - 1)) == 0;
}

/* The n-th figure of /proc/self/statm, in bytes. */
static inline size_t
check_statm(int n)
{
	size_t pages[2] = {0, 0};
	FILE *file = fopen("/proc/self/statm", "r");

	CHECK(file && fscanf(file, "%zu %zu", &pages[0], &pages[1]) == 2);
	fclose(file);
	return pages[n] * 4096;
}

/* Bytes that are mapped, and those that are resident. */
static inline size_t
address_space(void)
{
	return check_statm(0);
}

static inline size_t
resident(void)
{
	return check_statm(1);
}

#endif
