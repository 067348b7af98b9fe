/*
 * names.c - flags, alignment, sizes that do not overflow, and the names of labyrinth/gfp.h that stand for others:
 * what the kernel's documentation says of each. More: objects/kernel_names.c, support.c. Clauses: G9.4.
 */
#include <criterion/criterion.h>
#include <labyrinth/gfp.h>
#include <signal.h>

#include "trace.h"

/* ---- flags ------------------------------------------------------------------------------------------------------- */

/* The kernel's values: programs print them, shift them and keep other bits beside them. */
Test(gfp_flags, have_the_kernels_bits)
{
	cr_assert(GFP_KERNEL == 0xcc0 && GFP_ATOMIC == 0x820 && GFP_NOWAIT == 0x2800 && GFP_NOIO == 0xc00 &&
	          GFP_NOFS == 0xc40 && GFP_USER == 0x100cc0 && GFP_DMA == 1 && GFP_DMA32 == 4 && __GFP_ZERO == 0x100);
	cr_assert((GFP_KERNEL & GFP_KERNEL) == GFP_KERNEL && (GFP_NOFS & GFP_KERNEL) != GFP_KERNEL);
	cr_assert((GFP_ATOMIC & GFP_KERNEL) != GFP_KERNEL && (GFP_USER & GFP_KERNEL) == GFP_KERNEL);
	cr_assert((GFP_TRANSHUGE & __GFP_BITS_MASK) == GFP_TRANSHUGE &&
	          (__GFP_ZEROTAGS << 1) == 1u << __GFP_BITS_SHIFT);
	cr_assert(gfpflags_allow_blocking(GFP_NOIO) && !gfpflags_allow_blocking(GFP_KERNEL & ~__GFP_DIRECT_RECLAIM));
	cr_assert(gfp_has_io_fs(GFP_KERNEL) && !gfp_has_io_fs(GFP_NOFS));
	/* a tree's marks */
	gfp_t beside = GFP_NOWAIT | (1u << __GFP_BITS_SHIFT) | (1u << (__GFP_BITS_SHIFT + 2));
	cr_assert_eq(beside & (__GFP_BITS_MASK & ~GFP_ZONEMASK), GFP_NOWAIT);
}

Test(gfp_flags, mean)
{
	cr_assert_eq(lab_gfp(GFP_KERNEL), LAB_GFP_KERNEL);
	cr_assert_eq(lab_gfp(GFP_HIGHUSER | __GFP_NOWARN | __GFP_RETRY_MAYFAIL | __GFP_COMP), LAB_GFP_KERNEL);
	cr_assert_eq(lab_gfp(GFP_ATOMIC), LAB_GFP_ATOMIC);
	cr_assert_eq(lab_gfp(GFP_ATOMIC | GFP_NOWAIT), LAB_GFP_ATOMIC | LAB_GFP_NOWARN);
	cr_assert_eq(lab_gfp(GFP_NOWAIT), LAB_GFP_NOWAIT);
	cr_assert_eq(lab_gfp(0), LAB_GFP_NOWAIT);
	cr_assert_eq(lab_gfp(GFP_KERNEL & ~__GFP_RECLAIM), LAB_GFP_NOWAIT);
	cr_assert_eq(lab_gfp(GFP_NOFS), LAB_GFP_NOFS);
	cr_assert_eq(lab_gfp(GFP_NOIO), LAB_GFP_NOIO);
	cr_assert_eq(lab_gfp(GFP_KERNEL | __GFP_HIGH | __GFP_ZERO), LAB_GFP_HIGH | LAB_GFP_ZERO);
	cr_assert_eq(lab_gfp(GFP_ATOMIC | __GFP_MEMALLOC), LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC);
	cr_assert_eq(lab_gfp(GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOMEMALLOC), LAB_GFP_ATOMIC);
	cr_assert_eq(lab_gfp(GFP_KERNEL | __GFP_NOFAIL | __GFP_NORETRY), LAB_GFP_NOFAIL | LAB_GFP_NORETRY);
}

/* What a pool hands to its source and back means the same. */
Test(gfp_flags, translate_both_ways)
{
	static const unsigned flags[] = {LAB_GFP_KERNEL,
	                                 LAB_GFP_KERNEL | LAB_GFP_NORETRY,
	                                 LAB_GFP_NORECLAIM,
	                                 LAB_GFP_NOFS,
	                                 LAB_GFP_NOIO | LAB_GFP_ZERO,
	                                 LAB_GFP_NOFAIL,
	                                 LAB_GFP_NOWAIT,
	                                 LAB_GFP_NOWAIT | LAB_GFP_ZERO,
	                                 LAB_GFP_ATOMIC,
	                                 LAB_GFP_ATOMIC | LAB_GFP_NOWARN | LAB_GFP_MEMALLOC};

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		cr_assert_eq(lab_gfp(lab_gfp_to_kernel(flags[i])), flags[i], "%x", flags[i]);
	cr_assert_eq(lab_gfp_to_kernel(LAB_GFP_KERNEL), GFP_KERNEL);
	cr_assert_eq(lab_gfp_to_kernel(LAB_GFP_ATOMIC), GFP_ATOMIC);
	cr_assert(!gfpflags_allow_blocking(lab_gfp_to_kernel(LAB_GFP_NORECLAIM)));
}

/* ---- alignment --------------------------------------------------------------------------------------------------- */

static size_t
divisor(size_t size)
{
	size_t d = size & (0 - size);

	return d > ARCH_KMALLOC_MINALIGN ? d : ARCH_KMALLOC_MINALIGN;
}

/* "For sizes which are a power of two, the alignment is also guaranteed to be at least the respective size. For other
 * sizes, the alignment is guaranteed to be at least the largest power-of-two divisor of the size." */
Test(gfp_alignment, of_kmalloc)
{
	static const gfp_t kinds[] = {GFP_KERNEL, GFP_NOWAIT, GFP_ATOMIC, GFP_KERNEL | __GFP_ZERO};

	for (size_t size = 8; size <= KMALLOC_MAX_SIZE; size += size < 5000 ? 8 : size / 64 / 8 * 8 + 8)
		for (int k = 0; k < 4; k++) {
			void *p = kmalloc(size, kinds[k]), *q = kmalloc(size, kinds[k]);
			cr_assert((!p || (uintptr_t)p % divisor(size) == 0) &&
			                  (!q || (uintptr_t)q % divisor(size) == 0),
			          "%zu", size);
			cr_assert((p && q) || kinds[k] == GFP_NOWAIT || kinds[k] == GFP_ATOMIC);
			kfree(p);
			kfree(q);
		}
	for (size_t size = 4096; size <= KMALLOC_MAX_SIZE; size *= 2) {
		void *p = kmalloc(size / 4 * 3, GFP_KERNEL), *q = kvmalloc(size, GFP_KERNEL);
		cr_assert((uintptr_t)p % (size / 4) == 0 && (uintptr_t)q % size == 0, "%zu", size);
		kfree(p);
		kvfree(q);
	}
}

Test(gfp_alignment, of_krealloc)
{
	static const size_t sizes[] = {16,    24,    32,     48,     64,     96,     112,     128,     200,    256,
	                               640,   768,   1024,   4096,   5000,   8192,   12288,   16384,   32768,  49152,
	                               65536, 98304, 100000, 131072, 196608, 262144, 1 << 20, 3 << 19, 1 << 22};
	enum { COUNT = sizeof sizes / sizeof *sizes };

	for (int from = 0; from < COUNT; from++)
		for (int to = 0; to < COUNT; to++) {
			unsigned char *p = kmalloc(sizes[from], GFP_KERNEL);
			size_t kept = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
			memset(p, from + 1, sizes[from]);
			p = krealloc(p, sizes[to], GFP_KERNEL);
			cr_assert((uintptr_t)p % divisor(sizes[to]) == 0, "%zu to %zu", sizes[from], sizes[to]);
			cr_assert(p[0] == from + 1 && p[kept / 2] == from + 1 && p[kept - 1] == from + 1);
			kfree(p);
		}
	/* as 6.18 has it, with an alignment of one's own */
	char *p = krealloc_node_align(kmalloc(40, GFP_KERNEL), 100, 64, GFP_KERNEL, NUMA_NO_NODE);
	cr_assert(p && (uintptr_t)p % 64 == 0);
	p = krealloc(p, 60, GFP_NOWAIT);
	kfree(p);
	cr_assert_null(krealloc_node_align(NULL, 100, 48, GFP_KERNEL, 0));
}

/* "If __GFP_ZERO is requested … bytes beyond are zero", each call of the block's having it. */
/* It stays where it is if moving it could fail; with checks in front of blocks, too. */
Test(gfp_alignment, of_what_shrinks)
{
	enum { BLOCKS = 300 };
	static unsigned char *p[BLOCKS];
	unsigned char *large = kmalloc(200000, GFP_KERNEL), *before = large;

	memset(large, 7, 200000);
	large = krealloc(large, 100000, GFP_ATOMIC);
	cr_assert_eq(large, before);
	cr_assert(large[0] == 7 && large[99999] == 7);
	for (int i = 0; i < BLOCKS; i++)
		p[i] = memset(kmalloc(2048, GFP_KERNEL), i, 2048);
	for (int i = 0; i < BLOCKS; i++) {
		unsigned char *shorter = krealloc(p[i], 1500, i & 1 ? GFP_ATOMIC : GFP_NOWAIT);
		cr_assert_eq(shorter, p[i]);
		cr_assert(shorter[0] == (unsigned char)i && shorter[1499] == (unsigned char)i);
	}
	for (size_t size = 1; size < 300000; size = size * 5 / 4 + 1) {
		void *q = kmalloc(size, GFP_KERNEL);
		cr_assert_eq(kmalloc_size_roundup(size), ksize(q));
		kfree(q);
	}
	for (int i = 0; i < BLOCKS; i++)
		kfree(p[i]); /* what is behind them is whole */
	kfree(large);
}

Test(gfp_alignment, what_grows_zeroed_is_zero)
{
	for (size_t size = 1; size < 1200; size += 7) {
		char *p = kzalloc(size, GFP_KERNEL);
		memset(p, 1, size);
		p = krealloc(p, size + 13, GFP_KERNEL | __GFP_ZERO);
		cr_assert(p[size - 1] == 1 && trace_is_zero(p + size, 13), "%zu", size);
		kfree(p);
		cr_assert_eq(kmalloc_size_roundup(size), ksize(p = kmalloc(size, GFP_KERNEL)));
		kfree(p);
	}
	for (size_t size = 1; size <= 1024; size++)
		cr_assert_eq(lab_kernel_class(size), lab_good_size(size), "%zu", size);
	for (size_t size = 1000; size <= KMALLOC_MAX_SIZE; size += size / 9) {
		void *p = kmalloc(size, GFP_KERNEL);
		cr_assert_eq(kmalloc_size_roundup(size), ksize(p), "%zu", size);
		kfree(p);
	}
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

struct vector {
	unsigned count;
	long elements[];
};

Test(gfp_sizes, saturate)
{
	struct vector *v = NULL;

	cr_assert_eq(struct_size(v, elements, 10), sizeof(struct vector) + 10 * sizeof(long));
	cr_assert_eq(struct_size_t(struct vector, elements, 3), sizeof(struct vector) + 3 * sizeof(long));
	cr_assert_eq(flex_array_size(v, elements, 2), 2 * sizeof(long));
	cr_assert(struct_size(v, elements, SIZE_MAX / 8) == SIZE_MAX && struct_size(v, elements, -1) == SIZE_MAX);
	cr_assert(array_size(SIZE_MAX, 2) == SIZE_MAX && array_size(3, 5) == 15 && array3_size(2, 3, 4) == 24);
	cr_assert(size_add(SIZE_MAX, 1) == SIZE_MAX && size_add(array_size(SIZE_MAX, 2), 5) == SIZE_MAX);
	cr_assert(size_sub(array_size(SIZE_MAX, 2), 5) == SIZE_MAX && size_sub(9, 4) == 5 && size_mul(6, 7) == 42);
	cr_assert_null(kmalloc(struct_size(v, elements, SIZE_MAX / 8), GFP_KERNEL));
	cr_assert_null(kvzalloc(array_size(SIZE_MAX / 2, 3), GFP_KERNEL));
	v = kzalloc(struct_size(v, elements, 100), GFP_KERNEL);
	cr_assert(v && trace_is_zero(v->elements, 100 * sizeof(long)));
	kfree(v);
}

static char of_constant_length[struct_size_t(struct vector, elements, 3)];

/* What is constant can be the length of an array. */
Test(gfp_sizes, of_structs_on_the_stack)
{
	unsigned char small = 200;

	DEFINE_FLEX(struct vector, zeroed, elements, count, 6);
	DEFINE_RAW_FLEX(struct vector, raw, elements, 4);
	cr_assert_eq(sizeof of_constant_length, sizeof(struct vector) + 3 * sizeof(long));
	cr_assert(sizeof zeroed_u == struct_size(zeroed, elements, 6) && sizeof raw_u == struct_size(raw, elements, 4));
	cr_assert(zeroed->count == 6 && trace_is_zero(zeroed->elements, 6 * sizeof(long)));
	memset(raw, 1, sizeof raw_u);
	memset(of_constant_length, 1, sizeof of_constant_length);
	cr_assert_eq(struct_size(raw, elements, small), sizeof(struct vector) + 200 * sizeof(long));
}

/* ---- vmalloc, copies, nodes -------------------------------------------------------------------------------------- */

Test(gfp_names, vmalloc_and_its_like)
{
	char *p = vmalloc(10), *q = vzalloc(3 * PAGE_SIZE + 1), *r = __vmalloc(5 << 20, GFP_KERNEL | __GFP_ZERO),
	     *s = vcalloc(10, 1000), *t = vmalloc_array(10, 1000), *u = vmalloc_node(100, 0);

	cr_assert(p && q && r && s && t && u && !vmalloc(0) && !vcalloc(SIZE_MAX / 2, 3));
	cr_assert(((uintptr_t)p | (uintptr_t)q | (uintptr_t)r | (uintptr_t)t | (uintptr_t)u) % PAGE_SIZE == 0);
	cr_assert(trace_is_zero(q, 3 * PAGE_SIZE + 1) && trace_is_zero(r, 5 << 20) && trace_is_zero(s, 10000));
	memset(q, 3, 3 * PAGE_SIZE + 1);
	q = vrealloc(q, 900000, GFP_KERNEL | __GFP_ZERO);
	cr_assert(q && q[3 * PAGE_SIZE] == 3 && trace_is_zero(q + 3 * PAGE_SIZE + 1, 900000 - 3 * PAGE_SIZE - 1));
	cr_assert(!vrealloc(q, 0, GFP_KERNEL) && !is_vmalloc_addr(p));
	vfree(p);
	kvfree(r);
	vfree_atomic(s);
	vfree(t);
	vfree(u);
	vfree(NULL);
}

Test(gfp_names, kvrealloc_and_copies)
{
	char *p = kvmalloc(100, GFP_KERNEL), *text, *copy;

	memset(p, 9, 100);
	p = kvrealloc(p, 6 << 20, GFP_KERNEL);
	cr_assert(p && p[99] == 9);
	p = kvrealloc(p, 50, GFP_KERNEL);
	cr_assert(p && p[49] == 9 && kvrealloc(p, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
	text = kasprintf(GFP_KERNEL, "%s-%d", "eth", 7);
	copy = kmemdup_array("abcdef", 3, 2, GFP_ATOMIC);
	cr_assert_str_eq(text, "eth-7");
	cr_assert(memcmp(copy, "abcdef", 6) == 0 && !kmemdup_array("", SIZE_MAX, 2, GFP_KERNEL));
	kfree(text);
	kfree(copy);
	kvfree_sensitive(kvmemdup("abc", 4, GFP_KERNEL), 4);
	kfree_const(kstrdup_const("constant", GFP_KERNEL));
	kfree(kasprintf(GFP_ATOMIC, "%0*d", 3000, 1));
}

Test(gfp_names, with_nodes_and_without_profiling)
{
	struct kmem_cache *cache = kmem_cache_create_usercopy("node", 40, 0, SLAB_PANIC, 0, 40, NULL);
	void *blocks[] = {kmalloc_node(10, GFP_KERNEL, 0),
	                  kzalloc_node(10, GFP_KERNEL, NUMA_NO_NODE),
	                  kcalloc_node(2, 5, GFP_KERNEL, 0),
	                  kmalloc_array_node(2, 5, GFP_KERNEL, 0),
	                  kvmalloc_node(10, GFP_KERNEL, 0),
	                  kvzalloc_node(10, GFP_KERNEL, 0),
	                  kmem_cache_alloc_node(cache, GFP_KERNEL, 0),
	                  kmalloc_noprof(10, GFP_KERNEL),
	                  alloc_hooks(kzalloc_noprof(10, GFP_KERNEL)),
	                  kmem_cache_alloc_noprof(cache, GFP_KERNEL),
	                  kmalloc_track_caller(10, GFP_KERNEL),
	                  krealloc_noprof(NULL, 10, GFP_KERNEL)};

	for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
		cr_assert(blocks[i]);
	kfree_bulk(sizeof blocks / sizeof *blocks, blocks);
	__free_pages(alloc_pages_node(0, GFP_KERNEL, 2), 2);
	struct page *pages[5] = {NULL, alloc_page(GFP_KERNEL)}, *second = pages[1];
	cr_assert(alloc_pages_bulk(GFP_KERNEL, 5, pages) == 5 && pages[1] == second && pages[4]);
	kmem_cache_destroy(cache);
}

static void
construct(void *object)
{
	memset(object, 5, 24);
}

Test(gfp_names, cache_by_arguments)
{
	struct kmem_cache_args args = {.align = 128, .ctor = construct};
	struct kmem_cache *cache = kmem_cache_create("by args", 24, &args, SLAB_ACCOUNT),
	                  *plain = kmem_cache_create("by none", 24, NULL, 0);
	char *p = kmem_cache_alloc(cache, GFP_KERNEL), *q = kmem_cache_alloc(plain, GFP_KERNEL);

	cr_assert(p && q && (uintptr_t)p % 128 == 0 && p[23] == 5);
	kfree(p);
	kfree(q);
	kmem_cache_destroy(cache);
	kmem_cache_destroy(plain);
}

/* ---- cleanup ----------------------------------------------------------------------------------------------------- */

static int closed;

static void
close_it(int *handle)
{
	closed += *handle;
}
DEFINE_FREE(close_it, int *, if (_T) close_it(_T))

static void *
keep_or_free(bool keep, struct kmem_cache *cache)
{
	int *first __free(kfree) = kmem_cache_alloc(cache, GFP_KERNEL), handle = 3;
	char *second __free(kvfree) = kvmalloc(100, GFP_KERNEL), *third __free(kfree) = NULL;
	int *fourth __free(close_it) = &handle;

	(void)second;
	(void)third;
	(void)fourth;
	if (!keep)
		return NULL;
	return_ptr(first);
}

Test(gfp_names, what_goes_out_of_scope_is_freed)
{
	struct kmem_cache *cache = kmem_cache_create("scoped", 40, 0, 0, NULL);
	struct lab_cache_stats stats;

	cr_assert(!keep_or_free(false, cache) && closed == 3);
	lab_cache_stats_get((struct lab_cache *)cache, &stats);
	cr_assert_eq(stats.live, 0);
	void *kept = keep_or_free(true, cache);
	lab_cache_stats_get((struct lab_cache *)cache, &stats);
	cr_assert(kept && stats.live == 1 && closed == 6);
	kfree(kept);
	kmem_cache_destroy(cache);
}

/* ---- pools, devices ---------------------------------------------------------------------------------------------- */

Test(gfp_names, pool_inside_another_struct)
{
	struct {
		int before;
		mempool_t pool;
		int after;
	} owner = {.before = 1, .after = 2};
	struct kmem_cache *cache = kmem_cache_create("inside", 100, 0, 0, NULL);

	mempool_exit(&owner.pool);
	cr_assert(!mempool_initialized(&owner.pool) && mempool_init_slab_pool(&owner.pool, 3, cache) == 0);
	cr_assert(mempool_initialized(&owner.pool) && owner.pool.min_nr == 3 && owner.pool.pool_data == cache);
	void *p = mempool_alloc(&owner.pool, GFP_NOIO), *q = mempool_alloc_preallocated(&owner.pool);
	cr_assert(p && q && !mempool_is_saturated(&owner.pool));
	mempool_free(q, &owner.pool);
	mempool_free(p, &owner.pool);
	cr_assert(mempool_is_saturated(&owner.pool) && mempool_resize(&owner.pool, 6) == 0 && owner.pool.min_nr == 6);
	mempool_exit(&owner.pool);
	mempool_exit(&owner.pool);
	cr_assert(owner.before == 1 && owner.after == 2);
	cr_assert_eq(mempool_init_kmalloc_pool(&owner.pool, 2, KMALLOC_MAX_SIZE + 1), -ENOMEM);
	cr_assert_eq(mempool_init_page_pool(&owner.pool, -1, 0), -EINVAL);
	kmem_cache_destroy(cache);
}

Test(gfp_names, dma_pools)
{
	struct dma_pool *pool = dma_pool_create("descriptors", NULL, 100, 16, 4096);
	dma_addr_t handles[200];
	char *blocks[200];

	for (int i = 0; i < 200; i++) {
		blocks[i] = i % 2 ? dma_pool_alloc(pool, GFP_ATOMIC, &handles[i])
		                  : dma_pool_zalloc(pool, GFP_KERNEL, &handles[i]);
		cr_assert(blocks[i] && handles[i] == (dma_addr_t)(uintptr_t)blocks[i]);
		cr_assert_eq((uintptr_t)blocks[i] / 4096, ((uintptr_t)blocks[i] + 99) / 4096, "it crosses a boundary");
		cr_assert(i % 2 || trace_is_zero(blocks[i], 100));
		memset(blocks[i], 1, 100);
	}
	for (int i = 0; i < 200; i++)
		dma_pool_free(pool, blocks[i], handles[i]);
	dma_pool_destroy(pool);
	cr_assert(!dma_pool_create("x", NULL, 0, 0, 0) && !dma_pool_create("x", NULL, 10, 3, 0) &&
	          !dma_pool_create("x", NULL, 100, 0, 64));
}

static char order[10];
static char letters[][2] = {"a", "b", "c"};

static void
note(void *letter)
{
	strcat(order, letter);
}

Test(gfp_names, what_a_device_has_goes_with_it)
{
	struct device device = {NULL, "test", NULL, NULL};
	struct kmem_cache *cache = kmem_cache_create("of device", 40, 0, 0, NULL);
	struct lab_stats before, after;

	lab_stats_get(&before);
	char *p = devm_kzalloc(&device, 100, GFP_KERNEL), *q = devm_kcalloc(&device, 10, 10, GFP_KERNEL);
	cr_assert(p && q && trace_is_zero(p, 100) && trace_is_zero(q, 100));
	cr_assert_eq(devm_add_action(&device, note, letters[0]), 0);
	cr_assert_str_eq(devm_kasprintf(&device, GFP_KERNEL, "%s", "x"), "x");
	cr_assert_str_eq(devm_kstrdup(&device, "text", GFP_KERNEL), "text");
	devm_kfree(&device, q);
	cr_assert_eq(devm_add_action_or_reset(&device, note, letters[1]), 0);
	cr_assert_eq(devm_add_action(&device, note, letters[2]), 0);
	devm_remove_action(&device, note, letters[2]);
	cr_assert(devm_kmemdup(&device, "abc", 4, GFP_ATOMIC) && devm_kmalloc(&device, 10, GFP_KERNEL));
	p = devm_krealloc(&device, p, 10000, GFP_KERNEL);
	cr_assert(p);
	memset(p, 1, 10000);
	devres_release_all(&device);
	cr_assert_str_eq(order, "ba", "the newest first");
	lab_stats_get(&after);
	cr_assert(after.blocks == before.blocks && !device.devres);
	kmem_cache_destroy(cache);
}
