/* settings.c - what is built in: see settings.h. */
#include "alloc/settings.h"
#include "debug/dress.h"
#include "heap/thread.h"
#include "insight/profile.h"
#include "page/unit.h"

#define DECAY_MS_DEFAULT  1000
#define DIRTY_MAX_DEFAULT ((size_t)32 << 20)

struct lab_settings lab_settings = {
        .decay_ms = DECAY_MS_DEFAULT,
        .trim_threshold = LAB_TRIM_BY_DECAY,
        .dirty_max = DIRTY_MAX_DEFAULT,
        .huge_threshold = SIZE_MAX,
};

void
lab_config_apply(void)
{
	bool slow = lab_load_rlx(&lab_settings.perturb) != 0 || lab_load_rlx(&lab_settings.count_allocations) ||
	            lab_debug_is_on();

	bool is_counted = lab_profile_is_on();

	lab_store_rlx(&lab_unit_open_tag, is_counted ? LAB_UNIT_OPEN_COUNTED : LAB_UNIT_OPEN);
	lab_store_rlx(&lab_word_tag, slow ? LAB_WORD_SLOW : is_counted ? LAB_WORD_COUNTED : LAB_WORD_FAST);
}
