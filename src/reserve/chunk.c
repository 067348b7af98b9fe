/*
 * chunk.c - opening and closing the chunks by which a class grows (docs/adr/0011). Any thread, any context; every step is one CAS, and a
 * frame that is cut short leaves a chunk that somebody else finishes, or one that stays closed while its thread lives.
 */
#include "reserve/layout.h"

static void
describe(const struct lab_pool *pool, unsigned c, uint32_t index, struct lab_chunk *chunk)
{
	uint32_t first = index * pool->chunk_words;
	uintptr_t words = (uintptr_t)&pool->grown[first], page = words & ~(LAB_RESERVE_PAGE - 1);
	size_t words_end = lab_round_up(words + pool->chunk_words * sizeof *pool->grown, LAB_RESERVE_PAGE);

	chunk->c = c;
	chunk->index = index;
	chunk->memory.start = pool->base + (pool->grown_from + first) * lab_pool_word_bytes(pool);
	chunk->memory.size = pool->chunk_words * lab_pool_word_bytes(pool);
	chunk->words = (struct lab_range){(char *)page, words_end - page};
}

static _Atomic uint64_t *
word_of(const struct lab_chunk *chunk, unsigned i)
{
	const struct lab_pool *pool = &lab_reserve_state.pools[chunk->c];

	return &pool->grown[chunk->index * pool->chunk_words + i];
}

static unsigned
words_of(const struct lab_chunk *chunk)
{
	return lab_reserve_state.pools[chunk->c].chunk_words;
}

/* Chunks below `open_words` have words that may be read; the next one has never been opened, and its words may not be accessible yet. */
static bool
see_closed(const struct lab_pool *pool, unsigned c, uint32_t index, bool is_new, struct lab_chunk *chunk)
{
	describe(pool, c, index, chunk);
	for (unsigned i = 0; i < pool->chunk_words; i++)
		chunk->seen[i] = is_new ? 0 : lab_load_acq(word_of(chunk, i));
	return lab_slots_is_closed(chunk->seen[0]);
}

bool
lab_reserve_next_closed(unsigned c, struct lab_chunk *chunk)
{
	const struct lab_pool *pool = &lab_reserve_state.pools[c];
	uint32_t open = lab_load_acq(&pool->open_words);

	if (lab_reserve_total() + pool->chunk_words * lab_pool_word_bytes(pool) > lab_reserve_state.limit)
		return false;
	for (uint32_t i = 0; i < pool->grown_words / pool->chunk_words; i++) {
		bool is_new = i * pool->chunk_words >= open;
		if (see_closed(pool, c, i, is_new, chunk))
			return true;
	}
	return false;
}

/* INV-RES-4: word 0 last. A word that another filler has opened already is as good. */
bool
lab_reserve_open(const struct lab_chunk *chunk)
{
	struct lab_pool *pool = &lab_reserve_state.pools[chunk->c];
	uint64_t all_free = lab_slots_all_free(lab_pool_slots_a_word(pool));
	uint32_t end = (chunk->index + 1) * pool->chunk_words, open = lab_load_acq(&pool->open_words);

	/* before the words: a claim may look at closed ones. rel pairs with the acq of claims. */
	while (open < end && !atomic_compare_exchange_weak(&pool->open_words, &open, end))
		;
	for (unsigned i = words_of(chunk); i-- > 1;)
		if (lab_slots_is_closed(chunk->seen[i]))
			(void)lab_cas64(word_of(chunk, i), chunk->seen[i], all_free);
	return lab_cas64(word_of(chunk, 0), chunk->seen[0], all_free);
}

/* Wins word 0, which makes the chunk the caller's: INV-RES-4. */
static bool
win(const struct lab_chunk *chunk, uint64_t mine, uint64_t all_free, lab_is_dead *is_dead)
{
	_Atomic uint64_t *word = word_of(chunk, 0);
	uint64_t value = lab_load_acq(word);

	if (lab_slots_is_closing(value))
		return lab_lease_win(word, value, mine, is_dead);
	return value == all_free && lab_cas64(word, value, mine);
}

/* The other words: free, closed, or as somebody dead has left them. False: slots are in use. */
static bool
close_rest(struct lab_chunk *chunk, uint64_t mine, uint64_t all_free)
{
	for (unsigned i = 1; i < words_of(chunk); i++) {
		uint64_t value = lab_load_acq(word_of(chunk, i));
		while (value != mine) {
			if (lab_slots_is_open(value) && value != all_free)
				return false;
			if (lab_cas64(word_of(chunk, i), value, mine))
				break;
			value = lab_load_acq(word_of(chunk, i));
		}
	}
	return true;
}

bool
lab_reserve_begin_close(unsigned c, uint32_t *from, uint32_t tid, lab_is_dead *is_dead, struct lab_chunk *chunk)
{
	const struct lab_pool *pool = &lab_reserve_state.pools[c];
	uint64_t all_free = lab_slots_all_free(lab_pool_slots_a_word(pool));
	uint32_t chunks = lab_load_acq(&pool->open_words) / pool->chunk_words;

	while (*from < chunks) {
		uint64_t mine = lab_slots_closing(lab_add_rlx(&lab_reserve_state.tickets, 1), tid);
		describe(pool, c, (*from)++, chunk);
		for (unsigned i = 0; i < LAB_CHUNK_WORDS; i++)
			chunk->seen[i] = mine;
		if (!win(chunk, mine, all_free, is_dead))
			continue;
		if (close_rest(chunk, mine, all_free))
			return true;
		lab_reserve_undo_close(chunk);
	}
	return false;
}

/* Word 0 last: INV-RES-4. */
static void
end(const struct lab_chunk *chunk, uint64_t value)
{
	for (unsigned i = words_of(chunk); i-- > 0;)
		(void)lab_cas64(word_of(chunk, i), chunk->seen[i], value);
}

void
lab_reserve_end_close(const struct lab_chunk *chunk)
{
	end(chunk, lab_slots_closed(lab_add_rlx(&lab_reserve_state.tickets, 1) + 1));
}

void
lab_reserve_undo_close(const struct lab_chunk *chunk)
{
	end(chunk, lab_slots_all_free(1u << lab_pool_word_shift(chunk->c)));
}

void
lab_reserve_settle(const struct lab_lease_fork *fork)
{
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		struct lab_pool *pool = &lab_reserve_state.pools[c];
		for (uint32_t i = 0; i < lab_load_acq(&pool->open_words); i++) {
			uint64_t value = lab_load_rlx(&pool->grown[i]);
			if (lab_slots_is_closing(value))
				lab_lease_settle(&pool->grown[i], fork, lab_lease_nobodys(value));
		}
	}
}

bool
lab_reserve_open_chunk(unsigned c, uint32_t i, struct lab_chunk *chunk, bool *end_of_chunks)
{
	const struct lab_pool *pool = &lab_reserve_state.pools[c];

	*end_of_chunks = i >= lab_load_acq(&pool->open_words) / pool->chunk_words;
	if (*end_of_chunks)
		return false;
	describe(pool, c, i, chunk);
	return lab_slots_is_open(lab_load_acq(word_of(chunk, 0)));
}
