/* learn.c - see learn.h. */
#include "learn.h"

#include "stepper.h"

/* A call that repairs a large heap repeats itself. */
enum { LEARN_MAX = 16384, STEPS_MAX = 2500, TEXT_MAX = 4 << 20 };

static struct {
	uint32_t offsets[LEARN_MAX];
	uint32_t count;
	unsigned char seen[TEXT_MAX / 8];
} learned[CALLS];
static int current;
static unsigned steps;

bool
learn_hook(void)
{
	uint32_t offset = (uint32_t)current_offset;
	unsigned char bit = (unsigned char)(1u << (offset % 8));

	if (learned[current].count < LEARN_MAX && offset < TEXT_MAX && !(learned[current].seen[offset / 8] & bit)) {
		learned[current].seen[offset / 8] |= bit;
		learned[current].offsets[learned[current].count++] = offset;
	}
	if (++steps > STEPS_MAX)
		step_no_more();
	return false;
}

void
learn_call(const struct call *call)
{
	current = (int)(call - calls);
	in_hand = result = NULL;
	call->prepare();
	steps = 0;
	step_on();
	call->run();
	step_off();
	finish_call(call);
}

uint32_t
learned_offset(const struct call *call)
{
	int i = (int)(call - calls);
	uint32_t n = next_random(&random_state), count = learned[i].count;

	REQUIRE(count > 0);
	if (n % 4 == 0 && count > 64) /* what is seen seldom is seen late */
		return learned[i].offsets[count - 1 - n / 4 % (count / 4)];
	return learned[i].offsets[n / 4 % count];
}
