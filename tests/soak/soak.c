/*
 * soak.c - the conductor: starts the players, leads them through the phases until the time is up, takes samples, and
 * ends with everything freed. See soak.h; run.py starts this and judges the samples.
 *
 * usage: soak FILE [SECONDS [SEED [MIB [WORKERS [CYCLES]]]]]
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "soak.h"

enum { PLAYERS_MAX = 32, PHASE_SECONDS = 240, CYCLES_TO_SETTLE = 3, TRIMS = 3 };

struct options options = {.seconds = 60, .cycles = 8, .workers = 6, .mib = 120, .seed = 1};
unsigned cycle;

static struct player players[PLAYERS_MAX];
static unsigned player_count;
static pthread_barrier_t begin, end;
static enum phase phase_now;
static _Atomic bool is_over;

static const char *const phase_names[] = {"grow", "churn", "shrink", "rest", "send", "settle", "leave"};

static void *
run_player(void *argument)
{
	struct player *player = argument;
	enum phase phase;

	player->tid = (int)syscall(SYS_gettid);
	do {
		pthread_barrier_wait(&begin);
		phase = phase_now;
		if (phase == SEND || phase == SETTLE)
			(void)lab_trim(0);
		if (phase != REST)
			player->play(player, phase);
		pthread_barrier_wait(&end);
	} while (phase != LEAVE);
	return NULL;
}

static struct player *
add_player(void (*play)(struct player *, enum phase), unsigned number)
{
	struct player *player = &players[player_count++];

	*player = (struct player){.play = play, .number = number, .random = options.seed * 7919 + player_count};
	return player;
}

static void
add_players(void)
{
	for (unsigned i = 0; i < options.workers; i++)
		add_player(play_work, i);
	add_player(play_births, 0);
	add_player(play_forks, 0);
	add_player(play_jumps, 0);
	add_player(play_libc, 0);
	tier_players[0] = add_player(play_tiers, 0);
	tier_players[1] = add_player(play_tiers, 1);
	REQUIRE(pthread_barrier_init(&begin, NULL, player_count + 1) == 0);
	REQUIRE(pthread_barrier_init(&end, NULL, player_count + 1) == 0);
	for (unsigned i = 0; i < player_count; i++)
		REQUIRE(pthread_create(&players[i].thread, NULL, run_player, &players[i]) == 0);
}

/* What the main thread does meanwhile. */
static void
accompany(enum phase phase)
{
	if (phase == CHURN && cycle % 2)
		for (int i = 0; i < TRIMS; i++) {
			nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
			(void)(i % 2 ? malloc_trim(0) : lab_trim(MIB));
		}
	else if (phase == REST)
		rest_until_quiet();
}

static void
play(enum phase phase)
{
	static char scenarios[2][64];
	char *scenario = scenarios[current_scenario == scenarios[0]];

	snprintf(scenario, sizeof scenarios[0], "seed %u, cycle %u, %s", options.seed, cycle, phase_names[phase]);
	current_scenario = scenario;
	alarm(PHASE_SECONDS);
	phase_now = phase;
	pthread_barrier_wait(&begin);
	accompany(phase);
	pthread_barrier_wait(&end);
	take_sample(phase_names[phase]);
}

/* What is freed into others' heaps is sent by the first, and taken in by the second. */
static void
settle(void)
{
	play(SEND);
	(void)lab_trim(0);
	play(SETTLE);
}

static void *
sample_every_second(void *unused)
{
	while (!is_over) {
		nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
		take_sample("second");
	}
	return unused;
}

static unsigned
number_of(const char *text)
{
	char *rest;
	unsigned long number = strtoul(text, &rest, 10);

	if (*rest || rest == text || number == 0 || number > 100000000) {
		fprintf(stderr, "soak: not a number: %s\n", text);
		exit(2);
	}
	return (unsigned)number;
}

static void
read_options(int argc, char **argv)
{
	if (argc < 2 || argc > 7) {
		fprintf(stderr, "usage: %s FILE [SECONDS [SEED [MIB [WORKERS [CYCLES]]]]]\n", argv[0]);
		exit(2);
	}
	options.file = argv[1];
	options.seconds = argc > 2 ? number_of(argv[2]) : options.seconds;
	options.seed = argc > 3 ? number_of(argv[3]) : options.seed;
	options.mib = argc > 4 ? number_of(argv[4]) : options.mib;
	options.workers = argc > 5 ? number_of(argv[5]) : options.workers;
	options.cycles = argc > 6 ? number_of(argv[6]) : options.cycles;
	if (options.workers > 16)
		options.workers = 16;
}

/* Everybody goes, and what was on the shelf. */
static void
end_all(pthread_t sampler)
{
	play(LEAVE);
	for (unsigned i = 0; i < player_count; i++)
		REQUIRE(pthread_join(players[i].thread, NULL) == 0);
	is_over = true;
	REQUIRE(pthread_join(sampler, NULL) == 0);
	clear_shelf();
	REQUIRE(live_blocks == 0 && live_bytes == 0);
	rest_until_empty();
	take_sample("end");
}

int
main(int argc, char **argv)
{
	pthread_t sampler;

	read_options(argc, argv);
	start_test(1, argv, PHASE_SECONDS);
	printf("soak: seed %u, at least %u s and %u cycles, %zu MiB, %u workers\n", options.seed, options.seconds,
	       options.cycles, options.mib, options.workers);
	open_samples();
	take_sample("start");
	add_players();
	REQUIRE(pthread_create(&sampler, NULL, sample_every_second, NULL) == 0);
	uint64_t time_up = now_ms() + (uint64_t)options.seconds * 1000;
	for (cycle = 0; cycle < options.cycles || now_ms() < time_up; cycle++) {
		for (enum phase phase = GROW; phase <= REST; phase++)
			play(phase);
		if (cycle % CYCLES_TO_SETTLE == CYCLES_TO_SETTLE - 1)
			settle();
	}
	end_all(sampler);
	printf("soak: %u cycles, %zu operations, %zu handlers, %zu jumps, %zu births, %zu forks\n", cycle, operations,
	       handlers, jumps, births, forks);
	return end_test();
}
