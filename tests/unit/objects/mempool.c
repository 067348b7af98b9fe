/* mempool.c - the pool's minimum, its order of sources, waiting, resizing; INV-POOL-1 and -2 against a pool that
 * counts. Clauses: G9.4. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "base/atomic.h"
#include "require.h"

/* A source with a limit, which counts. */
static _Atomic size_t made, unmade, source_limit;
static _Atomic unsigned last_gfp;

static void *
count_alloc(unsigned gfp, void *data)
{
	REQUIRE(data == &made);
	last_gfp = gfp;
	if (made - unmade >= source_limit) {
		errno = ENOMEM;
		return NULL;
	}
	made++;
	size_t *p = lab_malloc(sizeof *p);
	*p = 0;
	return p;
}

static void
count_release(void *element, void *data)
{
	REQUIRE(data == &made);
	unmade++;
	lab_free(element);
}

static struct lab_mempool *
new_pool(size_t min, size_t limit)
{
	source_limit = limit;
	return lab_mempool_create(min, count_alloc, count_release, &made);
}

Test(mempool, gives_its_minimum_when_the_source_has_none)
{
	static const unsigned kinds[] = {LAB_GFP_ATOMIC, LAB_GFP_NOWAIT, LAB_GFP_KERNEL};
	struct lab_mempool *pool = new_pool(40, 40);
	void *held[40];

	cr_assert_eq(lab_mempool_available(pool), 40);
	for (int i = 0; i < 40; i++) {
		errno = EXDEV;
		held[i] = lab_mempool_alloc(pool, kinds[i % 3]);
		cr_assert(held[i] && errno == EXDEV, "%d", i);
		cr_assert_eq((*(size_t *)held[i])++, 0, "twice");
	}
	cr_assert_eq(lab_mempool_available(pool), 0);
	cr_assert_null(lab_mempool_alloc(pool, LAB_GFP_ATOMIC));
	cr_assert_eq(errno, EXDEV);
	cr_assert_null(lab_mempool_alloc(pool, LAB_GFP_NOWAIT));
	cr_assert_eq(errno, ENOMEM);
	for (int i = 0; i < 40; i++)
		lab_mempool_free(pool, held[i]);
	cr_assert_eq(lab_mempool_available(pool), 40);
	lab_mempool_destroy(pool);
	cr_assert(made == 40 && unmade == 40);
}

Test(mempool, asks_the_source_first_and_fills_itself_up_first)
{
	struct lab_mempool *pool = new_pool(2, 10);
	void *a = lab_mempool_alloc(pool, LAB_GFP_ATOMIC), *b, *c;

	cr_assert(made == 3 && lab_mempool_available(pool) == 2);
	cr_assert_eq(last_gfp, LAB_GFP_ATOMIC | LAB_GFP_NOWARN);
	source_limit = 0;
	b = lab_mempool_alloc(pool, LAB_GFP_ATOMIC);
	c = lab_mempool_alloc(pool, LAB_GFP_KERNEL);
	cr_assert(b && c && b != c && lab_mempool_available(pool) == 0);
	lab_mempool_free(pool, a);
	lab_mempool_free(pool, b);
	cr_assert(unmade == 0 && lab_mempool_available(pool) == 2);
	lab_mempool_free(pool, c);
	cr_assert(unmade == 1 && lab_mempool_available(pool) == 2);
	lab_mempool_free(pool, NULL);
	lab_mempool_destroy(pool);
	cr_assert(made == 3 && unmade == 3);
}

Test(mempool, that_cannot_be_filled_is_not_made)
{
	errno = 0;
	cr_assert_null(new_pool(10, 9));
	cr_assert_eq(errno, ENOMEM);
	cr_assert(made == 9 && unmade == 9);
	cr_assert_null(lab_mempool_create_sized(1, SIZE_MAX));
	lab_mempool_destroy(NULL);
}

static void *
free_later(void *pool_and_element)
{
	void **pair = pool_and_element;
	const struct timespec delay = {.tv_nsec = 30000000};

	nanosleep(&delay, NULL);
	lab_mempool_free(pair[0], pair[1]);
	return NULL;
}

Test(mempool, kernel_waits_for_a_free_of_another_thread, .timeout = 200)
{
	struct lab_mempool *pool = new_pool(1, 1);
	void *pair[] = {pool, lab_mempool_alloc(pool, LAB_GFP_KERNEL)};
	pthread_t thread;

	pthread_create(&thread, NULL, free_later, pair);
	void *p = lab_mempool_alloc(pool, LAB_GFP_KERNEL);
	cr_assert_eq(p, pair[1]);
	pthread_join(thread, NULL);
	lab_mempool_free(pool, p);
	lab_mempool_destroy(pool);
}

/* The holder of the element may be the very frame that was interrupted, however many calls the handler has made. */
Test(mempool, kernel_does_not_wait_in_a_long_handler, .timeout = 200)
{
	struct lab_mempool *pool = new_pool(1, 1);
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	void *p = lab_mempool_alloc(pool, LAB_GFP_KERNEL), *blocks[100];
	uintptr_t word = lab_thread.word;

	lab_thread.word = here + 64; /* a frame above, in the middle of a call */
	for (int i = 0; i < 100; i++)
		blocks[i] = lab_malloc(10);
	cr_assert_eq(lab_thread.word, here + 64);
	errno = 0;
	cr_assert_null(lab_mempool_alloc(pool, LAB_GFP_KERNEL));
	cr_assert_eq(errno, ENOMEM);
	for (int i = 0; i < 100; i++)
		lab_free(blocks[i]);
	lab_thread.word = word; /* that frame ends */
	lab_mempool_free(pool, p);
	lab_mempool_destroy(pool);
}

static void (*wait_for)(_Atomic uint32_t *word, uint32_t value, unsigned ms);
static _Atomic bool waits;

/* Not the slice of 10 ms: only a wake ends it. */
static void
wait_for_a_wake(_Atomic uint32_t *word, uint32_t value, unsigned ms)
{
	(void)ms;
	waits = true;
	wait_for(word, value, 1000000);
}

static void *
free_when_it_waits(void *pool_and_element)
{
	void **pair = pool_and_element;

	while (!waits)
		sched_yield();
	lab_mempool_free(pair[0], pair[1]);
	return NULL;
}

Test(mempool, waiter_is_woken, .timeout = 200)
{
	struct lab_mempool *pool = new_pool(1, 1);

	wait_for = lab_os.wait;
	lab_os.wait = wait_for_a_wake;
	for (int round = 0; round < 20; round++) {
		void *pair[] = {pool, lab_mempool_alloc(pool, LAB_GFP_KERNEL)};
		pthread_t thread;
		waits = false;
		pthread_create(&thread, NULL, free_when_it_waits, pair);
		void *p = lab_mempool_alloc(pool, LAB_GFP_KERNEL);
		cr_assert_eq(p, pair[1]);
		pthread_join(thread, NULL);
		lab_mempool_free(pool, p);
	}
}

static void *
raise_limit_later(void *unused)
{
	const struct timespec delay = {.tv_nsec = 30000000};

	nanosleep(&delay, NULL);
	source_limit = 2;
	return unused;
}

Test(mempool, kernel_sees_that_the_source_has_memory_again, .timeout = 200)
{
	struct lab_mempool *pool = new_pool(1, 1);
	void *p = lab_mempool_alloc(pool, LAB_GFP_KERNEL);
	pthread_t thread;

	pthread_create(&thread, NULL, raise_limit_later, NULL);
	void *q = lab_mempool_alloc(pool, LAB_GFP_KERNEL);
	cr_assert(q && q != p);
	pthread_join(thread, NULL);
}

/* As in a handler that interrupted malloc: the heap is in use by this thread. */
Test(mempool, kernel_does_not_wait_inside_the_allocator, .timeout = 200)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	struct lab_mempool *pool = new_pool(1, 1);

	cr_assert(lab_mempool_alloc(pool, LAB_GFP_KERNEL));
	cr_assert(lab_enter(&guard));
	cr_assert_null(lab_mempool_alloc(pool, LAB_GFP_KERNEL));
	lab_leave(&guard);
}

Test(mempool, without_a_minimum_has_nothing_to_wait_for, .timeout = 200)
{
	struct lab_mempool *pool = new_pool(0, 0);

	cr_assert(pool);
	cr_assert_null(lab_mempool_alloc(pool, LAB_GFP_KERNEL));
	cr_assert_eq(errno, ENOMEM);
	lab_mempool_destroy(pool);
}

Test(mempool, grows_and_shrinks)
{
	struct lab_mempool *pool = new_pool(3, 1000);
	void *held[3];

	source_limit = 3;
	for (int i = 0; i < 3; i++)
		held[i] = lab_mempool_alloc(pool, LAB_GFP_KERNEL);
	source_limit = 1000;
	cr_assert(lab_mempool_resize(pool, 500));
	cr_assert_eq(lab_mempool_available(pool), 497);
	for (int i = 0; i < 3; i++)
		lab_mempool_free(pool, held[i]);
	cr_assert_eq(lab_mempool_available(pool), 500);
	cr_assert(lab_mempool_resize(pool, 7));
	cr_assert(lab_mempool_available(pool) == 7 && made - unmade == 7);
	/* what the source has not got now comes by later frees, as with the kernel's */
	source_limit = 20;
	errno = EXDEV;
	cr_assert(lab_mempool_resize(pool, 22));
	cr_assert(errno == EXDEV && lab_mempool_available(pool) == 20 && made - unmade == 20);
	void *late[3];
	for (int i = 0; i < 3; i++)
		late[i] = memset(lab_malloc(sizeof(size_t)), 0, sizeof(size_t));
	made += 3;
	for (int i = 0; i < 3; i++) {
		lab_mempool_free(pool, late[i]);
		cr_assert_eq(lab_mempool_available(pool), i == 0 ? 21 : 22);
	}
	cr_assert_eq(made - unmade, 22, "one too many went back");
	errno = EXDEV;
	cr_assert_not(lab_mempool_resize(pool, LAB_MEMPOOL_MAX + 1));
	cr_assert(errno == ENOMEM && lab_mempool_available(pool) == 22);
	lab_mempool_destroy(pool);
	cr_assert_eq(made, unmade);
}

/* What lies above the new minimum goes into slots below it that are empty, not back to the source. */
Test(mempool, keeps_what_it_has_when_it_shrinks)
{
	struct lab_mempool *pool = new_pool(10, 10);
	void *held[5];

	for (int i = 0; i < 5; i++)
		held[i] = lab_mempool_alloc(pool, LAB_GFP_ATOMIC);
	cr_assert(lab_mempool_resize(pool, 5));
	cr_assert(lab_mempool_available(pool) == 5 && unmade == 0);
	for (int i = 0; i < 5; i++)
		lab_mempool_free(pool, held[i]);
	cr_assert_eq(unmade, 5);
	lab_mempool_destroy(pool);
	cr_assert_eq(unmade, 10);
}

Test(mempool, of_a_size)
{
	struct lab_mempool *pool = lab_mempool_create_sized(8, 5000);
	char *held[100];

	for (int i = 0; i < 100; i++) {
		held[i] = lab_mempool_alloc(pool, i % 2 ? LAB_GFP_KERNEL | LAB_GFP_ZERO : LAB_GFP_KERNEL);
		cr_assert(held[i] && lab_usable_size(held[i]) >= 5000);
		for (int j = 0; j < 5000 && i % 2; j++)
			cr_assert_eq(held[i][j], 0);
		memset(held[i], i + 1, 5000);
	}
	for (int i = 0; i < 100; i++) {
		cr_assert(held[i][0] == i + 1 && held[i][4999] == i + 1);
		lab_mempool_free(pool, held[i]);
	}
	lab_mempool_destroy(pool);
}

/* ATOMIC gets from the reserve first; when that is empty, from the pool; zeroed if it asks for that. */
Test(mempool, atomic_draws_on_the_reserve_first)
{
	struct lab_mempool *pool = lab_mempool_create_sized(2, 3000);
	char *p, *zeroed = NULL;
	size_t of_reserve = 0;

	p = lab_mempool_alloc(pool, LAB_GFP_ATOMIC);
	cr_assert(p && lab_mempool_available(pool) == 2);
	memset(p, 0xee, 3000);
	while (lab_mempool_available(pool) == 2) {
		zeroed = lab_mempool_alloc(pool, LAB_GFP_ATOMIC | LAB_GFP_ZERO);
		of_reserve++;
	}
	cr_assert(zeroed && of_reserve > 1);
	for (int i = 0; i < 3000; i++)
		cr_assert_eq(zeroed[i], 0);
	memset(zeroed, 0xee, 3000);
	lab_mempool_free(pool, zeroed);
	zeroed = lab_mempool_alloc(pool, LAB_GFP_ATOMIC | LAB_GFP_ZERO);
	for (int i = 0; i < 3000; i++)
		cr_assert_eq(zeroed[i], 0);
	cr_assert(lab_mempool_alloc(pool, LAB_GFP_ATOMIC));
	cr_assert_null(lab_mempool_alloc(pool, LAB_GFP_ATOMIC));
}
