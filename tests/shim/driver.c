/*
 * driver.c - a driver and its data structures as kernel sources are written, compiled with nothing but the headers of
 * labyrinth/linux-shim: a table of flows with an intrusive list, a shrinker, counters for each processor, a ring
 * of page fragments that is filled in a signal handler, and error paths that __free undoes. Clauses: G9.4.
 *
 *     driver
 */
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/dmapool.h>
#include <linux/gfp.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <signal.h>
#include <stdatomic.h>

#define pr_err(...) fprintf(stderr, __VA_ARGS__)

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			pr_err("driver.c:%d: failed: %s\n", __LINE__, #condition);                                     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

/* ---- flows ------------------------------------------------------------------------------------------------------- */

struct flow {
	struct flow *next; /* in its bucket */
	u_int32_t key;
	unsigned long packets;
};

/* The buckets are behind it, in one block. */
struct flow_table {
	struct kmem_cache *cache;
	size_t live;
	unsigned int count;
	struct flow *buckets[];
};

static struct flow_table *
flow_table_create(unsigned int count)
{
	struct flow_table *table __free(kvfree) = NULL;

	table = kvzalloc(struct_size(table, buckets, count), GFP_KERNEL);
	if (!table)
		return NULL;
	table->count = count;
	table->cache = KMEM_CACHE(flow, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT);
	if (!table->cache)
		return NULL; /* and the table is freed */
	return_ptr(table);
}

static struct flow *
flow_get(struct flow_table *table, u_int32_t key, gfp_t gfp)
{
	struct flow **bucket = &table->buckets[key % table->count], *flow;

	for (flow = *bucket; flow; flow = flow->next)
		if (flow->key == key)
			return flow;
	flow = kmem_cache_zalloc(table->cache, gfp);
	if (!flow)
		return NULL;
	flow->key = key;
	flow->next = *bucket;
	*bucket = flow;
	table->live++;
	return flow;
}

static unsigned long
flow_drop(struct flow_table *table, unsigned long most)
{
	unsigned long dropped = 0;

	for (unsigned int i = 0; i < table->count; i++)
		while (dropped < most && table->buckets[i]) {
			struct flow *flow = table->buckets[i];
			table->buckets[i] = flow->next;
			kfree(flow); /* an object, by kfree */
			dropped++;
		}
	table->live -= dropped;
	return dropped;
}

static unsigned long
flow_count(struct shrinker *shrinker, struct shrink_control *control)
{
	struct flow_table *table = shrinker->private_data;

	(void)control;
	return table->live ? table->live : SHRINK_EMPTY;
}

static unsigned long
flow_scan(struct shrinker *shrinker, struct shrink_control *control)
{
	if (!(control->gfp_mask & __GFP_FS))
		return SHRINK_STOP;
	return flow_drop(shrinker->private_data, control->nr_to_scan);
}

static void
flow_table_destroy(void *data)
{
	struct flow_table *table = data;

	flow_drop(table, ~0ul);
	kmem_cache_destroy(table->cache);
	kvfree(table);
}

/* ---- the device -------------------------------------------------------------------------------------------------- */

enum { RING = 64, BUFFER = 2048 };

struct stats {
	u_int64_t packets, dropped;
};

struct packet {
	unsigned int length;
	unsigned char *data;
};

struct nic {
	struct device device;
	struct flow_table *flows;
	struct shrinker *shrinker;
	struct stats __percpu *stats;
	struct page_frag_cache fragments;
	mempool_t packets; /* inside, by mempool_init */
	struct dma_pool *descriptors;
	char *name;
	atomic_uint head, tail;
	struct packet *ring[RING];
};

static struct nic nic;

/* In the handler: nothing here may wait. */
static void
receive(int number)
{
	int saved = errno;
	unsigned int head = atomic_load_explicit(&nic.head, memory_order_relaxed);
	struct packet *packet = NULL;

	(void)number;
	if (head - atomic_load_explicit(&nic.tail, memory_order_acquire) < RING)
		packet = mempool_alloc(&nic.packets, GFP_ATOMIC);
	if (packet)
		packet->data = page_frag_alloc_align(&nic.fragments, BUFFER, GFP_ATOMIC | __GFP_NOWARN, 64);
	if (!packet || !packet->data) {
		if (packet)
			mempool_free(packet, &nic.packets);
		this_cpu_inc(nic.stats->dropped);
		errno = saved;
		return;
	}
	packet->length = 60 + head % 1400;
	memset(packet->data, (int)head, packet->length);
	nic.ring[head % RING] = packet;
	atomic_store_explicit(&nic.head, head + 1, memory_order_release);
	this_cpu_inc(nic.stats->packets);
	errno = saved;
}

static int
poll_one(void)
{
	unsigned int tail = atomic_load_explicit(&nic.tail, memory_order_relaxed);
	struct packet *packet;
	struct flow *flow;

	if (tail == atomic_load_explicit(&nic.head, memory_order_acquire))
		return 0;
	packet = nic.ring[tail % RING];
	REQUIRE(packet->length == 60 + tail % 1400);
	for (unsigned int i = 0; i < packet->length; i++)
		REQUIRE(packet->data[i] == (unsigned char)tail);
	flow = flow_get(nic.flows, tail * 2654435761u % 5000, GFP_NOWAIT);
	if (!flow)
		flow = flow_get(nic.flows, tail * 2654435761u % 5000, GFP_KERNEL | __GFP_NOFAIL);
	flow->packets++;
	page_frag_free(packet->data);
	mempool_free(packet, &nic.packets);
	atomic_store_explicit(&nic.tail, tail + 1, memory_order_release);
	return 1;
}

static void
free_stats(void *stats)
{
	free_percpu(stats);
}

static int
probe(struct nic *self)
{
	dma_addr_t handle;
	void *descriptor;

	self->name = devm_kasprintf(&self->device, GFP_KERNEL, "nic%d", 0);
	self->stats = alloc_percpu(struct stats);
	if (!self->name || !self->stats || devm_add_action_or_reset(&self->device, free_stats, self->stats))
		return -ENOMEM;
	self->flows = flow_table_create(1024);
	if (!self->flows || devm_add_action_or_reset(&self->device, flow_table_destroy, self->flows))
		return -ENOMEM;
	if (mempool_init_kmalloc_pool(&self->packets, RING, sizeof(struct packet)))
		return -ENOMEM;
	self->descriptors = dma_pool_create(self->name, &self->device, 32, 32, 4096);
	if (!self->descriptors)
		return -ENOMEM;
	descriptor = dma_pool_zalloc(self->descriptors, GFP_KERNEL, &handle);
	REQUIRE(descriptor && handle);
	dma_pool_free(self->descriptors, descriptor, handle);
	self->shrinker = shrinker_alloc(0, "nic-flows");
	if (!self->shrinker)
		return -ENOMEM;
	self->shrinker->count_objects = flow_count;
	self->shrinker->scan_objects = flow_scan;
	self->shrinker->private_data = self->flows;
	shrinker_register(self->shrinker);
	return 0;
}

static void
remove_device(struct nic *self)
{
	shrinker_free(self->shrinker);
	dma_pool_destroy(self->descriptors);
	mempool_exit(&self->packets);
	page_frag_cache_drain(&self->fragments);
	devres_release_all(&self->device);
}

/* ---- */

static void
use_big_memory(void)
{
	unsigned int flags = memalloc_nofs_save();
	u_int64_t *table = vzalloc(array_size(100000, sizeof(u_int64_t)));
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO, 3);
	struct folio *folio = folio_alloc(GFP_KERNEL, 2);

	REQUIRE(table && page && folio && table[99999] == 0);
	split_page(page, 3);
	for (int i = 0; i < 8; i++)
		__free_page(page + i);
	folio_put(folio);
	vfree(table);
	memalloc_nofs_restore(flags);
}

int
main(void)
{
	u_int64_t packets = 0, dropped = 0;
	struct lab_stats before, after;
	int received = 0, cpu;

	struct lab_reserve_class buffers = {0};
	for (size_t i = 0; lab_reserve_class_get(i, &buffers) && buffers.size != 2048; i++)
		;
	REQUIRE(buffers.slots >= 64); /* those of a receive ring, as with gfp.h */
	kfree(kmalloc(1, GFP_KERNEL));
	lab_stats_get(&before);
	REQUIRE(probe(&nic) == 0);
	signal(SIGUSR1, receive);
	for (int round = 0; round < 2000; round++) {
		for (int i = 0; i < 16; i++)
			raise(SIGUSR1);
		while (round % 3 && poll_one())
			received++;
		if (round % 100 == 0)
			use_big_memory();
	}
	while (poll_one())
		received++;
	for_each_possible_cpu(cpu)
	{
		packets += per_cpu_ptr(nic.stats, cpu)->packets;
		dropped += per_cpu_ptr(nic.stats, cpu)->dropped;
	}
	REQUIRE(packets == (u_int64_t)received && packets + dropped == 32000 && packets > 20000);
	remove_device(&nic);
	lab_stats_get(&after);
	REQUIRE(after.reserve_used == before.reserve_used);
	printf("%d received, %d dropped\n", received, (int)dropped);
	return 0;
}
