// kernel.cpp - labyrinth/gfp.h in a C++ program.
#include <labyrinth/gfp.h>

struct packet {
	unsigned long number;
	char bytes[100];
};

int
main()
{
	kmem_cache *cache = KMEM_CACHE(packet, SLAB_HWCACHE_ALIGN);
	mempool_t *pool = mempool_create_slab_pool(4, cache);
	packet *first = static_cast<packet *>(mempool_alloc(pool, GFP_ATOMIC));
	char *text = kstrdup("packet", GFP_KERNEL);
	unsigned long pages = __get_free_pages(GFP_KERNEL | __GFP_ZERO, 2);
	int status = 0;

	if (!first || !text || !pages || strcmp(text, "packet") != 0 || pages % PAGE_SIZE != 0)
		status = 1;
	if (kmalloc(0, GFP_KERNEL) != ZERO_SIZE_PTR)
		status = 2;
	/* The buffers of a receive ring, as the program is compiled with gfp.h. */
	lab_reserve_class ring = {};
	for (size_t i = 0; lab_reserve_class_get(i, &ring) && ring.size != 2048; i++)
		;
	if (ring.slots < 64)
		status = 3;
	mempool_free(first, pool);
	mempool_destroy(pool);
	kmem_cache_destroy(cache);
	free_pages(pages, 2);
	kfree(text);
	return status;
}
