/*
 * bank.h - slots of one size, side by side, and the words that say which of them are free. The reserve's classes are
 * banks, and so are the shares that are added to them. Any context: no lock, no system call, no loop but over the
 * bank's words.
 */
#ifndef LAB_RESERVE_BANK_H
#define LAB_RESERVE_BANK_H

#include "reserve/slot.h"

#define LAB_RESERVE_CLASSES   12u
#define LAB_RESERVE_MIN_SHIFT 5u
#define LAB_RESERVE_MAX_SHIFT 16u
#define LAB_RESERVE_PAGE      ((size_t)4096)

struct lab_range {
	char *start;
	size_t size;
};

struct lab_bank {
	_Atomic uint64_t *words; /* of LAB_SLOTS_A_WORD slots each, the last of those that are left */
	char *base;              /* a multiple of a slot's size */
	uint32_t slots, shift;   /* shift: log2 of bytes a slot */
};

/* log2 of bytes a slot that a request takes: slots are aligned to their size. align >= 1. It may be more than
 * LAB_RESERVE_MAX_SHIFT. */
static inline unsigned
lab_bank_shift_for(size_t size, size_t align)
{
	size_t least = (size > align ? size : align) - 1;

	return lab_log2(least | ((1u << LAB_RESERVE_MIN_SHIFT) - 1)) + 1;
}

static inline uint32_t
lab_bank_words(uint32_t slots)
{
	return (slots + LAB_SLOTS_A_WORD - 1) / LAB_SLOTS_A_WORD;
}

static inline size_t
lab_bank_bytes(const struct lab_bank *bank)
{
	return (size_t)bank->slots << bank->shift;
}

static inline bool
lab_bank_contains(const struct lab_bank *bank, const void *p)
{
	return (uintptr_t)p - (uintptr_t)bank->base < lab_bank_bytes(bank);
}

/* Those of a word's slots that are in [from, end). The word has at least one of them. */
static inline uint32_t
lab_bank_mask(uint32_t from, uint32_t end, uint32_t word)
{
	uint32_t mask = UINT32_MAX;

	if (word == from / LAB_SLOTS_A_WORD)
		mask &= UINT32_MAX << from % LAB_SLOTS_A_WORD;
	if (word == (end - 1) / LAB_SLOTS_A_WORD)
		mask &= UINT32_MAX >> (LAB_SLOTS_A_WORD - 1 - (end - 1) % LAB_SLOTS_A_WORD);
	return mask;
}

static inline char *
lab_bank_slot(const struct lab_bank *bank, uint32_t word, unsigned bit)
{
	return bank->base + (((size_t)word * LAB_SLOTS_A_WORD + bit) << bank->shift);
}

/* The first free slot of [from, end), or NULL: each word was seen without; *lost is set if LAB_SLOTS_TRIES claims of
 * one were lost to others instead. */
void *lab_bank_claim(const struct lab_bank *bank, uint32_t from, uint32_t end, bool *lost);

/* p is in the bank. */
static inline enum lab_reserve_release
lab_bank_release(const struct lab_bank *bank, const void *p)
{
	size_t offset = (size_t)((const char *)p - bank->base), slot = offset >> bank->shift;

	if (lab_unlikely(slot << bank->shift != offset))
		return LAB_RESERVE_NOT_A_SLOT;
	return lab_slots_release(&bank->words[slot / LAB_SLOTS_A_WORD], slot % LAB_SLOTS_A_WORD);
}

/* p is in the bank. Bytes of the taken slot that starts there; 0: there is none. */
size_t lab_bank_slot_size(const struct lab_bank *bank, const void *p);

/* Free slots in [from, end), counted. */
uint32_t lab_bank_free(const struct lab_bank *bank, uint32_t from, uint32_t end);

/* Opens the words that are closed: all of their slots are free, and their memory is there. */
void lab_bank_open(const struct lab_bank *bank);

/* Closes all words; false: slots are in use, and all words are open. Not beside the opening or another closing of the
 * same bank. */
bool lab_bank_close(const struct lab_bank *bank);
/* Whether all slots are free in words that are open; whether none is open. */
bool lab_bank_is_idle(const struct lab_bank *bank);
bool lab_bank_is_closed(const struct lab_bank *bank);

#endif
