/*
 * cache.c - a key-value cache: a hash table with chains, an age list, and values of all sizes; built, used and torn
 * down.
 *
 * A workload with work between the calls: each entry is three blocks (entry, key, value) that are allocated together,
 * looked at while they live, and freed together when the cache is full and they are the oldest. Popular keys live long.
 * One hit in eight stores a value of another size with realloc. At the end of a round the whole table is freed. It
 * shows locality, since most of the time goes to following pointers into the blocks, and what a fast malloc is worth
 * when it is not all there is.
 */
#include "bench.h"

#define KEY_MAX 64

static uint64_t ops = 2500000;
static uint64_t rounds = 2;
static uint64_t entries = 40000;
static uint64_t ids = 400000;
static uint64_t max_value = 2048;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 60000, 1, BENCH_MAX_OPS, "requests in a round"},
        {"rounds", &rounds, 1, 1, BENCH_MAX_BLOCK, "times that the cache is built and torn down"},
        {"entries", &entries, 5000, 1, BENCH_MAX_BLOCK, "entries that the cache holds"},
        {"ids", &ids, 50000, 1, BENCH_MAX_BLOCK, "different things that are asked for"},
        {"max-value", &max_value, 2048, BENCH_MIN_BLOCK, BENCH_MAX_BLOCK, "largest value, bytes"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

struct entry {
	struct entry *chain; /* next of the same bucket */
	struct entry *newer, *older;
	char *key;
	void *value;
	size_t value_size;
	uint64_t stamp;
	uint64_t hash;
};

/* The age list is a ring through `ages`: ages.older is the newest entry, ages.newer the oldest. */
struct cache {
	struct entry **buckets;
	uint64_t mask;
	uint64_t count;
	struct entry ages;
	uint64_t sum; /* of the stamps of all values that were checked */
};

/* A key text that depends on the id: "user/" and 8 to 40 letters. */
static size_t
make_key(uint64_t id, char text[KEY_MAX])
{
	uint64_t state = id;
	size_t length = 5 + 8 + bench_random(&state) % 33;
	memcpy(text, "user/", 5);
	for (size_t i = 5; i < length; i++)
		text[i] = (char)('a' + (state >> i % 32) % 26);
	for (size_t i = 0; i < 8; i++)
		text[5 + i] = (char)('a' + (id >> 4 * i & 15));
	text[length] = '\0';
	return length;
}

static void
age_unlink(struct entry *entry)
{
	entry->newer->older = entry->older;
	entry->older->newer = entry->newer;
}

static void
age_link_newest(struct cache *cache, struct entry *entry)
{
	entry->newer = &cache->ages;
	entry->older = cache->ages.older;
	entry->older->newer = entry;
	cache->ages.older = entry;
}

static struct entry *
find(const struct cache *cache, uint64_t hash, const char *key)
{
	struct entry *entry = cache->buckets[hash & cache->mask];
	while (entry && (entry->hash != hash || strcmp(entry->key, key) != 0))
		entry = entry->chain;
	return entry;
}

static void
drop(struct cache *cache, struct entry *entry)
{
	struct entry **link = &cache->buckets[entry->hash & cache->mask];
	while (*link != entry)
		link = &(*link)->chain;
	*link = entry->chain;
	age_unlink(entry);
	bench_check(entry->value, entry->value_size, entry->stamp);
	cache->sum += entry->stamp;
	cache->count--;
	free(entry->key);
	free(entry->value);
	free(entry);
}

static void
store(struct entry *entry, size_t size, uint64_t stamp)
{
	void *value = bench_opaque(realloc(entry->value, size));
	if (!value)
		bench_fail("realloc to %zu bytes failed", size);
	memset(value, (int)(stamp & 0xff), size);
	bench_stamp(value, size, stamp);
	entry->value = value;
	entry->value_size = size;
	entry->stamp = stamp;
}

static void
insert(struct cache *cache, uint64_t hash, const char *key, size_t length, size_t size, uint64_t stamp)
{
	if (cache->count == entries)
		drop(cache, cache->ages.newer);
	struct entry *entry = bench_malloc(sizeof(*entry));
	*entry = (struct entry){
	        .chain = cache->buckets[hash & cache->mask], .hash = hash, .key = bench_malloc(length + 1)};
	memcpy(entry->key, key, length + 1);
	store(entry, size, stamp);
	cache->buckets[hash & cache->mask] = entry;
	age_link_newest(cache, entry);
	cache->count++;
}

static void
request(struct cache *cache, uint64_t random)
{
	/* The cube of an even random number: the first tenth of the ids gets almost half of the requests. */
	double even = (double)(random >> 11) * 0x1p-53;
	uint64_t id = (uint64_t)(even * even * even * (double)ids);
	uint64_t stamp = random * UINT64_C(0xbf58476d1ce4e5b9);
	size_t size = bench_skewed_size((uint32_t)(stamp >> 32));
	size = size < max_value ? size : max_value;
	char key[KEY_MAX];
	size_t length = make_key(id, key);
	uint64_t state = id, hash = bench_random(&state);
	struct entry *entry = find(cache, hash, key);
	if (!entry) {
		insert(cache, hash, key, length, size, stamp);
		return;
	}
	bench_check(entry->value, entry->value_size, entry->stamp);
	cache->sum += entry->stamp;
	age_unlink(entry);
	age_link_newest(cache, entry);
	if (random % 8 == 0)
		store(entry, size, stamp);
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "a key-value cache is built, used and torn down", options, BENCH_COUNT(options));
	double start = bench_seconds();
	uint64_t state = seed, sum = 0;
	for (uint64_t round = 0; round < rounds; round++) {
		struct cache cache = {.mask = 1};
		while (cache.mask < entries)
			cache.mask = cache.mask << 1 | 1;
		cache.buckets = calloc(cache.mask + 1, sizeof(*cache.buckets));
		if (!cache.buckets)
			bench_fail("cannot make %" PRIu64 " buckets", cache.mask + 1);
		cache.ages.newer = cache.ages.older = &cache.ages;
		for (uint64_t op = 0; op < ops; op++)
			request(&cache, bench_random(&state));
		while (cache.count > 0)
			drop(&cache, cache.ages.newer);
		free(cache.buckets);
		sum += cache.sum;
	}
	bench_report(rounds * ops, start, sum);
	return 0;
}
