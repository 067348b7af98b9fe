/* settings.h - those settings that this layer reads, each one word that any thread may read at any time; others are
 * kept by the modules that set_KEY (setting.c) hands them to. */
#ifndef LAB_ALLOC_SETTINGS_H
#define LAB_ALLOC_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

/* Values of trim_threshold that no heap reaches: the default, and the one that stops decay as well
 * (lab_purge_is_held). */
#define LAB_TRIM_BY_DECAY (SIZE_MAX - 1)
#define LAB_TRIM_NEVER    SIZE_MAX

/* Settings in force; see settings.def. */
struct lab_settings {
	_Atomic size_t decay_ms;
	_Atomic bool purge_in_whole; /* decay leaves huge pages whole */
	_Atomic size_t trim_threshold;
	_Atomic size_t dirty_max;
	_Atomic size_t huge_threshold;
	_Atomic size_t wait_ms;
	_Atomic uint8_t perturb;
	_Atomic bool count_allocations;
	bool background;                  /* there is to be a thread; read at start */
	size_t profile_distance;          /* bytes; 0: no heap profile; read at start, as the next two */
	int profile_signal;               /* at which the profile is dumped; 0: none */
	bool report_leaks;                /* what is in use at exit is told by who asked for it; read at start */
	_Atomic bool log_exclusive;       /* a foreign free of an exclusive block is logged, and does not abort */
	_Atomic uint32_t profile;         /* its number in settings.def; what it stands for has been taken as well */
	_Atomic size_t stats_interval;    /* ms; 0: never */
	_Atomic uint32_t stats_format;    /* an enum lab_stats_format */
	_Atomic uint32_t stats_signal;    /* 0: none; read at start */
	_Atomic(const char *) stats_file; /* where the figures go at exit; "" is stderr, NULL is nowhere */
};
extern struct lab_settings lab_settings;

/* Chooses between fast and slow calls, from the settings. */
void lab_config_apply(void);

#endif
