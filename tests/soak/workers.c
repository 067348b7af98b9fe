/*
 * workers.c - the main part of the load. A worker fills a table to its share of memory, turns its blocks over, gives
 * most of them up and rests, with sizes that are others in every cycle. In pairs one hands its blocks to the other, in
 * turns. All are interrupted.
 */
#include <stdlib.h>

#include "soak.h"

enum { WORKERS_MAX = 16, SLOTS = 8192, PIPE = 4096, CHAIN = 64, CHAINED_MAX = 100000, TURNS = 30000, STAYING = 1024 };

struct worker {
	struct block slots[SLOTS];
	size_t bytes; /* asked for, in the slots */
};

static struct worker workers[WORKERS_MAX];

struct link {
	struct link *next;
	uintptr_t check;
};

/* From worker 2i to 2i + 1 in even cycles, back in odd ones. One writer, one reader; an empty place is NULL. */
struct pipe {
	_Atomic(unsigned char *) p[PIPE];
	struct block blocks[PIPE];
	unsigned in, out;
	/* Many more small ones, which are not counted: pushed by one, taken all at once by the other. */
	_Atomic(struct link *) chain;
	_Atomic unsigned chained;
};

static struct pipe pipes[WORKERS_MAX / 2];

static void
fill(struct worker *worker, uint32_t *random, struct block *slot, size_t size)
{
	*slot = allocate(random, size);
	worker->bytes += size;
}

static void
empty(struct worker *worker, struct block *slot)
{
	if (slot->p)
		worker->bytes -= slot->size;
	drop(slot);
}

/* ---- pairs ----------------------------------------------------------------------------------------------------- */

/* What finds no room is freed at home. */
static void
send(struct pipe *pipe, struct block block)
{
	unsigned place = pipe->in % PIPE;

	if (atomic_load_explicit(&pipe->p[place], memory_order_acquire)) {
		drop(&block);
		return;
	}
	pipe->blocks[place] = block;
	pipe->in++;
	atomic_store_explicit(&pipe->p[place], block.p, memory_order_release);
}

static bool
receive(struct pipe *pipe)
{
	unsigned place = pipe->out % PIPE;

	if (!atomic_load_explicit(&pipe->p[place], memory_order_acquire))
		return false;
	struct block block = pipe->blocks[place];
	pipe->out++;
	atomic_store_explicit(&pipe->p[place], NULL, memory_order_release);
	drop(&block);
	return true;
}

/* Frees of other threads' blocks at a rate at which one that is lost in many thousands is seen. */
static void
send_chain(struct pipe *pipe, uint32_t *random)
{
	struct link *first = NULL, *last = NULL;

	if (pipe->chained > CHAINED_MAX)
		return;
	for (int i = 0; i < CHAIN; i++) {
		struct link *link = malloc(sizeof *link + next_random(random) % 64);
		REQUIRE(link != NULL);
		*link = (struct link){.next = first, .check = ~(uintptr_t)link};
		last = last ? last : link;
		first = link;
	}
	pipe->chained += CHAIN;
	last->next = pipe->chain;
	while (!atomic_compare_exchange_weak(&pipe->chain, &last->next, first))
		;
}

static void
receive_chain(struct pipe *pipe)
{
	for (struct link *link = atomic_exchange(&pipe->chain, NULL), *next; link; link = next) {
		next = link->next;
		if (link->check != ~(uintptr_t)link)
			fail("a link's contents", (uintptr_t)link, link->check);
		free(link);
		pipe->chained--;
	}
}

static void
hand_on(struct player *player)
{
	struct pipe *pipe = &pipes[player->number / 2];

	if (player->number % 2 == cycle % 2) {
		for (int i = 0; i < 8; i++)
			send(pipe, allocate(&player->random, size_of(i ? SMALL : MIDDLING, &player->random)));
		send_chain(pipe, &player->random);
		return;
	}
	receive_chain(pipe);
	for (int i = 0; i < 8 && receive(pipe); i++)
		;
}

/* ---- phases ---------------------------------------------------------------------------------------------------- */

static enum mix
mix_of(const struct player *player)
{
	return (enum mix)((player->number + cycle) % MIXES);
}

static void
grow(struct player *player, struct worker *worker)
{
	size_t share = options.mib * MIB / options.workers;

	for (size_t i = 0; i < SLOTS && worker->bytes < share; i++)
		if (!worker->slots[i].p)
			fill(worker, &player->random, &worker->slots[i], size_of(mix_of(player), &player->random));
}

/* As much comes as goes. */
static void
turn_over(struct player *player, struct worker *worker)
{
	size_t share = options.mib * MIB / options.workers;
	struct block *slot = &worker->slots[next_random(&player->random) % SLOTS];
	size_t size = size_of(mix_of(player), &player->random);

	if (slot->p && next_random(&player->random) % 8 == 0) {
		worker->bytes += size - slot->size;
		resize(slot, size);
	} else if (slot->p) {
		empty(worker, slot);
	} else if (worker->bytes < share) {
		fill(worker, &player->random, slot, size);
	}
}

static void
churn(struct player *player, struct worker *worker)
{
	unsigned turns = mix_of(player) >= PAGES && mix_of(player) <= HUGE_ONES ? TURNS / 20 : TURNS;

	for (unsigned i = 0; i < turns; i++) {
		turn_over(player, worker);
		if (i % 16 == 0)
			hand_on(player);
		if (i % 64 == 0)
			exchange(&player->random);
		if (i % 4096 == 0)
			climb(&player->random);
	}
}

/* Some small blocks stay for the next cycles, anywhere. */
static void
shrink(struct player *player, struct worker *worker)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (worker->slots[i].size > STAYING || next_random(&player->random) % 64 != 0)
			empty(worker, &worker->slots[i]);
	while (player->number % 2 == 0 && receive(&pipes[player->number / 2]))
		;
	if (player->number % 2 == 0)
		receive_chain(&pipes[player->number / 2]);
}

static void
leave(struct player *player, struct worker *worker)
{
	for (size_t i = 0; i < SLOTS; i++)
		empty(worker, &worker->slots[i]);
	drop_held(player->number);
}

void
play_work(struct player *player, enum phase phase)
{
	struct worker *worker = &workers[player->number];

	if (phase == GROW || phase == CHURN)
		be_interrupted(player->number);
	if (phase == GROW)
		grow(player, worker);
	else if (phase == CHURN)
		churn(player, worker);
	else if (phase == SHRINK)
		shrink(player, worker);
	else if (phase == LEAVE)
		leave(player, worker);
	be_left_alone();
}
