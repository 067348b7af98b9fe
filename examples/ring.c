/*
 * ring.c - a real-time thread that allocates: an audio callback, a control loop, a market feed.
 *
 *     ring [events]
 *
 * The real-time thread wakes up once in a period and makes an event with 32 to 1500 bytes of data, which it allocates with
 * LAB_GFP_ATOMIC from a share of the reserve that is its own (lab_reserve_thread): no lock, no system call, no page
 * fault, and nobody else can use the share up. It hands the event over in a ring that neither side waits for. The other
 * thread checks every byte, keeps the event for a while, as a log would, and frees it, which fills the share again.
 * What there is no memory or no room for is dropped and counted.
 *
 * lab_thread_realtime(LAB_REALTIME_ABORT) sees to it that the promise is kept: a call of the real-time thread that left
 * the fast path would end the program, with the calls that led to it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RUSAGE_THREAD */
#endif
#include <errno.h>
#include <labyrinth/labyrinth.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "ring.c:%d: failed: %s\n", __LINE__, #condition);                              \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

enum { SLOTS = 64, LENGTH_MAX = 1500, KEPT = 32, WARM_UP = 100, PERIOD_NS = 100000 };

/* All are of one size, the share's. */
struct event {
	unsigned long sequence;
	size_t length;
	unsigned char data[LENGTH_MAX];
};

/* One producer, one consumer; SLOTS is a power of two. */
static struct {
	_Atomic unsigned long head; /* events that were put; pairs: release in put, acquire in take */
	_Atomic unsigned long tail; /* events that were taken; pairs: release in take, acquire in put */
	struct event *slots[SLOTS];
} ring;

/* Written by the real-time thread, read when it has ended. */
static struct {
	unsigned long made, no_memory, no_room, faults, longest_ns;
} producer;

static unsigned long events = 5000;
static _Atomic bool is_over;

static bool
put(struct event *event)
{
	unsigned long head = atomic_load_explicit(&ring.head, memory_order_relaxed);

	if (head - atomic_load_explicit(&ring.tail, memory_order_acquire) == SLOTS)
		return false;
	ring.slots[head % SLOTS] = event;
	atomic_store_explicit(&ring.head, head + 1, memory_order_release);
	return true;
}

static struct event *
take(void)
{
	unsigned long tail = atomic_load_explicit(&ring.tail, memory_order_relaxed);
	struct event *event;

	if (tail == atomic_load_explicit(&ring.head, memory_order_acquire))
		return NULL;
	event = ring.slots[tail % SLOTS];
	atomic_store_explicit(&ring.tail, tail + 1, memory_order_release);
	return event;
}

static size_t
length_of(unsigned long sequence)
{
	return 32 + sequence * 7919 % (LENGTH_MAX - 32);
}

static unsigned char
byte_of(unsigned long sequence, size_t i)
{
	return (unsigned char)(sequence * 31 + i);
}

/* ---- the real-time thread -------------------------------------------------------------------------------------- */

static void
add_ns(struct timespec *time, long ns)
{
	time->tv_nsec += ns;
	if (time->tv_nsec >= 1000000000) {
		time->tv_nsec -= 1000000000;
		time->tv_sec++;
	}
}

static unsigned long
ns_between(const struct timespec *from, const struct timespec *to)
{
	return (unsigned long)((to->tv_sec - from->tv_sec) * 1000000000L + to->tv_nsec - from->tv_nsec);
}

/* An event, timed: an allocation, and a free where there is no room for it. */
static void
make_event(unsigned long sequence)
{
	size_t length = length_of(sequence);
	struct timespec before, after;
	struct event *event;

	clock_gettime(CLOCK_MONOTONIC, &before);
	event = lab_alloc(sizeof *event, LAB_GFP_ATOMIC);
	clock_gettime(CLOCK_MONOTONIC, &after);
	if (ns_between(&before, &after) > producer.longest_ns)
		producer.longest_ns = ns_between(&before, &after);
	producer.made++;
	if (!event) {
		producer.no_memory++;
		return;
	}
	event->sequence = sequence;
	event->length = length;
	for (size_t i = 0; i < length; i++)
		event->data[i] = byte_of(sequence, i);
	if (!put(event)) {
		lab_free(event);
		producer.no_room++;
	}
}

static void *
produce(void *unused)
{
	struct timespec next;
	struct rusage usage;
	unsigned long faults = 0;

	/* Its own slots, for as many events as can be under way: in the ring, kept, and one in the hand of each thread. */
	REQUIRE(lab_reserve_thread(sizeof(struct event), SLOTS + KEPT + 2));
	(void)lab_thread_realtime(LAB_REALTIME_ABORT);
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (unsigned long i = 0; i < events; i++) {
		if (i == WARM_UP) {
			getrusage(RUSAGE_THREAD, &usage);
			faults = (unsigned long)(usage.ru_minflt + usage.ru_majflt);
		}
		make_event(i);
		add_ns(&next, PERIOD_NS);
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) == EINTR)
			;
	}
	getrusage(RUSAGE_THREAD, &usage);
	producer.faults = (unsigned long)(usage.ru_minflt + usage.ru_majflt) - faults;
	(void)lab_thread_realtime(LAB_REALTIME_OFF);
	atomic_store_explicit(&is_over, true, memory_order_release); /* pairs with the acquire of main */
	return unused;
}

/* ---- the other one --------------------------------------------------------------------------------------------- */

static void
check_and_free(struct event *event)
{
	REQUIRE(event->length == length_of(event->sequence));
	for (size_t i = 0; i < event->length; i++)
		REQUIRE(event->data[i] == byte_of(event->sequence, i));
	lab_free(event);
}

int
main(int argc, char **argv)
{
	struct event *kept[KEPT] = {NULL};
	unsigned long received = 0;
	pthread_t thread;
	bool last = false;

	if (argc > 1)
		events = strtoul(argv[1], NULL, 10);
	REQUIRE(pthread_create(&thread, NULL, produce, NULL) == 0);
	while (!last) {
		struct event *event;
		last = atomic_load_explicit(&is_over, memory_order_acquire); /* then once more */
		while ((event = take()) != NULL) {
			if (kept[received % KEPT])
				check_and_free(kept[received % KEPT]);
			kept[received++ % KEPT] = event;
		}
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	REQUIRE(pthread_join(thread, NULL) == 0);
	for (int i = 0; i < KEPT; i++)
		if (kept[i])
			check_and_free(kept[i]);
	printf("%lu events: %lu received, %lu without memory, %lu without room in the ring\n", producer.made, received,
	       producer.no_memory, producer.no_room);
	printf("the real-time thread: longest allocation %.1f us, %lu page faults\n",
	       (double)producer.longest_ns / 1000, producer.faults);
	REQUIRE(producer.made == events && received + producer.no_memory + producer.no_room == events);
	REQUIRE(producer.no_memory == 0); /* the share is as large as all that can be under way */
	REQUIRE(received > 0);
	return 0;
}
