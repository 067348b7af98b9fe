/*
 * boot.h - what the boot tests share: plain programs, also static ones, and also such that run before stdio or without
 * any descriptor. CHECK ends the process with status 1 and says where on stderr, if there is one.
 */
#ifndef LAB_TESTS_BOOT_BOOT_H
#define LAB_TESTS_BOOT_BOOT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The drop-in's, by whatever way it came in; NULL: it did not. */
extern bool lab_owns(const void *p) __attribute__((weak));

__attribute__((unused)) static bool boot_any_malloc; /* under valgrind's, for one, lab_owns is there and says no */

enum { SKIPPED = 77 }; /* meson's status for "cannot run here" */

#define STRING_OF(x)  #x
#define STRING(x)     STRING_OF(x)
#define CHECK(is_so)  ((is_so) ? (void)0 : boot_failed(__FILE__ ":" STRING(__LINE__) ": failed: " #is_so "\n"))
#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

__attribute__((unused, noreturn)) static void
boot_failed(const char *line)
{
	ssize_t written = write(STDERR_FILENO, line, strlen(line));

	(void)written;
	_exit(1);
}

__attribute__((unused)) static void
boot_say(const char *line)
{
	ssize_t written = write(STDERR_FILENO, line, strlen(line));

	(void)written;
}

/* Blocks of every kind, used, resized and freed; one small one is kept and returned. */
__attribute__((unused)) static char *
boot_allocate(void)
{
	static const size_t sizes[] = {1, 100, 3000, 40000, 300000, 6000000};
	char *kept = (char *)malloc(1000);

	CHECK(kept && (!lab_owns || boot_any_malloc || lab_owns(kept)));
	memset(kept, 'k', 1000);
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		char *zeroed = (char *)calloc(1, sizes[i]);
		char *block = (char *)malloc(sizes[i]);
		void *aligned = NULL;

		CHECK(zeroed && block && zeroed[0] == 0 && zeroed[sizes[i] - 1] == 0);
		block[sizes[i] - 1] = 'x';
		block = (char *)realloc(block, 2 * sizes[i]);
		CHECK(block && block[sizes[i] - 1] == 'x');
		CHECK(posix_memalign(&aligned, 4096, sizes[i]) == 0 && (uintptr_t)aligned % 4096 == 0);
		free(zeroed);
		free(aligned);
		free(block);
	}
	return kept;
}

__attribute__((unused)) static void
boot_free(char *kept)
{
	CHECK(kept && kept[0] == 'k' && kept[999] == 'k');
	free(kept);
}

/* A thread's function: blocks that nobody else writes, for a tenth of a second or so. It fails if another thread has
 * the same heap. */
__attribute__((unused)) static void *
boot_write_blocks(void *thread)
{
	enum { BLOCKS_HELD = 500, ROUNDS = 3000, SIZE = 100 };
	int mark = 'a' + (int)(uintptr_t)thread;
	char *blocks[BLOCKS_HELD];

	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < BLOCKS_HELD; i++) {
			CHECK((blocks[i] = (char *)malloc(SIZE)) != NULL);
			memset(blocks[i], mark, SIZE);
		}
		for (int i = 0; i < BLOCKS_HELD; i++) {
			CHECK(blocks[i][0] == mark && blocks[i][SIZE - 1] == mark);
			free(blocks[i]);
		}
	}
	return NULL;
}

/* Waits for a child; whether it ended with status 0. */
__attribute__((unused)) static bool
boot_child_succeeded(pid_t child)
{
	int status;

	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#endif
