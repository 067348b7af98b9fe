/*
 * alloc.h - what the files of this layer share. The API's functions are declared in include/labyrinth/labyrinth.h.
 */
#ifndef LAB_ALLOC_ALLOC_H
#define LAB_ALLOC_ALLOC_H

#include <labyrinth/labyrinth.h>

#include "heap/thread.h"

/* What an allocation asks for. */
struct lab_request {
	size_t size;
	size_t align; /* a power of two; LAB_ALIGN_DEFAULT unless more is asked for */
	bool zero;
};

#define LAB_ALIGN_DEFAULT ((size_t)16)

/* Any size, any alignment, any context. NULL: no memory, or size above LAB_SIZE_MAX. errno is the caller's business.
 * `sp`: the API function's entry (LAB_BRACKET_HERE). */
void *lab_allocate(struct lab_bracket *bracket, struct lab_request request);

/* Sets errno = ENOMEM if p is NULL; returns p. */
void *lab_or_enomem(void *p);

/* Frees p, whatever it is, or reports it as a misuse of the function `call`. */
void lab_release(struct lab_bracket *bracket, void *p, const char *call);

/* The bytes of the live block p. If p is none: reports a misuse of `call`, or returns 0 if call is NULL. */
size_t lab_block_size(const void *p, const char *call);

/* Returns to the system what has been free for long enough, if it is time to look. Not inside a heap; the bracket is for its use. */
void lab_decay_tick(struct lab_bracket *bracket);

/* Gives the unused memory of all typed caches back; bytes. Any thread, at any time; for reclaim. */
size_t lab_caches_shrink(void);

/* Settings in force; see enum lab_param. */
struct lab_settings {
	_Atomic size_t decay_ms;
	_Atomic size_t trim_threshold;
	_Atomic size_t huge_threshold;
	_Atomic uint8_t perturb;
	_Atomic bool count_allocations;
	_Atomic(const char *) stats_file; /* where the figures go at exit; "" is stderr, NULL is nowhere */
};
extern struct lab_settings lab_settings;

/* Takes the settings from the environment; what is wrong is reported once and ignored. */
void lab_config_read(void);

/* Decimal digits, then perhaps one of K, M, G, T. Returns what follows; NULL if it is no size. */
const char *lab_parse_size(const char *text, size_t *value);

/* Chooses between fast and slow calls, from the settings. */
void lab_config_apply(void);

#endif
