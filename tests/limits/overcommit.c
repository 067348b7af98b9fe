/*
 * overcommit.c - under vm.overcommit_memory=2, where the kernel gives out no more than it has: run by overcommit.sh,
 * which sets that. What is reserved is not charged; when there is no more, blocks are NULL with ENOMEM; when they are
 * freed, all works again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "load.h"
#include "process.h"

#define MIB ((size_t)1 << 20)

static size_t
read_number(const char *path, const char *format)
{
	size_t number = 0;
	char line[200];
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof line, file) && sscanf(line, format, &number) != 1)
		;
	if (file)
		fclose(file);
	return number;
}

int
main(int argc, char **argv)
{
	load_start(argc, argv, 600);
	if (read_number("/proc/sys/vm/overcommit_memory", "%zu") != 2) {
		fputs("not run: vm.overcommit_memory is not 2 (overcommit.sh sets it)\n", stderr);
		return SKIPPED;
	}
	load_must_work();
	/* others on the machine get nothing meanwhile: it is short */
	uint64_t from = now_ms();
	size_t blocks = load_until_null(256 * MIB, (size_t)1 << 40);
	size_t small = load_until_null(MIB, (size_t)1 << 30);
	load_all();
	printf("%zu blocks of 256 MiB, then %zu of 1 MiB, %lu given, %lu refused, in %llu ms\n", blocks, small,
	       load_count.given, load_count.refused, (unsigned long long)(now_ms() - from));
	REQUIRE(load_count.refused > 0);
	load_must_work();
	return end_test();
}
