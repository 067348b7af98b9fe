/*
 * lives.c - threads that are born and end all the time: by return, by pthread_exit, cancelled where they allow it and
 * where they do not, and without libc's knowledge. What they leave on the shelf is used on; their last blocks are freed
 * by a destructor.
 */
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "soak.h"

enum { LIVES = 40, AT_ONCE = 4, OWN = 100 };
enum end { RETURN, EXIT, DEFERRED, RAW, GENTLE_ENDS, ASYNCHRONOUS }; /* the last may lose a block */

_Atomic size_t births;

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

struct life {
	pthread_t thread;
	uint32_t random;
	enum end end;
	_Atomic bool may_be_ended;
	struct hand hand;
	struct block own[OWN];
};

static void
drop_last(void *value)
{
	struct block *block = value;

	drop(block);
}

static void
make_key(void)
{
	REQUIRE(pthread_key_create(&key, drop_last) == 0);
}

static void
drop_own(void *argument)
{
	struct life *life = argument;

	for (int i = 1; i < OWN; i++)
		drop(&life->own[i]);
}

static void
live(struct life *life)
{
	REQUIRE(pthread_setspecific(key, &life->own[0]) == 0);
	for (int i = 0; i < OWN; i++)
		life->own[i] = allocate(&life->random, size_of(i % 20 ? SMALL : MIXED, &life->random));
	exchange(&life->random);
}

static void
die(struct life *life)
{
	int old;

	switch (life->end) {
	case EXIT:
		pthread_exit(NULL);
	case RAW:
		syscall(SYS_exit, 0);
		break;
	case ASYNCHRONOUS:
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
		life->may_be_ended = true;
		fill_and_empty(&life->hand, &life->random);
	case DEFERRED:
		life->may_be_ended = true;
		fill_and_empty(&life->hand, &life->random);
	default:
		return;
	}
}

static void *
be_born(void *argument)
{
	struct life *life = argument;

	live(life);
	if (life->end == RAW || life->end == ASYNCHRONOUS) { /* they have nothing when they end */
		drop_own(life);
		drop(&life->own[0]);
		die(life);
	}
	pthread_cleanup_push(drop_own, life);
	die(life);
	pthread_cleanup_pop(1);
	return NULL;
}

static void
bury(struct life *life)
{
	if (life->end == DEFERRED || life->end == ASYNCHRONOUS) {
		while (!life->may_be_ended)
			sched_yield();
		REQUIRE(pthread_cancel(life->thread) == 0);
	}
	REQUIRE(pthread_join(life->thread, NULL) == 0);
	empty_hand(&life->hand);
	if (life->end == ASYNCHRONOUS)
		cuts++;
}

void
play_births(struct player *player, enum phase phase)
{
	static struct life lives[AT_ONCE];

	if (phase == SEND)
		absorb_the_dead();
	if (phase != CHURN && phase != GROW)
		return;
	pthread_once(&key_once, make_key);
	for (int i = 0; i < LIVES; i += AT_ONCE) {
		for (int j = 0; j < AT_ONCE; j++) {
			struct life *life = &lives[j];
			life->random = next_random(&player->random);
			life->end = is_cutting() && i + j == 0 ? ASYNCHRONOUS
			                                       : (enum end)((i + i / AT_ONCE + j) % GENTLE_ENDS);
			life->may_be_ended = false;
			REQUIRE(pthread_create(&life->thread, NULL, be_born, life) == 0);
			births++;
		}
		for (int j = 0; j < AT_ONCE; j++)
			bury(&lives[j]);
	}
}
