/* scenes_kernel.c - what the kernel's names need beyond lab_ (labyrinth/kernel/support.h): references to pages, blocks
 * that are given back page by page, an instance for each processor, shrinkers; handlers use the same pages and bitmaps.
 * See scenes.h. */
#include <stdatomic.h>
#include <string.h>

#include "calls.h"
#include "handler.h"
#include "kernel_functions.h"
#include "scenes.h"

enum { PAGE = 4096, ORDERS = 5, REFERENCES = 5, INSTANCES = 24 };

/* ---- stepped calls ----------------------------------------------------------------------------------------------- */

static void
step_get(void *page)
{
	call_begin();
	call_on();
	bool done = kernel.get(page);
	call_off();
	REQUIRE(done);
}

/* By either function; whether it was the last reference. */
static bool
step_put(void *page, unsigned order, bool with_order)
{
	call_begin();
	call_on();
	bool was_last = with_order ? kernel.put_order(page, order) : kernel.put(page);
	call_off();
	return was_last;
}

static void
step_split(void *pages, unsigned order)
{
	call_begin();
	call_on();
	bool done = kernel.split(pages, order);
	call_off();
	REQUIRE(done);
}

static void *
step_percpu_alloc(size_t size, size_t align)
{
	call_begin();
	call_on();
	void *instance = kernel.percpu_alloc(size, align, LAB_GFP_KERNEL);
	call_off();
	REQUIRE(instance);
	return instance;
}

static void
step_percpu_free(void *instance)
{
	call_begin();
	call_on();
	kernel.percpu_free(instance);
	call_off();
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/* The main program has it, and handlers have `kept` references more, which they change as they come. */
static void *_Atomic common_page;
static _Atomic unsigned kept;

static void
check_count(void *page, unsigned own)
{
	unsigned before = kept, count = kernel.count(page);

	if (kept == before)
		REQUIRE(count == own + before);
}

/* Each page of a block has its own contents, whatever is given back around it. */
static void
give_back_by_pages(unsigned order)
{
	unsigned char *pages = kernel.alloc_pages(LAB_GFP_KERNEL, order);
	size_t count = (size_t)1 << order;

	REQUIRE(pages);
	for (size_t i = 0; i < count; i++)
		memset(pages + i * PAGE, (int)i, PAGE);
	step_split(pages, order);
	for (size_t i = 0; i < count; i++) {
		size_t at = (i * 7 + 3) % count;
		unsigned char *page = pages + at * PAGE;
		REQUIRE(page[0] == at && page[PAGE - 1] == at);
		REQUIRE(step_put(page, 0, i % 2));
	}
}

static void
step_put_exact(void *pages, size_t count)
{
	call_begin();
	call_on();
	kernel.put_exact(pages, count * PAGE);
	call_off();
}

/* A part of the pieces at once; a page that has another reference stays. And kfree of a block that has one. */
static void
give_back_exactly(unsigned order)
{
	unsigned char *pages = kernel.alloc_pages(LAB_GFP_KERNEL, order);
	size_t count = (size_t)1 << order;

	REQUIRE(pages);
	step_split(pages, order);
	memset(pages, 0x3c, PAGE);
	REQUIRE(kernel.get(pages));
	step_put_exact(pages, count / 2);
	step_put_exact(pages + count / 2 * PAGE, count - count / 2);
	REQUIRE(pages[0] == 0x3c && pages[PAGE - 1] == 0x3c);
	REQUIRE(step_put(pages, 0, false));
	pages = kernel.alloc_pages(LAB_GFP_KERNEL, order);
	REQUIRE(pages && kernel.get(pages));
	call_begin();
	call_on();
	bool is_last = kernel.let_go(pages);
	call_off();
	REQUIRE(!is_last);
	step_put_exact(pages, count);
}

static void
use_references(unsigned order)
{
	unsigned char *pages = kernel.alloc_pages(LAB_GFP_KERNEL, order);

	REQUIRE(pages);
	memset(pages, 0x5a, PAGE);
	common_page = pages;
	for (unsigned i = 1; i <= REFERENCES; i++) {
		step_get(pages);
		check_count(pages, 1 + i);
	}
	for (unsigned i = REFERENCES; i > 0; i--) {
		REQUIRE(!step_put(pages, order, i % 2));
		check_count(pages, i);
		REQUIRE(pages[PAGE - 1] == 0x5a);
	}
	common_page = NULL;
	for (; kept > 0; kept--)
		REQUIRE(!step_put(pages, order, false));
	REQUIRE(kernel.count(pages) == 1 && step_put(pages, order, true));
}

/* ---- processors -------------------------------------------------------------------------------------------------- */

static void
fill(unsigned char *instance, size_t size, int value)
{
	for (unsigned cpu = 0; cpu < kernel.processors(); cpu++)
		memset(instance + cpu * LAB_PERCPU_STRIDE, value, size);
}

static void
check_instance(const unsigned char *instance, size_t size, unsigned char value)
{
	for (unsigned cpu = 0; cpu < kernel.processors(); cpu++, instance += LAB_PERCPU_STRIDE)
		REQUIRE(instance[0] == value && instance[size - 1] == value);
}

static void
check_new_instance(const unsigned char *instance, size_t size, size_t align)
{
	REQUIRE((uintptr_t)instance % align == 0);
	for (unsigned cpu = 0; cpu < kernel.processors(); cpu++)
		check_zero(instance + cpu * LAB_PERCPU_STRIDE, size);
}

static void
use_processors(void)
{
	static const size_t sizes[] = {8, 40, 1000, 64, 1024, 2500, 16, 4096};
	static unsigned char *instances[INSTANCES];

	for (int i = 0; i < INSTANCES; i++) {
		instances[i] = step_percpu_alloc(sizes[i % 8], (size_t)16 << i % 8);
		check_new_instance(instances[i], sizes[i % 8], (size_t)16 << i % 8);
		fill(instances[i], sizes[i % 8], i + 1);
	}
	for (int i = 0; i < INSTANCES; i++) {
		int at = i * 5 % INSTANCES;
		check_instance(instances[at], sizes[at % 8], (unsigned char)(at + 1));
		step_percpu_free(instances[at]);
	}
}

/* ---- what handlers do -------------------------------------------------------------------------------------------- */

/* Kept from one to the next, so that a change that is lost shows: references, a page of two, an instance. Whoever
 * works with one has taken it out: a handler may be interrupted in turn. */
static unsigned char *_Atomic rest_of_pages;
static unsigned char *_Atomic instance;

/* Not at every instruction: of a word that is changed as often no compare-and-swap succeeds. Each failure is another's
 * success, which is what is promised. */
static void
change_references(uint32_t n)
{
	void *page = n % 16 == 0 ? common_page : NULL;
	unsigned references = kept;

	if (page && references < n / 16 % 5) {
		REQUIRE(kernel.get(page));
		kept++;
	} else if (page && references > 0 && atomic_compare_exchange_strong(&kept, &references, references - 1)) {
		REQUIRE(!kernel.put(page));
	}
}

static void
change_pages(uint32_t n)
{
	unsigned char *page = atomic_exchange(&rest_of_pages, NULL);

	if (page) {
		REQUIRE(page[0] == 0x66 && kernel.put(page));
		return;
	}
	page = kernel.alloc_pages(n % 4 ? LAB_GFP_KERNEL : LAB_GFP_NOWAIT, 1);
	if (!page)
		return;
	REQUIRE(kernel.split(page, 1) && kernel.put(page));
	page = atomic_exchange(&rest_of_pages, memset(page + PAGE, 0x66, PAGE));
	if (page)
		REQUIRE(kernel.put(page));
}

/* Its first bytes say how large it is. */
static void
change_instance(uint32_t n)
{
	unsigned char *one = atomic_exchange(&instance, NULL), *none = NULL;
	size_t size = 16 + n % 2000;

	if (one) {
		memcpy(&size, one, sizeof size);
		memset(one, 0x99, sizeof size);
		check_instance(one, size, 0x99);
		kernel.percpu_free(one);
		return;
	}
	one = kernel.percpu_alloc(size, 16, LAB_GFP_ATOMIC);
	if (!one)
		return;
	check_new_instance(one, size, 16);
	fill(one, size, 0x99);
	memcpy(one, &size, sizeof size);
	if (!atomic_compare_exchange_strong(&instance, &none, one))
		kernel.percpu_free(one);
}

static void
change_all(uint32_t n)
{
	change_references(n);
	change_pages(n);
	if (n % 8 == 1) /* as change_references */
		change_instance(n);
}

static void
give_all_back(void)
{
	unsigned char *page = rest_of_pages, *one = instance;

	rest_of_pages = instance = NULL;
	if (page)
		REQUIRE(kernel.put(page));
	if (one)
		kernel.percpu_free(one);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static size_t
shrink_nothing(unsigned gfp, void *context)
{
	(void)gfp;
	(void)context;
	return 0;
}

void
scene_kernel(void)
{
	if (!find_kernel_functions())
		return;
	/* where breakpoints interrupt, each instruction once, handlers would pass all of these first */
	handler_also = call_mode == UNSTEPPED ? NULL : change_all;
	for (unsigned order = 0; order < ORDERS; order++) {
		use_references(order);
		give_back_by_pages(order);
		if (order > 0)
			give_back_exactly(order);
	}
	use_processors();
	call_begin();
	call_on();
	bool is_added = kernel.shrinker_add(shrink_nothing, NULL);
	kernel.shrinker_remove(shrink_nothing, NULL);
	call_off();
	REQUIRE(is_added);
	handler_also = NULL;
	give_all_back();
}
