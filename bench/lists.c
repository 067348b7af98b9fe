/*
 * lists.c - many short lists that are copied, merged, filtered and thrown away.
 *
 * What solvers, minimisers and interpreters do all day: nodes of 24 to 48 bytes, each linked to the next, so that an
 * allocator that puts neighbours in time next to each other in memory makes the walk over them cheap as well.
 */
#include "bench.h"

static uint64_t ops = 400000;
static uint64_t lists = 2000;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 5000, 1, BENCH_MAX_OPS, "operations on lists"},
        {"lists", &lists, 200, 2, BENCH_MAX_BLOCK, "lists that live"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

#define LONGEST 200

struct node {
	struct node *next;
	uint64_t value;
	uint64_t room[]; /* 1 … 4 words; the last is ~value */
};

static uint64_t sum;

static struct node *
make(uint64_t value, struct node *next)
{
	size_t words = 1 + value % 4;
	struct node *node = bench_malloc(sizeof(*node) + words * sizeof(uint64_t));
	node->next = next;
	node->value = value;
	node->room[words - 1] = ~value;
	return node;
}

/* Frees the node. Gives the next. */
static struct node *
drop(struct node *node)
{
	struct node *next = node->next;
	if (node->room[node->value % 4] != ~node->value)
		bench_fail("corrupted node: %p", (void *)node);
	sum += node->value;
	free(node);
	return next;
}

static void
drop_all(struct node *list)
{
	while (list)
		list = drop(list);
}

/* Those values of the list that are not divisible by `divisor`, as a new list in the same order. */
static struct node *
copy_without(const struct node *list, uint64_t divisor)
{
	struct node *first = NULL, **end = &first;
	for (; list; list = list->next) {
		if (list->value % divisor == 0)
			continue;
		*end = make(list->value, NULL);
		end = &(*end)->next;
	}
	return first;
}

/* Takes two sorted lists. Equal values are kept once. */
static struct node *
merge(struct node *a, struct node *b)
{
	struct node *first = NULL, **end = &first;
	while (a && b) {
		struct node **least = a->value <= b->value ? &a : &b;
		if (a->value == b->value)
			b = drop(b);
		*end = *least;
		end = &(*end)->next;
		*least = (*least)->next;
	}
	*end = a ? a : b;
	return first;
}

static struct node *
cut(struct node *list, unsigned length)
{
	struct node **at = &list;
	while (*at && length-- > 0)
		at = &(*at)->next;
	drop_all(*at);
	*at = NULL;
	return list;
}

/* A sorted list of some values. */
static struct node *
random_list(uint64_t *state)
{
	uint64_t length = 1 + bench_random(state) % 20, value = UINT64_C(1) << 40;
	struct node *list = NULL;
	while (length-- > 0)
		list = make(value -= 1 + bench_random(state) % 5000, list);
	return list;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "many short lists", options, BENCH_COUNT(options));
	double start = bench_seconds();
	struct node **all = calloc(lists, sizeof(struct node *));
	uint64_t state = seed;
	if (!all)
		bench_fail("no table");
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t random = bench_random(&state);
		struct node **a = &all[bench_scale_high(random, lists)],
		            **b = &all[bench_scale((uint32_t)random, lists)];
		if (!*b)
			*b = random_list(&state);
		struct node *copy = copy_without(*b, 2 + random % 5);
		if (a == b) {
			drop_all(*b);
			*a = cut(merge(copy, random_list(&state)), LONGEST);
			continue;
		}
		*a = cut(merge(*a, copy), LONGEST);
		if (random % 3 == 0) {
			drop_all(*b);
			*b = NULL;
		}
	}
	for (uint64_t i = 0; i < lists; i++)
		drop_all(all[i]);
	free(all);
	bench_report(ops, start, sum);
	return 0;
}
