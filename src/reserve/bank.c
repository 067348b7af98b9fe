/* bank.c - see bank.h. */
#include "reserve/bank.h"

void *
lab_bank_claim(const struct lab_bank *bank, uint32_t from, uint32_t end, bool *lost)
{
	for (uint32_t i = from / LAB_SLOTS_A_WORD; from < end && i <= (end - 1) / LAB_SLOTS_A_WORD; i++) {
		int bit = lab_slots_claim(&bank->words[i], lab_bank_mask(from, end, i));
		if (bit >= 0)
			return lab_bank_slot(bank, i, (unsigned)bit);
		*lost |= bit == LAB_SLOTS_LOST;
	}
	return NULL;
}

size_t
lab_bank_slot_size(const struct lab_bank *bank, const void *p)
{
	size_t offset = (size_t)((const char *)p - bank->base), slot = offset >> bank->shift;
	uint64_t word = lab_load_rlx(&bank->words[slot / LAB_SLOTS_A_WORD]);
	bool is_taken = lab_slots_is_open(word) && !(word >> slot % LAB_SLOTS_A_WORD & 1);

	return is_taken && slot << bank->shift == offset ? (size_t)1 << bank->shift : 0;
}

uint32_t
lab_bank_free(const struct lab_bank *bank, uint32_t from, uint32_t end)
{
	uint32_t free = 0;

	for (uint32_t i = from / LAB_SLOTS_A_WORD; from < end && i * LAB_SLOTS_A_WORD < end; i++)
		free += (uint32_t)__builtin_popcountll(lab_load_rlx(&bank->words[i]) & lab_bank_mask(from, end, i));
	return free;
}

/* What word i is when all of its slots are free. */
static uint64_t
all_free(const struct lab_bank *bank, uint32_t i)
{
	uint32_t left = bank->slots - i * LAB_SLOTS_A_WORD;

	return lab_slots_all_free(left < LAB_SLOTS_A_WORD ? left : LAB_SLOTS_A_WORD);
}

void
lab_bank_open(const struct lab_bank *bank)
{
	for (uint32_t i = 0; i < lab_bank_words(bank->slots); i++)
		(void)lab_cas64(&bank->words[i], 0, all_free(bank, i)); /* pairs with the instruction that claims */
}

bool
lab_bank_is_idle(const struct lab_bank *bank)
{
	for (uint32_t i = 0; i < lab_bank_words(bank->slots); i++) {
		uint64_t word = lab_load_rlx(&bank->words[i]);
		if (word != 0 && word != all_free(bank, i))
			return false;
	}
	return true;
}

bool
lab_bank_close(const struct lab_bank *bank)
{
	bool idle = lab_bank_is_idle(bank); /* else nothing is closed for a moment */

	for (uint32_t i = 0; idle && i < lab_bank_words(bank->slots); i++)
		/* pairs with the instruction that releases: the slots' last holders are done */
		idle = lab_load_rlx(&bank->words[i]) == 0 || lab_cas64(&bank->words[i], all_free(bank, i), 0);
	if (!idle)
		lab_bank_open(bank);
	return idle;
}

bool
lab_bank_is_closed(const struct lab_bank *bank)
{
	for (uint32_t i = 0; i < lab_bank_words(bank->slots); i++)
		if (lab_load_rlx(&bank->words[i]) != 0)
			return false;
	return true;
}
