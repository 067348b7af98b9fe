/*
 * misuse_handled.c - a handler of SIGABRT, as crash reporters have one, finds a heap that is whole, whatever was
 * reported: it allocates, resizes and frees blocks of all sizes, which are distinct and keep what is written to them,
 * and returns, or jumps out and the program goes on, misuses again, and has that reported likewise. Reports do not
 * nest: what the handler misuses itself is one more line, and the end. Each case is a child of its own. Nothing here
 * applies to glibc, whose lines are others.
 *
 * Clauses: G9.1, G9.5, G9.6.
 */
#include "check.h"

#include <labyrinth/labyrinth.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char twice[] = "double free";
static const char damaged[] = "a freed block of this span was written to";

/* The library's own functions: the program is not linked with it. */
static struct {
	void *(*alloc)(size_t size, unsigned gfp);
	bool (*reserve_thread)(size_t size, size_t count);
	struct lab_cache *(*cache_create)(const char *name, size_t size, size_t align, void (*construct)(void *object));
	void *(*cache_alloc)(struct lab_cache *cache, unsigned gfp);
	void (*cache_free)(struct lab_cache *cache, void *object);
} lab;

static void
find_functions(void)
{
	*(void **)&lab.alloc = dlsym(RTLD_DEFAULT, "lab_alloc");
	*(void **)&lab.reserve_thread = dlsym(RTLD_DEFAULT, "lab_reserve_thread");
	*(void **)&lab.cache_create = dlsym(RTLD_DEFAULT, "lab_cache_create");
	*(void **)&lab.cache_alloc = dlsym(RTLD_DEFAULT, "lab_cache_alloc");
	*(void **)&lab.cache_free = dlsym(RTLD_DEFAULT, "lab_cache_free");
	CHECK(lab.alloc && lab.reserve_thread && lab.cache_create && lab.cache_alloc && lab.cache_free);
}

/* ---- what a crash reporter does with the heap ------------------------------------------------------------------ */

enum { BLOCKS = 1000, UNUSED_STATUS = 3, BROKEN_STATUS = 4 };

struct block {
	unsigned char *p;
	size_t size;
};

static int
by_address(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return x->p < y->p ? -1 : x->p > y->p;
}

static size_t
size_of(int i)
{
	static const size_t bases[] = {2, 16, 24, 48, 100, 112, 300, 1000, 1500, 3000, 9000, 33000, 100000};
	size_t count = sizeof bases / sizeof bases[0];

	return i % 250 == 249 ? (size_t)5 << 20 : bases[(size_t)i % count] + (size_t)(i % 7);
}

static bool
is_filled(const struct block *block, int i)
{
	return block->p[0] == (unsigned char)i && block->p[block->size - 1] == (unsigned char)(i >> 4);
}

/* Whether the heap is whole, as far as that shows. */
static bool
heap_is_whole(void)
{
	struct block blocks[BLOCKS], sorted[BLOCKS];
	bool whole = true;

	for (int i = 0; i < BLOCKS; i++) {
		size_t size = size_of(i);
		unsigned char *p = i % 3 == 0 ? calloc(1, size) : malloc(size);
		if (!p || (uintptr_t)p % 16 != 0)
			return false;
		blocks[i] = (struct block){p, size};
		p[0] = (unsigned char)i;
		p[size - 1] = (unsigned char)(i >> 4);
	}
	memcpy(sorted, blocks, sizeof blocks);
	qsort(sorted, BLOCKS, sizeof sorted[0], by_address);
	for (int i = 0; i + 1 < BLOCKS; i++)
		whole &= sorted[i].p + sorted[i].size <= sorted[i + 1].p;
	for (int i = 0; i < BLOCKS; i++)
		whole &= is_filled(&blocks[i], i);
	for (int i = 0; i < BLOCKS; i += 5) {
		unsigned char *p = realloc(blocks[i].p, blocks[i].size * 2);
		whole &= p && p[0] == (unsigned char)i && p[blocks[i].size - 1] == (unsigned char)(i >> 4);
		blocks[i].p = p;
	}
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i * 7 % BLOCKS].p);
	return whole;
}

/* ---- misuses --------------------------------------------------------------------------------------------------- */

/* The blocks that live over a misuse, with what they hold. */
static struct block live[200];

static void
make_live(void)
{
	for (int i = 0; i < 200; i++) {
		live[i] = (struct block){malloc(size_of(i) + 16), size_of(i) + 16};
		live[i].p[0] = (unsigned char)i;
		live[i].p[live[i].size - 1] = (unsigned char)(i >> 4);
	}
}

static bool
live_are_kept(void)
{
	bool kept = true;

	for (int i = 0; i < 200; i++)
		kept &= is_filled(&live[i], i);
	return kept;
}

static void
free_twice(size_t size)
{
	char *beside = check_opaque(malloc(size));
	char *p = check_opaque(malloc(size));

	(void)check_opaque(beside);
	free(p);
	free(check_opaque(p));
}

static void
small(void)
{
	free_twice(100);
}

static void
tiny(void)
{
	free_twice(1);
}

static void
medium(void)
{
	free_twice(3000);
}

static void
run(void)
{
	free_twice(100 << 10);
}

static void
huge(void)
{
	free_twice(20 << 20);
}

/* Of a block that was not the last to go, where none of its span is used. */
static void
in_empty_span(void)
{
	enum { N = 300 };
	static void *blocks[N];

	for (int i = 0; i < N; i++)
		blocks[i] = malloc(1900);
	for (int i = 0; i < N; i++)
		free(blocks[i]);
	free(check_opaque(blocks[N / 2]));
	for (int i = 0; i < N; i++) /* it was in the span that is current */
		free(check_opaque(blocks[N - 1 - i]));
}

static void
in_current_span(void)
{
	void *blocks[20];

	for (int i = 0; i < 20; i++)
		blocks[i] = malloc(2300);
	for (int i = 0; i < 20; i++)
		free(blocks[i]);
	free(check_opaque(blocks[10]));
}

static void
filled(void)
{
	mallopt(M_PERTURB, 0x55);
	in_current_span();
	free_twice(100);
}

static void
resized(void)
{
	char *p = check_opaque(malloc(100));

	free(p);
	p = realloc(check_opaque(p), 3000);
	(void)check_opaque(p);
}

static void
inside(void)
{
	free((char *)check_opaque(malloc(100)) + 16);
}

static void
inside_run(void)
{
	free((char *)check_opaque(malloc(100 << 10)) + 4096);
}

static void
foreign(void)
{
	static char object[64] __attribute__((aligned(16)));

	free(check_opaque(object));
}

static void
wrong_size(void)
{
	void (*free_sized)(void *block, size_t size);

	*(void **)&free_sized = dlsym(RTLD_DEFAULT, "free_sized");
	free_sized(check_opaque(malloc(100)), 5000);
}

static void
reserve_slot(void)
{
	void *p = lab.alloc(200, LAB_GFP_ATOMIC);

	free(p);
	free(check_opaque(p));
}

static void
share_slot(void)
{
	if (!lab.reserve_thread(4096, 10))
		_exit(UNUSED_STATUS);
	void *p = lab.alloc(4096, LAB_GFP_ATOMIC);
	free(p);
	free(check_opaque(p));
}

static void
exclusive(void)
{
	void *p = lab.alloc(10000, LAB_GFP_EXCLUSIVE);

	free(p);
	free(check_opaque(p));
}

static void
cache_object(void)
{
	struct lab_cache *cache = lab.cache_create(NULL, 100, 0, NULL);
	void *beside = lab.cache_alloc(cache, LAB_GFP_KERNEL), *p = lab.cache_alloc(cache, LAB_GFP_KERNEL);

	(void)check_opaque(beside);
	lab.cache_free(cache, p);
	lab.cache_free(cache, check_opaque(p));
}

/* ---- by others ------------------------------------------------------------------------------------------------- */

static void *
free_it(void *p)
{
	void *others[40];

	free(p);
	for (int i = 0; i < 40; i++) /* its batch is sent by the next slow call */
		others[i] = malloc(40000);
	for (int i = 0; i < 40; i++)
		free(others[i]);
	return NULL;
}

static void
free_elsewhere(void *p)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, free_it, p) != 0)
		_exit(UNUSED_STATUS);
	pthread_join(thread, NULL);
}

/* Takes in what others have freed; frees nothing that was. */
static void
drain(void)
{
	free(check_opaque(malloc(50000)));
}

static void
freed_by_another(void)
{
	void *beside = check_opaque(malloc(100)), *p = check_opaque(malloc(100));

	(void)check_opaque(beside);
	drain();
	free_elsewhere(p);
	drain();
	free_elsewhere(check_opaque(p));
	drain();
}

static void
freed_here_and_by_another(void)
{
	void *beside = check_opaque(malloc(100)), *p = check_opaque(malloc(100));

	(void)check_opaque(beside);
	free(p);
	free_elsewhere(check_opaque(p));
	drain();
}

static void
waiting_block_written_to(void)
{
	void *blocks[10];

	for (int i = 0; i < 10; i++)
		blocks[i] = check_opaque(malloc(200));
	for (int i = 0; i < 5; i++)
		free_elsewhere(blocks[i]);
	*(void **)check_opaque(blocks[2]) = blocks[8]; /* a live one: a list of the program's */
	drain();
}

static void
waiting_block_cleared(void)
{
	void *blocks[10];

	for (int i = 0; i < 10; i++)
		blocks[i] = check_opaque(malloc(200));
	for (int i = 0; i < 5; i++)
		free_elsewhere(blocks[i]);
	memset(check_opaque(blocks[3]), 0, 200);
	drain();
}

static void
waiting_run_written_to(void)
{
	char *runs[3];

	for (int i = 0; i < 3; i++)
		runs[i] = check_opaque(malloc(40000));
	char *live_one = check_opaque(malloc(40000));
	for (int i = 0; i < 3; i++)
		free_elsewhere(runs[i]);
	memcpy(check_opaque(runs[1]), &live_one, sizeof live_one);
	drain();
}

/* ---- writes to freed blocks -------------------------------------------------------------------------------------- */

/* Writes to the first two bytes of a block that was freed, and allocates until that shows. */
static void
write_link(size_t size, uint16_t value)
{
	enum { FREED = 12, N = 40 };
	void *blocks[N];

	for (int i = 0; i < N; i++)
		blocks[i] = check_opaque(malloc(size));
	for (int i = 0; i < FREED; i++)
		free(blocks[N - 1 - i]);
	memcpy(check_opaque(blocks[N - FREED / 2]), &value, sizeof value);
	for (int i = 0; i < 4 * N; i++) {
		char *p = i % 3 == 0 ? calloc(1, size) : i % 3 == 1 ? aligned_alloc(16, size) : malloc(size);
		if (!p || (uintptr_t)p % 16 != 0)
			_exit(BROKEN_STATUS);
		for (int k = 0; k < N - FREED; k++)
			if (p < (char *)blocks[k] + size && (char *)blocks[k] < p + size)
				_exit(BROKEN_STATUS);
		memset(p, 1, size);
	}
}

static void
odd_link(void)
{
	write_link(112, 0x4141);
}

static void
misaligned_link(void)
{
	write_link(16, 0x8003);
}

static void
aligned_link(void)
{
	write_link(48, 0xfff0);
}

static void
link_beyond_what_is_carved(void)
{
	write_link(1000, 64);
}

static void
link_of_a_medium_block(void)
{
	write_link(1700, 39);
}

/* Between blocks of the allocation that it breaks and the report lie others' frees. */
static void
link_that_is_freed_onto(void)
{
	void *blocks[20];
	const uint16_t value = 0x6261;

	for (int i = 0; i < 20; i++)
		blocks[i] = check_opaque(malloc(600));
	free(blocks[3]);
	memcpy(check_opaque(blocks[3]), &value, sizeof value);
	free(blocks[4]);
	free(blocks[5]);
	for (int i = 0; i < 200; i++)
		blocks[i % 20] = check_opaque(malloc(600));
}

struct misuse {
	const char *what;
	void (*commit)(void);
	const char *reason; /* as the line gives it */
};

static const struct misuse misuses[] = {
        {"small", small, twice},
        {"tiny", tiny, twice},
        {"medium", medium, twice},
        {"large", run, twice},
        {"huge", huge, twice},
        {"empty span", in_empty_span, twice},
        {"empty current span", in_current_span, twice},
        {"filled with M_PERTURB", filled, twice},
        {"realloc", resized, twice},
        {"inside a block", inside, "not the start of a block"},
        {"inside a run", inside_run, "not the start of a block"},
        {"foreign", foreign, "not a block of this heap"},
        {"wrong size", wrong_size, "wrong size"},
        {"reserve slot", reserve_slot, twice},
        {"share's slot", share_slot, twice},
        {"exclusive", exclusive, twice},
        {"cache object", cache_object, twice},
        {"freed by another, twice", freed_by_another, twice},
        {"freed here, then by another", freed_here_and_by_another, twice},
        {"a waiting block is written to", waiting_block_written_to, damaged},
        {"a waiting block is cleared", waiting_block_cleared, damaged},
        {"a waiting run is written to", waiting_run_written_to, damaged},
        {"an odd link", odd_link, damaged},
        {"a misaligned link", misaligned_link, damaged},
        {"an aligned link", aligned_link, damaged},
        {"a link beyond what is carved", link_beyond_what_is_carved, damaged},
        {"a link of a medium block", link_of_a_medium_block, damaged},
        {"a link that is freed onto", link_that_is_freed_onto, damaged},
};

/* ---- handlers ---------------------------------------------------------------------------------------------------- */

static __thread sigjmp_buf out;
static void (*before_end)(void); /* what the handler misuses itself; NULL: nothing */
static bool jumps;
static int handled;

static void
on_abort(int signal)
{
	(void)signal;
	if (!heap_is_whole() || !live_are_kept())
		_exit(BROKEN_STATUS);
	__atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
	if (before_end)
		before_end();
	if (jumps)
		siglongjmp(out, 1);
}

static void
handle(bool jump, int flags)
{
	static char stack[1 << 20];
	const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction action = {.sa_handler = on_abort, .sa_flags = flags};

	jumps = jump;
	if (flags & SA_ONSTACK)
		sigaltstack(&alternate, NULL);
	sigaction(SIGABRT, &action, NULL);
}

/* Of the text, the lines that are the library's, without those of details. */
static int
count_lines(const char *text, const char *part)
{
	int lines = 0;

	for (const char *at = text; (at = strstr(at, "labyrinth: ")) != NULL; at++) {
		const char *end = strchr(at, '\n');
		const char *found = strstr(at, part);
		if (!end)
			return -1;
		lines += found && found < end && (at == text || at[-1] == '\n') && strncmp(at + 11, "  ", 2) != 0;
	}
	return lines;
}

/* Runs act(of) in a child; its status, and what it wrote to stderr. */
static int
in_child(void (*act)(const void *of), const void *of, char *output, size_t size)
{
	const struct rlimit no_core = {0, 0};
	size_t length = 0;
	int errors[2], status = -1;
	ssize_t n;

	CHECK(pipe(errors) == 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(errors[1], STDERR_FILENO);
		close(errors[1]);
		setrlimit(RLIMIT_CORE, &no_core);
		make_live();
		act(of);
		_exit(0);
	}
	close(errors[1]);
	while (length < size - 1 && (n = read(errors[0], output + length, size - 1 - length)) > 0)
		length += (size_t)n;
	output[length] = 0;
	close(errors[0]);
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static void
report_and_return(const void *misuse)
{
	handle(false, 0);
	((const struct misuse *)misuse)->commit();
}

enum { ROUNDS = 3 };

static void
jump_out_and_go_on(const void *misuse)
{
	volatile int round = 0;

	handle(true, 0);
	while (round < ROUNDS) {
		if (sigsetjmp(out, 1) == 0) {
			((const struct misuse *)misuse)->commit();
			_exit(UNUSED_STATUS); /* it was not seen */
		}
		round = round + 1;
		if (!heap_is_whole() || !live_are_kept())
			_exit(BROKEN_STATUS);
	}
	_exit(handled == ROUNDS ? 0 : BROKEN_STATUS);
}

static bool
died_of(int status, int signal)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

static void
expect(const struct misuse *misuse)
{
	static char output[32000];
	int status = in_child(report_and_return, misuse, output, sizeof output);

	CHECK_FOR(died_of(status, SIGABRT), misuse->what);
	if (!CHECK_FOR(count_lines(output, misuse->reason) == 1 && count_lines(output, "") == 1, misuse->what))
		fprintf(stderr, "%s\n", output);
	status = in_child(jump_out_and_go_on, misuse, output, sizeof output);
	if (!CHECK_FOR(WIFEXITED(status) && WEXITSTATUS(status) == 0, misuse->what))
		fprintf(stderr, "status %x\n", (unsigned)status);
	if (!CHECK_FOR(count_lines(output, misuse->reason) == ROUNDS && count_lines(output, "") == ROUNDS,
	               misuse->what))
		fprintf(stderr, "%s\n", output);
}

/* ---- reports do not nest --------------------------------------------------------------------------------------- */

static void
nest(const void *flags)
{
	before_end = in_current_span;
	handle(false, *(const int *)flags);
	small();
}

static void
test_nesting(void)
{
	static const int flags[] = {0, SA_NODEFER, SA_ONSTACK, SA_ONSTACK | SA_NODEFER};
	static char output[32000];

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		int status = in_child(nest, &flags[i], output, sizeof output);
		CHECK(died_of(status, SIGABRT));
		CHECK(count_lines(output, twice) == 2);
		if (!CHECK(count_lines(output, "double free, while a report is under way") == 1 &&
		           count_lines(output, "") == 2))
			fprintf(stderr, "%s\n", output);
	}
}

/* The handler's child misuses; the handler goes on. */
static void
misuse_in_child(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		medium();
		_exit(UNUSED_STATUS);
	}
	waitpid(pid, &status, 0);
	if (!died_of(status, SIGABRT))
		_exit(BROKEN_STATUS);
}

static void
fork_in_handler(const void *unused)
{
	(void)unused;
	before_end = misuse_in_child;
	handle(false, 0);
	small();
}

static void
test_fork_in_handler(void)
{
	static char output[32000];
	int status = in_child(fork_in_handler, NULL, output, sizeof output);

	CHECK(died_of(status, SIGABRT));
	if (!CHECK(count_lines(output, "double free, while a report is under way") == 1 &&
	           count_lines(output, "") == 2))
		fprintf(stderr, "%s\n", output);
}

enum { THREADS = 4, TIMES = 20 };

static void *
misuse_again_and_again(void *barrier)
{
	volatile int times = 0;

	pthread_barrier_wait(barrier);
	while (times < TIMES) {
		if (sigsetjmp(out, 1) == 0) {
			small();
			_exit(UNUSED_STATUS);
		}
		times = times + 1;
	}
	return NULL;
}

static void
misuse_at_once(const void *unused)
{
	pthread_barrier_t barrier;
	pthread_t threads[THREADS];

	(void)unused;
	handle(true, 0);
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, misuse_again_and_again, &barrier) != 0)
			_exit(UNUSED_STATUS);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	_exit(handled == THREADS * TIMES && heap_is_whole() ? 0 : BROKEN_STATUS);
}

/* Each is reported; no line is broken by another. */
static void
test_threads(void)
{
	static char output[400000];
	int status = in_child(misuse_at_once, NULL, output, sizeof output);

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	if (!CHECK(count_lines(output, twice) == THREADS * TIMES && count_lines(output, "") == THREADS * TIMES))
		fprintf(stderr, "%s\n", output);
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	if (check_glibc)
		return check_end();
	find_functions();
	for (size_t i = 0; i < sizeof misuses / sizeof misuses[0]; i++)
		expect(&misuses[i]);
	test_nesting();
	test_fork_in_handler();
	test_threads();
	return check_end();
}
