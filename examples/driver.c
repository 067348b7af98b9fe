/*
 * driver.c - a network driver in user space, in the kernel's style: what GFP_ATOMIC, caches and pools are for.
 *
 *     driver [packets]
 *
 * The device is a timer. Its interrupt is a real-time signal, which arrives in the midst of anything, malloc included;
 * the handler receives packets: it takes a request from a mempool and a buffer from kmalloc, both with GFP_ATOMIC,
 * fills them and puts them into the receive ring. What there is no memory or no room for is dropped and counted, as
 * hardware does. The main loop takes packets out of the ring, checks every byte, grows them (krealloc, GFP_KERNEL: out
 * of the reserve into ordinary memory), keeps some for a while in descriptors from a cache, and frees them, until it
 * has had so many. At the end all that was sent must have been received or dropped, and nothing be in use.
 */
#include <labyrinth/gfp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "driver.c:%d: failed: %s\n", __LINE__, #condition);                            \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

#define TRAILER "received"

enum { RING_ORDER = 1, BURST = 4, BACKLOG = 500, REQUESTS_MIN = 32, PERIOD_NS = 50000 };

/* What the interrupt hands over. */
struct request {
	unsigned char *data;
	size_t length;
	unsigned long sequence;
};

/* A packet that the main loop keeps. */
struct descriptor {
	unsigned long magic; /* set by the constructor, and never changed */
	char *packet;
	size_t length;
	unsigned long sequence;
};
#define DESCRIPTOR_MAGIC 0xd35cUL

/* One producer, the handler; one consumer, the main loop. In pages of its own, as a device would want it. */
struct ring {
	atomic_ulong head, tail;
	struct request *slots[];
};
#define RING_SLOTS (((PAGE_SIZE << RING_ORDER) - sizeof(struct ring)) / sizeof(struct request *))

static struct ring *ring;
static struct kmem_cache *requests, *descriptors;
static mempool_t *request_pool;

/* Written by the handler. */
static struct {
	unsigned long interrupts, sent, no_request, no_buffer, ring_full;
} device;

static unsigned char
pattern(unsigned long sequence, size_t i)
{
	return (unsigned char)(sequence * 31 + i);
}

static size_t
length_of(unsigned long sequence)
{
	return 40 + sequence * 7919 % 1460;
}

/* ---- the interrupt --------------------------------------------------------------------------------------------- */

static bool
ring_push(struct request *request)
{
	unsigned long head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&ring->tail, memory_order_acquire) == RING_SLOTS)
		return false;
	ring->slots[head % RING_SLOTS] = request;
	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
	return true;
}

static void
receive_packet(void)
{
	struct request *request = mempool_alloc(request_pool, GFP_ATOMIC);
	unsigned long sequence = device.sent++;

	if (!request) {
		device.no_request++;
		return;
	}
	*request = (struct request){.length = length_of(sequence), .sequence = sequence};
	request->data = kmalloc(request->length, GFP_ATOMIC);
	if (!request->data) {
		device.no_buffer++;
		mempool_free(request, request_pool);
		return;
	}
	for (size_t i = 0; i < request->length; i++)
		request->data[i] = pattern(sequence, i);
	if (!ring_push(request)) {
		device.ring_full++;
		kfree(request->data);
		mempool_free(request, request_pool);
	}
}

static void
interrupt(int number)
{
	int saved = errno;

	(void)number;
	device.interrupts++;
	for (int i = 0; i < BURST; i++)
		receive_packet();
	errno = saved;
}

/* ---- the driver ------------------------------------------------------------------------------------------------ */

static struct {
	unsigned long received, bytes;
	struct descriptor *backlog[BACKLOG];
} driver;

static struct request *
ring_pop(void)
{
	unsigned long tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	if (tail == atomic_load_explicit(&ring->head, memory_order_acquire))
		return NULL;
	struct request *request = ring->slots[tail % RING_SLOTS];
	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
	return request;
}

static void
check_packet(const char *packet, size_t length, unsigned long sequence)
{
	REQUIRE(length == length_of(sequence));
	for (size_t i = 0; i < length; i++)
		REQUIRE((unsigned char)packet[i] == pattern(sequence, i));
}

static void
drop_descriptor(struct descriptor *descriptor)
{
	if (!descriptor)
		return;
	REQUIRE(descriptor->magic == DESCRIPTOR_MAGIC);
	check_packet(descriptor->packet, descriptor->length, descriptor->sequence);
	REQUIRE(strcmp(descriptor->packet + descriptor->length, TRAILER) == 0);
	kfree(descriptor->packet);
	kmem_cache_free(descriptors, descriptor);
}

/* The request's buffer becomes a descriptor's packet. */
static void
handle_request(struct request *request)
{
	struct descriptor *descriptor = kmem_cache_alloc(descriptors, GFP_KERNEL), **place;

	REQUIRE(descriptor && descriptor->magic == DESCRIPTOR_MAGIC);
	check_packet((char *)request->data, request->length, request->sequence);
	descriptor->packet = krealloc(request->data, request->length + sizeof TRAILER, GFP_KERNEL);
	REQUIRE(descriptor->packet);
	memcpy(descriptor->packet + request->length, TRAILER, sizeof TRAILER);
	descriptor->length = request->length;
	descriptor->sequence = request->sequence;
	driver.received++;
	driver.bytes += request->length;
	mempool_free(request, request_pool);

	place = &driver.backlog[descriptor->sequence % BACKLOG];
	drop_descriptor(*place);
	*place = descriptor;
}

static bool
poll_device(void)
{
	struct request *request = ring_pop();

	if (request)
		handle_request(request);
	return request != NULL;
}

static void
construct_descriptor(void *object)
{
	*(struct descriptor *)object = (struct descriptor){.magic = DESCRIPTOR_MAGIC};
}

static void
probe(void)
{
	ring = (struct ring *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, RING_ORDER);
	requests = KMEM_CACHE(request, SLAB_HWCACHE_ALIGN);
	descriptors = kmem_cache_create("descriptor", sizeof(struct descriptor), 0, 0, construct_descriptor);
	REQUIRE(ring && requests && descriptors);
	request_pool = mempool_create_slab_pool(REQUESTS_MIN, requests);
	REQUIRE(request_pool);
}

static void
remove_driver(void)
{
	for (int i = 0; i < BACKLOG; i++)
		drop_descriptor(driver.backlog[i]);
	mempool_destroy(request_pool);
	REQUIRE(kmem_cache_shrink(requests) == 0);
	REQUIRE(kmem_cache_shrink(descriptors) == 0);
	kmem_cache_destroy(requests);
	kmem_cache_destroy(descriptors);
	free_pages((unsigned long)ring, RING_ORDER);
}

/* ---- the machine ----------------------------------------------------------------------------------------------- */

static timer_t
switch_on(void)
{
	struct sigaction action = {.sa_handler = interrupt};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	const struct itimerspec period = {{0, PERIOD_NS}, {0, PERIOD_NS}};
	timer_t timer;

	REQUIRE(sigaction(SIGRTMIN, &action, NULL) == 0);
	REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	REQUIRE(timer_settime(timer, 0, &period, NULL) == 0);
	return timer;
}

/* Interrupts that are still queued are taken before the handler goes. */
static void
switch_off(timer_t timer)
{
	REQUIRE(timer_delete(timer) == 0);
	signal(SIGRTMIN, SIG_IGN);
}

int
main(int argc, char **argv)
{
	unsigned long wanted = argc > 1 ? strtoul(argv[1], NULL, 10) : 50000;

	probe();
	timer_t timer = switch_on();
	while (driver.received < wanted)
		(void)poll_device();
	switch_off(timer);
	while (poll_device())
		;
	remove_driver();

	unsigned long dropped = device.no_request + device.no_buffer + device.ring_full;
	printf("%lu interrupts, %lu packets sent, %lu received (%lu bytes), %lu dropped (%lu no request, %lu no "
	       "buffer, %lu ring "
	       "full)\n",
	       device.interrupts, device.sent, driver.received, driver.bytes, dropped, device.no_request,
	       device.no_buffer, device.ring_full);
	REQUIRE(device.sent == driver.received + dropped);
	return 0;
}
