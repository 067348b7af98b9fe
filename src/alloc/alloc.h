/*
 * alloc.h - what the files of this layer share. The API's functions are declared in include/labyrinth/labyrinth.h.
 */
#ifndef LAB_ALLOC_ALLOC_H
#define LAB_ALLOC_ALLOC_H

#include <labyrinth/labyrinth.h>

#include "heap/thread.h"
#include "page/map.h"
#include "reserve/reserve.h"

/* What an allocation asks for. */
struct lab_request {
	size_t size;
	size_t align; /* a power of two; LAB_ALIGN_DEFAULT unless more is asked for */
	unsigned gfp; /* modifiers of LAB_GFP_KERNEL, or of NOWAIT for lab_allocate_quietly */
};

#define LAB_ALIGN_DEFAULT ((size_t)16)

/* Any size, any alignment, any context. NULL: no memory, or size above LAB_SIZE_MAX. errno is the caller's business.
 * The bracket is the API function's own: LAB_BRACKET_HERE. */
void *lab_allocate(struct lab_bracket *bracket, struct lab_request request);

/* From what the thread's own heap holds: no system call, no waiting. NULL also if that heap may be in use (LAB_GFP_NOWAIT). */
void *lab_allocate_quietly(struct lab_bracket *bracket, struct lab_request request);

/* What is left when the heap has none: the reserve, as deep as the modifiers reach, or to `min` for a handler's call. NULL for others. */
void *lab_allocate_from_reserve(struct lab_request request, bool reentrant);

static inline enum lab_reserve_depth
lab_depth_of(unsigned gfp)
{
	if (gfp & LAB_GFP_MEMALLOC)
		return LAB_DEPTH_ALL;
	return gfp & LAB_GFP_HIGH ? LAB_DEPTH_HIGH : LAB_DEPTH_MIN;
}

/* The kind, as two bits: 0 is KERNEL. */
#define LAB_GFP_KIND 0x3u

static inline bool
lab_gfp_is(unsigned gfp, unsigned kind)
{
	return (gfp & LAB_GFP_KIND) == (kind & LAB_GFP_KIND);
}

/* A modifier that only lab_allocate and lab_allocate_quietly know: not from the reserve, which is no place for what stays. */
#define LAB_GFP_LASTING 0x8000u

/* Whether an API function's gfp has a meaning, and none of `refused`; sets errno = EINVAL if not and the kind is not ATOMIC. */
bool lab_gfp_check_but(unsigned gfp, unsigned refused);

static inline bool
lab_gfp_check(unsigned gfp)
{
	return lab_gfp_check_but(gfp, 0);
}

/* A block inside the heap, which the caller has entered; contents as they come. *fresh: it reads as zero. */
void *lab_allocate_owned(struct lab_heap *heap, struct lab_request request, bool *fresh);

/* Clears a new block, or fills it as M_PERTURB wants, as the request says. */
void lab_fill_new(void *p, struct lab_request request, bool fresh);

/* What lab_alloc does, whatever gfp is: any kind, any modifiers, and errno. */
void *lab_allocate_any(struct lab_bracket *bracket, struct lab_request request);

/* An exclusive block: request.gfp has LAB_GFP_EXCLUSIVE. */
void *lab_exclusive_allocate(struct lab_bracket *bracket, struct lab_request request);

/* LIVE→FREEING for a run that is not an ordinary live one: what its pages were marked for is undone. False: it stays, as its owner is
 * another thread, or is lost, as the marks stay. Reports what it refuses, a double free included. */
bool lab_exclusive_begin_release(struct lab_bracket *bracket, const struct lab_place *place, void *p, const char *call);

/* Whether p is, or is to become, exclusive; then lab_exclusive_resize is lab_realloc, for a size other than 0. */
bool lab_exclusive_concerns(const void *p, unsigned gfp);
void *lab_exclusive_resize(struct lab_bracket *bracket, void *p, size_t old, struct lab_request request);

/* Says in one line that an ATOMIC call has failed, if one has and it was not said yet. KERNEL contexts. */
void lab_tell_atomic_failure(void);

/* Sets errno = ENOMEM if p is NULL; returns p. */
void *lab_or_enomem(void *p);

/* Frees p, whatever it is, or reports it as a misuse of the function `call`. */
void lab_release(struct lab_bracket *bracket, void *p, const char *call);

/* The same without a system call, for the ATOMIC and NOWAIT kinds: blocks of spans and runs go to the remote stack of their heap,
 * also where that is the caller's own. Lock-free. Not for exclusive blocks. */
void lab_release_quietly(void *p, const char *call);

/* A slot of the reserve. */
void lab_release_slot(void *p, const char *call);

/* The bytes of the live block p. If p is none: reports a misuse of `call`, or returns 0 if call is NULL. */
size_t lab_block_size(const void *p, const char *call);

/* Returns to the system what has been free for long enough, if it is time to look. Not inside a heap; the bracket is for its use. */
void lab_decay_look(struct lab_bracket *bracket);

/* The same by whoever comes by. */
static inline void
lab_decay_poll(struct lab_bracket *bracket)
{
	if (lab_load_rlx(&lab_purge_pending) != LAB_PURGE_NOTHING)
		lab_decay_look(bracket);
}

/* The same by who has freed pages: sees to the trim threshold as well. */
void lab_decay_tick(struct lab_bracket *bracket);

/* What the layer above answers for, once it has something: the objects of typed caches, which lie inside of blocks. Any context. */
struct lab_objects {
	/* The bytes of the object p; 0: it is none. p lies in a block of the caller's. With a `call` the object is freed by it, and a double
	 * free is its misuse. */
	size_t (*visit)(void *p, const char *call);
	/* A line for each cache. */
	void (*print)(void (*write_line)(void *context, const char *line), void *context);
};
extern _Atomic(const struct lab_objects *) lab_objects;

/* Frees the object p, which is no block, or reports a misuse of `call`: p is `why`. */
void lab_release_object(void *p, const char *call, const char *why);

/* The bytes of the object p; 0: it is none. */
size_t lab_object_size(const void *p);

/*
 * For a KERNEL call that the limit has stopped, on the thread's own heap, outside of it: reclaims, tries again, and waits for others' frees
 * as long as LAB_PARAM_WAIT_MS says, trying again whenever pages are freed. NULL: in vain. A handler may interrupt the wait, allocate, and
 * leave it by a jump.
 */
void *lab_limit_allocate(struct lab_bracket *bracket, struct lab_request request, bool *fresh);

extern _Atomic bool lab_limit_waiting;
void lab_limit_wake(void);

/* After pages were freed, outside the heap: wakes those who wait for some. */
static inline void
lab_limit_notify(void)
{
	if (lab_unlikely(lab_load_rlx(&lab_limit_waiting)))
		lab_limit_wake();
}

/* `hook` is called when memory runs short under the limit: it frees what can be done without, allocates nothing, and returns the bytes. From
 * any thread, at any time, by several at once. False: no more room for hooks. */
bool lab_limit_on_reclaim(size_t (*hook)(void));

/* Calls that have waited so far. */
size_t lab_limit_waits(void);

/* The least memory.max of this process's cgroup (v2) and those above it, in bytes; SIZE_MAX if there is none. */
size_t lab_cgroup_limit(void);

/* Values of trim_threshold that no heap reaches: the default, and the one that stops decay as well (lab_purge_is_held). */
#define LAB_TRIM_BY_DECAY (SIZE_MAX - 1)
#define LAB_TRIM_NEVER    SIZE_MAX

/* Settings in force; see enum lab_param. */
struct lab_settings {
	_Atomic size_t decay_ms;
	_Atomic bool purge_lazily;
	_Atomic bool purge_in_whole; /* decay leaves huge pages whole */
	_Atomic size_t trim_threshold;
	_Atomic size_t huge_threshold;
	_Atomic size_t wait_ms;
	_Atomic uint8_t perturb;
	_Atomic bool count_allocations;
	_Atomic bool log_exclusive;       /* a foreign free of an exclusive block is logged, and does not abort */
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
