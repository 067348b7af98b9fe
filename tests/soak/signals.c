/*
 * signals.c - handlers that allocate: each worker has a timer whose handler keeps blocks over many interruptions,
 * exchanges them with other threads, and claims from the reserve. One player leaves malloc and free by siglongjmp.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "soak.h"

enum { HELD = 32, HOLDERS = 16, PERIOD_NS = 1500000, JUMPS = 6, JUMP_PERIOD_NS = 300000 };

_Atomic size_t handlers, jumps, cuts;

/* ---- handlers that allocate ------------------------------------------------------------------------------------ */

struct holder {
	struct block held[HELD];
	uint32_t random, turn;
};

static struct holder holders[HOLDERS];
static _Thread_local struct holder *holder __attribute__((tls_model("initial-exec")));
static _Thread_local timer_t timer __attribute__((tls_model("initial-exec")));
static _Thread_local bool has_timer __attribute__((tls_model("initial-exec")));

static void
claim_from_the_reserve(uint32_t *random)
{
	size_t size = 16 + next_random(random) % 1000;
	void *p = lab_alloc(size, LAB_GFP_ATOMIC |
	                                  (next_random(random) % 4 ? LAB_GFP_NOWARN : LAB_GFP_ZERO | LAB_GFP_NOWARN));

	if (!p)
		return;
	struct block block = block_of(p, size);
	check_block(&block);
	lab_free(p);
}

static void
on_timer(int number)
{
	int before = errno;
	struct holder *h = holder;

	(void)number;
	if (!h)
		return;
	uint32_t n = h->turn++;
	struct block *place = &h->held[n % HELD];
	if (place->p && n % 3 == 0)
		resize(place, size_of(SMALL, &h->random));
	else
		drop(place);
	if (!place->p)
		*place = allocate(&h->random, size_of(n % 64 ? SMALL : n % 512 ? PAGES : HUGE_ONES, &h->random));
	if (n % 4 == 0)
		claim_from_the_reserve(&h->random);
	if (n % 8 == 0)
		exchange(&h->random);
	atomic_fetch_add_explicit(&handlers, 1, memory_order_relaxed);
	errno = before;
}

static timer_t
new_timer(int number)
{
	timer_t made;
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = number};

	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &made) == 0);
	return made;
}

static void
set_timer(timer_t which, long first, long period)
{
	struct itimerspec times = {.it_value.tv_nsec = first, .it_interval.tv_nsec = period};

	REQUIRE(timer_settime(which, 0, &times, NULL) == 0);
}

void
be_interrupted(unsigned number)
{
	if (!has_timer) {
		sigaction(SIGRTMIN, &(struct sigaction){.sa_handler = on_timer, .sa_flags = SA_RESTART}, NULL);
		holders[number].random = options.seed + number;
		timer = new_timer(SIGRTMIN);
		has_timer = true;
	}
	holder = &holders[number];
	set_timer(timer, PERIOD_NS, PERIOD_NS);
}

void
be_left_alone(void)
{
	if (has_timer)
		set_timer(timer, 0, 0);
	holder = NULL;
}

void
drop_held(unsigned number)
{
	for (int i = 0; i < HELD; i++)
		drop(&holders[number].held[i]);
}

/* ---- jumps ----------------------------------------------------------------------------------------------------- */

static _Thread_local sigjmp_buf landing __attribute__((tls_model("initial-exec")));
static _Thread_local volatile sig_atomic_t may_jump __attribute__((tls_model("initial-exec")));

static void
on_jump(int number)
{
	struct block block = new_block(100);

	(void)number;
	free_block(&block);
	if (may_jump) {
		may_jump = 0;
		siglongjmp(landing, 1);
	}
}

/* What is in hand when a call is not cut off. */
static struct hand jumpers_hand;

void
play_jumps(struct player *player, enum phase phase)
{
	uint32_t random = player->random;

	if (phase != CHURN || !is_cutting())
		return;
	sigaction(SIGRTMIN + 1, &(struct sigaction){.sa_handler = on_jump, .sa_flags = SA_RESTART}, NULL);
	timer_t jump_timer = new_timer(SIGRTMIN + 1);
	for (volatile int i = 0; i < JUMPS; i++) {
		if (sigsetjmp(landing, 1) == 0) {
			may_jump = 1;
			set_timer(jump_timer, JUMP_PERIOD_NS + (long)(next_random(&player->random) % JUMP_PERIOD_NS),
			          0);
			fill_and_empty(&jumpers_hand, &random);
		}
		empty_hand(&jumpers_hand);
		jumps++;
		cuts++;
	}
	REQUIRE(timer_delete(jump_timer) == 0);
}
