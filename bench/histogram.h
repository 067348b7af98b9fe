/*
 * histogram.h - the time of single calls: a clock of some nanoseconds, whether the thread lost its processor meanwhile,
 * and histograms with log-linear buckets (Tene's HdrHistogram: 16 buckets an octave, so that a figure is exact to 6 %).
 * Nothing here allocates.
 *
 * How a context switch is seen without a system call: a thread stores the address of a (never entered) restartable
 * sequence in its rseq area; the kernel clears it when it switches the thread out, moves it, or runs a handler on it
 * (rseq(2)). One store and one load a sample. What the host of a virtual machine takes away, and interrupts that end in
 * the same thread, are not seen.
 */
#ifndef LABYRINTH_BENCH_HISTOGRAM_H
#define LABYRINTH_BENCH_HISTOGRAM_H

#include "bench.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif
#if defined(__x86_64__) && defined(__has_include)
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#define BENCH_HAS_RSEQ 1
#endif
#endif

/* ---- the clock ------------------------------------------------------------------------------------------------- */

static inline uint64_t
clock_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Nothing before it is still under way when the clock is read, and nothing after it has begun. */
static inline uint64_t
ticks(void)
{
#if defined(__x86_64__)
	_mm_lfence();
	uint64_t now = __rdtsc();
	_mm_lfence();
	return now;
#else
	return clock_ns();
#endif
}

/* ---- context switches ------------------------------------------------------------------------------------------ */

#ifdef BENCH_HAS_RSEQ
/* The kernel reads it and does nothing, since no instruction is between its start and its end. */
static const struct {
	uint32_t signature[2]; /* it looks for this before the abort address */
	char abort[8];
} never_aborted = {.signature = {0, RSEQ_SIG}};
static struct rseq_cs never_entered; /* 32 bytes, aligned to that */

static inline volatile uint64_t *
switch_mark(void)
{
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	return (volatile uint64_t *)&area->rseq_cs;
}

static inline void
switch_arm(void)
{
	*switch_mark() = (uintptr_t)&never_entered;
}

static inline bool
switch_seen(void)
{
	return *switch_mark() == 0;
}

/* Before the first use. False: this kernel or libc cannot tell; then nothing is ever marked. */
static inline bool
switch_start(void)
{
	never_entered = (struct rseq_cs){.start_ip = (uintptr_t)&never_aborted.abort[1],
	                                 .post_commit_offset = 1,
	                                 .abort_ip = (uintptr_t)never_aborted.abort};
	if (__rseq_size == 0)
		return false;
	switch_arm();
	bool quiet = !switch_seen();
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	return quiet && switch_seen();
}
#else
static inline void
switch_arm(void)
{
}

static inline bool
switch_seen(void)
{
	return false;
}

static inline bool
switch_start(void)
{
	return false;
}
#endif

/* ---- histograms ------------------------------------------------------------------------------------------------ */

enum { HISTOGRAM_STEPS = 16, HISTOGRAM_BUCKETS = 61 * HISTOGRAM_STEPS };

/* `switched`: samples during which the thread was switched out; they are in `count` as well. Times in ticks. */
struct histogram {
	struct {
		uint64_t count;
		uint64_t switched;
	} buckets[HISTOGRAM_BUCKETS];
	uint64_t max;
	uint64_t max_unswitched;
};

static inline unsigned
histogram_bucket(uint64_t value)
{
	if (value < HISTOGRAM_STEPS)
		return (unsigned)value;
	unsigned order = 63 - (unsigned)__builtin_clzll(value);
	return (order - 3) * HISTOGRAM_STEPS + (value >> (order - 4) & (HISTOGRAM_STEPS - 1));
}

/* The least value of a bucket. */
static inline uint64_t
histogram_low(unsigned bucket)
{
	if (bucket < HISTOGRAM_STEPS)
		return bucket;
	unsigned order = bucket / HISTOGRAM_STEPS + 3;
	return (uint64_t)(HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS) << (order - 4);
}

static inline void
histogram_add(struct histogram *histogram, uint64_t value, bool switched)
{
	unsigned bucket = histogram_bucket(value);
	histogram->buckets[bucket].count++;
	if (value > histogram->max)
		histogram->max = value;
	if (switched)
		histogram->buckets[bucket].switched++;
	else if (value > histogram->max_unswitched)
		histogram->max_unswitched = value;
}

static inline void
histogram_merge(struct histogram *into, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		into->buckets[i].count += from->buckets[i].count;
		into->buckets[i].switched += from->buckets[i].switched;
	}
	into->max = from->max > into->max ? from->max : into->max;
	if (from->max_unswitched > into->max_unswitched)
		into->max_unswitched = from->max_unswitched;
}

/* Samples, or those that are marked. */
static inline uint64_t
histogram_total(const struct histogram *histogram, bool switched)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += switched ? histogram->buckets[i].switched : histogram->buckets[i].count;
	return total;
}

/* The value that `part` of the samples do not exceed: the greatest of its bucket, so never too good. */
static inline uint64_t
histogram_percentile(const struct histogram *histogram, double part)
{
	uint64_t total = histogram_total(histogram, false), seen = 0;
	uint64_t rank = (uint64_t)((double)total * part);
	for (unsigned i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i].count;
		if (seen > rank || seen == total) {
			uint64_t high = histogram_low(i + 1) - 1;
			return high < histogram->max ? high : histogram->max;
		}
	}
	return histogram->max;
}

#endif
