/*
 * page.h - pages, folios and fragments of pages. A struct page is the page itself: there is no array of descriptors
 * beside the memory, and so a page has an address and a count of references, and no other field.
 */
#ifndef LABYRINTH_KERNEL_PAGE_H
#define LABYRINTH_KERNEL_PAGE_H

#include <labyrinth/kernel/block.h>

/* A program with a struct page of its own defines this; `page + 1` is then its own, too. */
#ifndef LAB_KERNEL_OWN_PAGE
struct page {
	unsigned char memory[4096];
};
#endif

LAB_KERNEL_CALL void *
lab_kernel_pages(gfp_t gfp, unsigned order)
{
	unsigned lab = lab_gfp(gfp);

	return LAB_KERNEL_FAULT((size_t)4096 << (order < 32 ? order : 32), lab) ? NULL : lab_alloc_pages(lab, order);
}

#ifndef page_address
static inline void *
page_address(const struct page *page)
{
	return (void *)(uintptr_t)page;
}
#endif

#ifndef virt_to_page
static inline struct page *
virt_to_page(const void *address)
{
	return (struct page *)((uintptr_t)address & PAGE_MASK);
}
#endif

#ifndef page_to_virt
#define page_to_virt(page) page_address(page)
#endif
#ifndef vmalloc_to_page
#define vmalloc_to_page(address) virt_to_page(address)
#endif
#ifndef page_to_pfn
#define page_to_pfn(page) ((unsigned long)(uintptr_t)(page) >> PAGE_SHIFT)
#endif
#ifndef pfn_to_page
#define pfn_to_page(pfn) ((struct page *)((uintptr_t)(pfn) << PAGE_SHIFT))
#endif
#ifndef nth_page
#define nth_page(first, n) ((struct page *)((char *)(first) + ((size_t)(n) << PAGE_SHIFT)))
#endif

/* The least order of which a block holds `size` bytes. */
#ifndef get_order
static inline int
get_order(unsigned long size)
{
	int order = 0;

	for (size = size ? (size - 1) >> PAGE_SHIFT : 0; size; size >>= 1)
		order++;
	return order;
}
#endif

/* ---- pages ------------------------------------------------------------------------------------------------------- */

#ifndef alloc_pages
LAB_KERNEL_CALL struct page *
alloc_pages(gfp_t gfp, unsigned int order)
{
	return (struct page *)lab_kernel_pages(gfp, order);
}
#endif

#ifndef alloc_page
#define alloc_page(gfp) ((struct page *)lab_kernel_pages((gfp), 0))
#endif
#ifndef alloc_pages_node
#define alloc_pages_node(node, gfp, order) ((void)(node), (struct page *)lab_kernel_pages((gfp), (order)))
#endif
#ifndef __alloc_pages_node
#define __alloc_pages_node(node, gfp, order) ((void)(node), (struct page *)lab_kernel_pages((gfp), (order)))
#endif
#ifndef dev_alloc_pages
#define dev_alloc_pages(order) ((struct page *)lab_kernel_pages(GFP_ATOMIC | __GFP_NOWARN | __GFP_COMP, (order)))
#endif
#ifndef dev_alloc_page
#define dev_alloc_page() ((struct page *)lab_kernel_pages(GFP_ATOMIC | __GFP_NOWARN, 0))
#endif

/* Takes one reference away; the pages go with the last. */
#ifndef __free_pages
static inline void
__free_pages(struct page *page, unsigned int order)
{
	(void)lab_page_put_order(page, order);
}
#endif

#ifndef __free_page
#define __free_page(page) ((void)lab_page_put_order((page), 0))
#endif

#ifndef __get_free_pages
LAB_KERNEL_CALL unsigned long
__get_free_pages(gfp_t gfp, unsigned int order)
{
	return (unsigned long)lab_kernel_pages(gfp, order);
}
#endif

#ifndef get_zeroed_page
LAB_KERNEL_CALL unsigned long
get_zeroed_page(gfp_t gfp)
{
	return (unsigned long)lab_kernel_pages(gfp | __GFP_ZERO, 0);
}
#endif

#ifndef free_pages
static inline void
free_pages(unsigned long address, unsigned int order)
{
	(void)lab_page_put_order((void *)address, order);
}
#endif

#ifndef __get_free_page
#define __get_free_page(gfp) ((unsigned long)lab_kernel_pages((gfp), 0))
#endif
#ifndef free_page
#define free_page(address) ((void)lab_page_put_order((void *)(address), 0))
#endif

#ifndef alloc_pages_exact
LAB_KERNEL_CALL void *
alloc_pages_exact(size_t size, gfp_t gfp)
{
	unsigned lab = lab_gfp(gfp);

	return LAB_KERNEL_FAULT(size, lab) ? NULL : lab_alloc_pages_exact(size, lab);
}
#endif

#ifndef free_pages_exact
static inline void
free_pages_exact(void *address, size_t size)
{
	lab_page_put_exact(address, size);
}
#endif

/* All that is missing in the first n elements: how many of them are there now. */
#ifndef alloc_pages_bulk
LAB_KERNEL_CALL unsigned long
alloc_pages_bulk(gfp_t gfp, int n, struct page **pages)
{
	int i = 0;

	while (i < n && (pages[i] || (pages[i] = (struct page *)lab_kernel_pages(gfp, 0)) != NULL))
		i++;
	return (unsigned long)i;
}
#endif

/* ---- references -------------------------------------------------------------------------------------------------- */

/* The count of references is of a block's first page, and of each page after split_page. */
#ifndef get_page
static inline void
get_page(struct page *page)
{
	if (!lab_page_get(page))
		abort(); /* the system has no memory for the count: the caller would lose the page */
}
#endif

#ifndef put_page
static inline void
put_page(struct page *page)
{
	(void)lab_page_put(page);
}
#endif

#ifndef page_count
#define page_count(page) ((int)lab_page_count(page))
#endif
#ifndef page_ref_count
#define page_ref_count(page) ((int)lab_page_count(page))
#endif

#ifndef split_page
static inline void
split_page(struct page *page, unsigned int order)
{
	if (!lab_page_split(page, order))
		abort();
}
#endif

/* ---- folios ------------------------------------------------------------------------------------------------------ */

#ifndef LAB_KERNEL_OWN_FOLIO
struct folio {
	struct page page;
};
#endif

#ifndef folio_alloc
LAB_KERNEL_CALL struct folio *
folio_alloc(gfp_t gfp, unsigned int order)
{
	return (struct folio *)lab_kernel_pages(gfp, order);
}
#endif

#ifndef folio_get
#define folio_get(folio) get_page((struct page *)(folio))
#endif
#ifndef folio_put
#define folio_put(folio) put_page((struct page *)(folio))
#endif
#ifndef folio_ref_count
#define folio_ref_count(folio) ((int)lab_page_count(folio))
#endif
#ifndef folio_address
#define folio_address(folio) ((void *)(folio))
#endif
#ifndef folio_page
#define folio_page(folio, n) nth_page((folio), (n))
#endif
/* Of the first page of a folio. */
#ifndef page_folio
#define page_folio(page) ((struct folio *)(page))
#endif
#ifndef virt_to_folio
#define virt_to_folio(address) ((struct folio *)virt_to_page(address))
#endif
/* Of a folio that GFP_ATOMIC gave it may be more than was asked for. */
#ifndef folio_size
#define folio_size(folio) lab_usable_size(folio)
#endif
#ifndef folio_nr_pages
#define folio_nr_pages(folio) ((long)(lab_usable_size(folio) >> PAGE_SHIFT))
#endif
#ifndef folio_order
#define folio_order(folio) ((unsigned)get_order(lab_usable_size(folio)))
#endif

/* ---- fragments --------------------------------------------------------------------------------------------------- */

#define LAB_KERNEL_FRAGMENTS ((size_t)32 << 10) /* of one block: what a fragment's block is found by */

/* Zeroed at first. One user at a time, as in the kernel: a thread, or its handlers. */
#ifndef LAB_KERNEL_OWN_PAGE_FRAG_CACHE
struct page_frag_cache {
	char *block; /* NULL: none */
	size_t used;
};
#endif

/* NULL also for more than a page, as in the kernel with a small block. align: a power of two. */
#ifndef page_frag_alloc_align
LAB_KERNEL_CALL void *
page_frag_alloc_align(struct page_frag_cache *cache, unsigned int size, gfp_t gfp, unsigned int align)
{
	size_t start = (cache->used + align - 1) & ~((size_t)align - 1);

	if (size > 4096 || align > 4096 || align == 0)
		return NULL;
	if (size == 0) /* so that each fragment lies in its block */
		size = 1;
	if (!cache->block || start + size > LAB_KERNEL_FRAGMENTS) {
		char *block = (char *)lab_kernel_pages(gfp & ~__GFP_ZERO, 3);
		if (!block)
			return NULL;
		if (cache->block)
			(void)lab_page_put(cache->block);
		cache->block = block;
		start = 0;
	}
	if (!lab_page_get(cache->block))
		return NULL;
	cache->used = start + size;
	return gfp & __GFP_ZERO ? memset(cache->block + start, 0, size) : cache->block + start;
}
#endif

#ifndef page_frag_alloc
#define page_frag_alloc(cache, size, gfp) page_frag_alloc_align((cache), (size), (gfp), 1)
#endif

#ifndef page_frag_free
static inline void
page_frag_free(void *fragment)
{
	(void)lab_page_put((void *)((uintptr_t)fragment & ~(LAB_KERNEL_FRAGMENTS - 1)));
}
#endif

#ifndef page_frag_cache_init
#define page_frag_cache_init(cache) ((void)((cache)->block = NULL, (cache)->used = 0))
#endif

/* Fragments that are in use stay so. */
#ifndef page_frag_cache_drain
static inline void
page_frag_cache_drain(struct page_frag_cache *cache)
{
	if (cache->block)
		(void)lab_page_put(cache->block);
	cache->block = NULL;
	cache->used = 0;
}
#endif

#endif
