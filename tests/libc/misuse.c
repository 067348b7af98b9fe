/*
 * misuse.c - each misuse that is cheap to see ends the process with SIGABRT and a report on stderr: the line that says
 * what it is, the thread, the block where there is one, and who called, as an address in this program.
 * Each one runs in a child of its own. Nothing here applies to glibc, whose lines are others.
 *
 * Clauses: G9.1, G9.8.
 */
#include "check.h"

#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

void free_sized(void *block, size_t size) __attribute__((weak));
void free_aligned_sized(void *block, size_t alignment, size_t size) __attribute__((weak));

static const char foreign[] = "not a block of this heap";
static const char inside[] = "not the start of a block";
static const char twice[] = "double free";
static const char wrong_size[] = "wrong size";

struct misuse {
	const char *what;
	const char *call;       /* as the line names it */
	const char *reason;     /* as the line gives it */
	void *(*prepare)(void); /* allocates and so on; returns the pointer to misuse */
	void (*commit)(void *); /* the misuse */
};

static void
do_free(void *p)
{
	free(p);
}

static void
do_realloc(void *p)
{
	p = realloc(p, 50);
	(void)check_opaque(p);
}

static void
do_realloc_zero(void *p)
{
	p = realloc(p, 0);
	(void)check_opaque(p);
}

static void
do_free_sized(void *p)
{
	free_sized(p, 5000);
}

static void
do_free_sized_large(void *p)
{
	free_sized(p, 600000);
}

static void
do_free_aligned_sized(void *p)
{
	free_aligned_sized(p, 64, 100000);
}

/* ---- pointers that are no blocks ------------------------------------------------------------------------------- */

static void *
stack_pointer(void)
{
	char *here = __builtin_frame_address(0);

	return check_opaque((char *)((uintptr_t)here & ~(uintptr_t)15) - 4096);
}

static void *
static_pointer(void)
{
	static char object[64];

	return check_opaque(object + 16);
}

static void *
code_pointer(void)
{
	return check_opaque((void *)(uintptr_t)code_pointer);
}

static void *
small_number(void)
{
	return check_opaque((void *)16);
}

static void *
odd_number(void)
{
	return check_opaque((void *)12345677);
}

static void *
noncanonical(void)
{
	return check_opaque((void *)0x1234567890abcdf0);
}

static void *
kernel_pointer(void)
{
	return check_opaque((void *)0xffffffffff600000);
}

static void *
last_pointer(void)
{
	return check_opaque((void *)(UINTPTR_MAX - 15));
}

static void *
mapped_elsewhere(void)
{
	return check_opaque(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void *
unmapped(void)
{
	void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(p, 1 << 20);
	return check_opaque(p);
}

/* ---- pointers into blocks -------------------------------------------------------------------------------------- */

static void *
inside_small(void)
{
	return (char *)check_opaque(malloc(64)) + 16;
}

static void *
inside_small_odd(void)
{
	return (char *)check_opaque(malloc(64)) + 1;
}

static void *
inside_medium(void)
{
	return (char *)check_opaque(malloc(3000)) + 1024;
}

static void *
inside_large(void)
{
	return (char *)check_opaque(malloc(100 << 10)) + 16;
}

static void *
inside_large_page(void)
{
	return (char *)check_opaque(malloc(100 << 10)) + 8192;
}

static void *
inside_large_unit(void)
{
	return (char *)check_opaque(malloc(300 << 10)) + (128 << 10);
}

static void *
inside_huge(void)
{
	return (char *)check_opaque(malloc(20 << 20)) + 4096;
}

static void *
inside_huge_segment(void)
{
	return (char *)check_opaque(malloc(20 << 20)) + (12 << 20);
}

static void *
inside_aligned(void)
{
	return (char *)check_opaque(memalign(4096, 10000)) + 4096;
}

/* ---- blocks that were freed ------------------------------------------------------------------------------------ */

static void *
freed(size_t size)
{
	void *p = check_opaque(malloc(size));

	free(p);
	return check_opaque(p);
}

/* A block of the same size lives, so that the span is not empty. */
static void *
freed_beside_another(size_t size)
{
	(void)check_opaque(malloc(size));
	return freed(size);
}

static void *
freed_small(void)
{
	return freed_beside_another(100);
}

static void *
freed_tiny(void)
{
	return freed_beside_another(1);
}

static void *
freed_medium(void)
{
	return freed_beside_another(3000);
}

static void *
freed_large(void)
{
	return freed(100 << 10);
}

static void *
freed_huge(void)
{
	return freed(20 << 20);
}

static void *
freed_aligned(void)
{
	void *p = check_opaque(memalign(1 << 16, 1 << 17));

	free(p);
	return check_opaque(p);
}

static void *
freed_by_realloc(void)
{
	void *p = check_opaque(malloc(200 << 10));
	void *moved = realloc(p, 0);

	(void)check_opaque(moved);
	return check_opaque(p);
}

/* A block of a span whose blocks were all freed: of the first one, which was not the last to go. */
static void *
in_empty_span(void)
{
	enum { N = 200 };
	static void *blocks[N];

	for (int i = 0; i < N; i++)
		blocks[i] = malloc(1500);
	for (int i = 0; i < N; i++)
		free(blocks[i]);
	return check_opaque(blocks[0]);
}

/* ---- sizes that a block cannot have had: larger ones; it may have a smaller one from realloc in place ------------ */

static void *
small_block(void)
{
	return check_opaque(malloc(100));
}

static void *
large_block(void)
{
	return check_opaque(malloc(300000));
}

static void *
aligned_block(void)
{
	return check_opaque(aligned_alloc(64, 128));
}

static const struct misuse misuses[] = {
        {"free of a stack address", "free", foreign, stack_pointer, do_free},
        {"free of a static object", "free", foreign, static_pointer, do_free},
        {"free of a function", "free", foreign, code_pointer, do_free},
        {"free of 16", "free", foreign, small_number, do_free},
        {"free of an odd number", "free", foreign, odd_number, do_free},
        {"free of a noncanonical address", "free", foreign, noncanonical, do_free},
        {"free of a kernel address", "free", foreign, kernel_pointer, do_free},
        {"free of the last address", "free", foreign, last_pointer, do_free},
        {"free of memory from mmap", "free", foreign, mapped_elsewhere, do_free},
        {"free of unmapped memory", "free", foreign, unmapped, do_free},
        {"free inside a small block", "free", inside, inside_small, do_free},
        {"free inside a small block, odd", "free", inside, inside_small_odd, do_free},
        {"free inside a medium block", "free", inside, inside_medium, do_free},
        {"free inside a large block", "free", inside, inside_large, do_free},
        {"free of a large block's third page", "free", inside, inside_large_page, do_free},
        {"free inside a large block, units on", "free", inside, inside_large_unit, do_free},
        {"free inside a huge block", "free", inside, inside_huge, do_free},
        {"free inside a huge block, segments on", "free", inside, inside_huge_segment, do_free},
        {"free inside an aligned block", "free", inside, inside_aligned, do_free},
        {"double free, small", "free", twice, freed_small, do_free},
        {"double free, tiny", "free", twice, freed_tiny, do_free},
        {"double free, medium", "free", twice, freed_medium, do_free},
        {"double free, large", "free", twice, freed_large, do_free},
        {"double free, huge", "free", twice, freed_huge, do_free},
        {"double free, aligned", "free", twice, freed_aligned, do_free},
        {"double free, after realloc(p, 0)", "free", twice, freed_by_realloc, do_free},
        {"double free in an empty span", "free", twice, in_empty_span, do_free},
        {"realloc of a stack address", "realloc", foreign, stack_pointer, do_realloc},
        {"realloc of a noncanonical address", "realloc", foreign, noncanonical, do_realloc},
        {"realloc of unmapped memory", "realloc", foreign, unmapped, do_realloc},
        {"realloc inside a small block", "realloc", inside, inside_small, do_realloc},
        {"realloc inside a large block", "realloc", inside, inside_large_page, do_realloc},
        {"realloc inside a huge block", "realloc", inside, inside_huge_segment, do_realloc},
        {"realloc after free, small", "realloc", twice, freed_small, do_realloc},
        {"realloc after free, large", "realloc", twice, freed_large, do_realloc},
        {"realloc after free, huge", "realloc", twice, freed_huge, do_realloc},
        {"realloc to 0 of a stack address", "realloc", foreign, stack_pointer, do_realloc_zero},
        {"realloc to 0 after free, large", "realloc", twice, freed_large, do_realloc_zero},
        {"free_sized with a larger size", "free_sized", wrong_size, small_block, do_free_sized},
        {"free_sized of a large block", "free_sized", wrong_size, large_block, do_free_sized_large},
        {"free_sized of a stack address", "free_sized", foreign, stack_pointer, do_free_sized},
        {"free_aligned_sized with a larger size", "free_aligned_sized", wrong_size, aligned_block,
         do_free_aligned_sized},
};

/* In the child: says on `told` which pointer it is, then misuses it. */
static void
run(const struct misuse *misuse, int told)
{
	const struct rlimit no_core = {0, 0};
	void *p;

	setrlimit(RLIMIT_CORE, &no_core);
	p = misuse->prepare();
	if (write(told, &p, sizeof p) != sizeof p)
		_exit(2);
	misuse->commit(p);
	_exit(0);
}

/* Whether these are the thread, and calls of which the first is in this program. */
static bool
has_details(const char *lines)
{
	static const char start[] = "labyrinth:   ", first[] = "labyrinth:   #0 ";
	const char *call = strstr(lines, first), *own = call ? strstr(call, "libc-misuse+0x") : NULL;
	bool is_own = own && own < strchr(call, '\n') && strstr(lines, "thread ") && strstr(lines, "thread ") < call;

	for (const char *line = lines; *line; line = strchr(line, '\n') + 1)
		if (strncmp(line, start, strlen(start)) != 0 || !strchr(line, '\n'))
			return false;
	return is_own;
}

static void
expect(const struct misuse *misuse)
{
	int told[2];
	int errors[2];
	char output[8000] = "";
	char line[200];
	void *p = NULL;
	size_t length = 0;
	ssize_t n;
	int status;
	pid_t pid;

	CHECK(pipe(told) == 0 && pipe(errors) == 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(errors[1], STDERR_FILENO);
		run(misuse, told[1]);
	}
	close(told[1]);
	close(errors[1]);
	while (length < sizeof output - 1 && (n = read(errors[0], output + length, sizeof output - 1 - length)) > 0)
		length += (size_t)n;
	n = read(told[0], &p, sizeof p);
	close(told[0]);
	close(errors[0]);
	CHECK(waitpid(pid, &status, 0) == pid);
	snprintf(line, sizeof line, "labyrinth: %s(0x%lx): %s\n", misuse->call, (unsigned long)(uintptr_t)p,
	         misuse->reason);
	CHECK_FOR(n == (ssize_t)sizeof p, misuse->what);
	CHECK_FOR(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, misuse->what);
	if (!CHECK_FOR(strncmp(output, line, strlen(line)) == 0 && has_details(output + strlen(line)), misuse->what))
		fprintf(stderr, "  expected: %s  printed:  %s\n", line, output);
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	for (size_t i = 0; !check_glibc && i < sizeof misuses / sizeof misuses[0]; i++)
		expect(&misuses[i]);
	return check_end();
}
