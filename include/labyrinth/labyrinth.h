/*
 * labyrinth.h - the public interface of the Labyrinth allocator.
 *
 * Two libraries provide it: liblabyrinth.so (the drop-in, which also defines malloc and its family) and
 * liblabyrinth_core.so (this interface alone). A program linked with core and run under the drop-in has one heap:
 * blocks from malloc and from lab_malloc are interchangeable there.
 *
 * Terms: a *block* is what an allocation function returns. "Any context" means: any thread, signal handlers that
 * interrupted this library at any instruction included, before main and after the last destructor included.
 *
 * Unless a function says otherwise: sizes are bytes; failure is NULL with errno = ENOMEM; success leaves errno as it
 * was; the functions are thread-safe and async-signal-safe, take no lock and wait for nobody; cost is O(1) on the
 * fast path, and O(what must be mapped, cleared or copied) beyond it.
 */
#ifndef LABYRINTH_LABYRINTH_H
#define LABYRINTH_LABYRINTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
/* Functions that fill in a struct have its name; to g++ they hide its constructors. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#endif

#define LAB_VERSION_MAJOR 0
#define LAB_VERSION_MINOR 1
#define LAB_VERSION_PATCH 0

/* No object is larger than this: larger requests fail with ENOMEM from every entry point. */
#define LAB_SIZE_MAX ((size_t)PTRDIFF_MAX)

/* ---- allocation ------------------------------------------------------------------------------------------------ */

/* A block of at least `size` bytes, aligned to 16, and up to 32 KiB to the largest power of two that divides `size`.
 * size 0 gives a unique block. Contents are indeterminate. */
void *lab_malloc(size_t size);

/* A zeroed block for `count` elements of `size` bytes. Fails if the product overflows. */
void *lab_calloc(size_t count, size_t size);

/* Resizes a block, keeping min(old, new) bytes; may move it. NULL behaves as lab_alloc(size, gfp). size 0 frees the
 * block and returns NULL with errno unchanged, as glibc does. On failure the old block stays as it was. libc's realloc
 * is this with LAB_GFP_KERNEL; with LAB_GFP_ATOMIC a block that must move goes to the reserve. ZERO clears all that
 * lies behind what is kept, to the end of the usable size. */
void *lab_realloc(void *block, size_t size, unsigned gfp);

/* The same, with a result that is aligned to `alignment`, a power of two (else NULL, EINVAL, but not for ATOMIC). */
void *lab_realloc_aligned(void *block, size_t alignment, size_t size, unsigned gfp);

/* lab_realloc(block, count * size, LAB_GFP_KERNEL), failing with ENOMEM if the product overflows. */
void *lab_reallocarray(void *block, size_t count, size_t size);

/* A block aligned to `alignment`, a power of two (else NULL, EINVAL) of any size that the address space allows. */
void *lab_aligned_alloc(size_t alignment, size_t size);

/* POSIX form: the result goes to *block; returns 0, EINVAL (not a power of two multiple of sizeof(void *)) or ENOMEM,
 * and leaves errno alone. On failure *block is not written. */
int lab_posix_memalign(void **block, size_t alignment, size_t size);

/* Gives a block back. NULL is allowed. errno is unchanged. Any thread may free any block. A pointer that is not the
 * start of a live block is reported in one line on stderr and the process aborts, where this is cheap to see
 * (docs/guarantees.md, G9). */
void lab_free(void *block);

/* C23: as lab_free; `size` is what was asked for. A size that the block cannot have had is reported, and the process
 * aborts. */
void lab_free_sized(void *block, size_t size);
void lab_free_aligned_sized(void *block, size_t alignment, size_t size);

/* The bytes that may be used in a block, at least what was asked for; 0 for NULL. */
size_t lab_usable_size(const void *block);

/* What lab_usable_size says of a new block of `size` bytes from the heap; `size` itself above LAB_SIZE_MAX. */
size_t lab_good_size(size_t size);

/* Whether p is the start of a block of this allocator. Any pointer value is allowed; never crashes. A small block that
 * was freed while others of its span live still counts as one: to tell would cost a walk. */
bool lab_owns(const void *p);

/* ---- allocation by context: what the caller can bear ------------------------------------------------------------- */

/*
 * One of three kinds. docs/guarantees.md has the table of what each may do and how deep into the reserve each reaches.
 *
 *   KERNEL  may map memory, fault, reclaim, and, over a limit, wait (LABYRINTH_LIMIT, LABYRINTH_WAIT_MS). What plain
 *           malloc is.
 *   NOWAIT  from what the thread's own heap holds now: no system call, no reserve. May fault. NULL otherwise.
 *   ATOMIC  from the thread's share (lab_reserve_thread) or the reserve, at most 64 KiB: no lock, no system call, on a
 *           strict reserve no page fault, a bounded number of instructions. NULL at once otherwise; errno never
 *           changes. Wait-free.
 */
#define LAB_GFP_KERNEL 0x0u
#define LAB_GFP_NOWAIT 0x1u
#define LAB_GFP_ATOMIC (0x2u | LAB_GFP_HIGH)

/* Modifiers. */
#define LAB_GFP_HIGH     0x010u /* down to the reserve's high-priority mark, below `min`; ATOMIC has it */
#define LAB_GFP_MEMALLOC 0x020u /* down to the last slot: for those who will free memory by it */
#define LAB_GFP_ZERO     0x040u /* zeroed */
#define LAB_GFP_NOWARN   0x080u /* a failure is not worth a line on stderr */

/* Modifiers of KERNEL for a call that the limit stops: it reclaims once and does not wait, or does neither. Without
 * limit they mean nothing. */
#define LAB_GFP_NORETRY   0x1000u
#define LAB_GFP_NORECLAIM 0x3000u

/* Modifiers of KERNEL. NOFAIL: a call that gets no memory waits and tries again until there is some, and writes a line
 * on stderr when that takes long. For threads, not for handlers: what interrupted the only thread that would free
 * memory waits for ever. Sizes above LAB_SIZE_MAX fail all the same. */
#define LAB_GFP_NOFAIL 0x10000u
/* What a caller that holds locks tells reclaim, which hands it on to those that it calls (lab_shrinker_add): do not
 * begin input or output, do not enter a file system. */
#define LAB_GFP_NOIO 0xc000u
#define LAB_GFP_NOFS 0x4000u

/*
 * An exclusive block: shares no page with another block, belongs to the calling thread, and is freed or resized by its
 * owner only (LABYRINTH_EXCLUSIVE=abort, the default, or log: the free of another is reported and the block stays).
 * KERNEL only. The others imply it. If the system refuses what they ask for, the allocation fails with ENOMEM.
 */
#define LAB_GFP_EXCLUSIVE 0x100u
#define LAB_GFP_LOCKED    0x300u /* resident until it is freed (mlock) */
#define LAB_GFP_NOFORK    0x500u /* reads as zero in a child of fork */
#define LAB_GFP_NOMERGE   0x900u /* no huge pages and no KSM */

/* A block of at least `size` bytes, aligned as lab_malloc has it (ATOMIC: powers of two up to 64 KiB, too). EINVAL:
 * unknown or contradictory flags (not for ATOMIC, which leaves errno alone). */
void *lab_alloc(size_t size, unsigned gfp);

/* The same, aligned to `alignment`, a power of two (else NULL, EINVAL); ATOMIC: at most 64 KiB. */
void *lab_alloc_aligned(size_t alignment, size_t size, unsigned gfp);

#define LAB_ORDER_MAX_ALLOC 10u /* greatest order of lab_alloc_pages: 4 MiB */

/* 4096 << order bytes, aligned to that. ATOMIC: orders 0 to 4. A greater order fails as a size that nobody has does. */
void *lab_alloc_pages(unsigned gfp, unsigned order);

/* NULL is allowed. An order that the block was not allocated with is reported, and the process aborts. */
void lab_free_pages(void *pages, unsigned order);

/* Whole pages for `size` bytes, without rounding up to a power of two; page-aligned. */
void *lab_alloc_pages_exact(size_t size, unsigned gfp);
void lab_free_pages_exact(void *pages, size_t size);

/* ---- ownership ------------------------------------------------------------------------------------------------- */

/* The thread id of an exclusive block's owner; of any other block, of the thread whose heap holds it. 0: nobody's (an
 * idle heap, the reserve, any other block above 4 MiB). -1: not a block. Of other threads' blocks it is a snapshot. */
int lab_owner(const void *block);

/* Makes another thread of this process the owner of an exclusive block. False: the caller is not its owner, it is not
 * exclusive, or there is no such thread. */
bool lab_transfer(void *block, int tid);

/* ---- the reserve ----------------------------------------------------------------------------------------------- */

enum lab_reserve_mode {
	LAB_RESERVE_NONE,      /* there is none: LABYRINTH_RESERVE=0, or no memory */
	LAB_RESERVE_POPULATED, /* resident, but the system may take pages away: it is not locked */
	LAB_RESERVE_STRICT,    /* resident and locked */
	LAB_RESERVE_COPIED,    /* after a fork, before the next slow path: pages fault once */
};

struct lab_reserve_info {
	enum lab_reserve_mode mode;
	const char *why;   /* why it is not strict; "" if it is */
	size_t total;      /* bytes in slots, growth included, shares not */
	size_t used;       /* of them in use */
	size_t grown;      /* of total: added since the start */
	size_t limit;      /* total grows no further than this */
	size_t shares;     /* bytes in threads' shares */
	size_t failures;   /* ATOMIC calls that got NULL */
	size_t lost_races; /* of these, those that lost their tries to others, the words not having been seen empty */
};
/* Figures of some instant. Async-signal-safe. */
void lab_reserve_info(struct lab_reserve_info *info);

struct lab_reserve_class {
	size_t size;  /* bytes a slot */
	size_t slots; /* promised to this class: so many claims with MEMALLOC succeed, whatever the order of frees */
	/* more, for requests rounded up from smaller classes, and for its own when all others are taken */
	size_t overflow;
	size_t used; /* of both */
	size_t min;  /* slots that re-entrant malloc leaves alone */
	size_t high; /* slots that all but MEMALLOC leave alone */
	size_t low;  /* fewer free ones ask for growth */
};
/* Index 0 … until it returns false. */
bool lab_reserve_class_get(size_t index, struct lab_reserve_class *info);

/* Called when a class has fallen below its low mark, once until it has risen above it again; from a call of a KERNEL
 * function or the background thread, never from a handler's or an ATOMIC call, not from inside the allocator: it may
 * allocate and free. One at a time; NULL takes it away. Without memory for it errno is ENOMEM, and the one before
 * stays. */
void lab_reserve_on_low(void (*callback)(void *context, size_t size), void *context);

/* `count` slots of `size` bytes (at most 64 KiB) of which the calling thread's ATOMIC calls draw first and nobody else
 * does, populated, and locked where the limit allows. count 0 gives the thread's slots of that size back; a thread's
 * death does too. Adds to what was asked for before. KERNEL contexts only. False: no memory, or too many shares. */
bool lab_reserve_thread(size_t size, size_t count);

/* Does now what slow paths do by and by: growth, the callback, return of what was grown. KERNEL contexts only. True if
 * a class was grown. */
bool lab_reserve_balance(void);

/* ---- pools and typed caches -------------------------------------------------------------------------------------- */

/*
 * A pool that always has `min` elements to give back what was freed: allocation goes to `alloc` first (with ATOMIC, so
 * the reserve first; with KERNEL, and NORECLAIM), then to the pool; freed elements fill the pool up before they go to
 * `release`. With KERNEL `alloc` is then called with NORETRY, and the pool waits for an element; NOWAIT and ATOMIC
 * never wait. alloc and free: any context that `alloc` and `release` may be called in; O(min). The others: KERNEL
 * contexts. create: EINVAL without both functions; NULL without `min` elements; more than LAB_MEMPOOL_MAX elements fail
 * at once, as memory that nobody has does. alloc: EINVAL for unknown, contradictory or EXCLUSIVE flags, and for ZERO
 * where the elements' size is not known.
 */
#define LAB_MEMPOOL_MAX ((size_t)1 << 20)
struct lab_mempool;
struct lab_mempool *lab_mempool_create(size_t min, void *(*alloc)(unsigned gfp, void *data),
                                       void (*release)(void *element, void *data), void *data);
struct lab_mempool *lab_mempool_create_sized(size_t min, size_t size);
void *lab_mempool_alloc(struct lab_mempool *pool, unsigned gfp);
void *lab_mempool_take(struct lab_mempool *pool); /* one that the pool has in hand; NULL: none. Any context */
void lab_mempool_free(struct lab_mempool *pool, void *element);
/* Elements that `alloc` does not have now come by later frees. False: no memory for the pool itself, or more than
 * LAB_MEMPOOL_MAX; it stays as it was. Not at the same time as another resize or destroy. */
bool lab_mempool_resize(struct lab_mempool *pool, size_t min);
size_t lab_mempool_available(const struct lab_mempool *pool); /* elements in the pool */
void lab_mempool_destroy(struct lab_mempool *pool);           /* every element has been freed */

/*
 * A cache of objects of one type. `construct` (or NULL) is called once for each object when its memory is made, and
 * objects are freed in their constructed state. NOWAIT: from objects that are there, else as lab_alloc. ATOMIC: from
 * objects that are there, else from the reserve, 16 bytes more or their alignment, then `construct` is called there and
 * then. ZERO clears what it made. lab_free, lab_realloc and lab_usable_size take objects, too.
 * create: align 0: 16; not a power of two: EINVAL; a size or an alignment above 16 MiB fails as memory that nobody has
 * does; a name that another cache has is worth a line on stderr. alloc: EINVAL for unknown, contradictory or EXCLUSIVE
 * flags. alloc and free: any context; the others: KERNEL contexts.
 */
struct lab_cache;
struct lab_cache *lab_cache_create(const char *name, size_t size, size_t align, void (*construct)(void *object));
void *lab_cache_alloc(struct lab_cache *cache, unsigned gfp);
void lab_cache_free(struct lab_cache *cache, void *object);
size_t lab_cache_shrink(struct lab_cache *cache); /* gives unused memory back; bytes */
/* False, and a line on stderr: objects are in use; the cache stays. No other call may be under way. */
bool lab_cache_destroy(struct lab_cache *cache);

/* The memory of the cache, slabs and objects in the reserve, goes to `release` when it would be freed, in any context:
 * to be given to lab_free later. `room` lies in the block. With lab_free_rcu_head (labyrinth/rcu.h) what was an object
 * of the cache stays one, of this cache, until a grace period has passed: the kernel's SLAB_TYPESAFE_BY_RCU. NULL: it
 * is freed at once. Before the first lab_cache_alloc. */
struct lab_rcu_head;
void lab_cache_release_by(struct lab_cache *cache, void (*release)(void *block, struct lab_rcu_head *room));

struct lab_cache_stats {
	const char *name;
	size_t size;         /* bytes an object */
	size_t live;         /* objects in use */
	size_t slabs;        /* blocks of memory */
	size_t bytes;        /* in them */
	size_t allocations;  /* so far */
	size_t from_reserve; /* of them */
	size_t failures;     /* NULLs so far */
};
void lab_cache_stats_get(const struct lab_cache *cache, struct lab_cache_stats *stats);

/* ---- misuse ---------------------------------------------------------------------------------------------------- */

/* What is known of a misuse that ends the process. All of it is gone when the callback has returned. */
struct lab_misuse {
	size_t struct_size;     /* of this struct: a later version may have more at its end */
	const char *call;       /* the function that was misused, as "free"; NULL: damage that any call has met */
	const char *reason;     /* as "double free" */
	const void *pointer;    /* what the call was given */
	const void *block;      /* the start of the block that this is, or lies in; NULL: none is known there */
	size_t block_size;      /* its bytes; what was asked for, where that is kept (`check`) */
	int thread;             /* the caller's id */
	const char *text;       /* the whole report, as it was written to stderr */
	const uintptr_t *trace; /* return addresses, the innermost first; the first one is the call's */
	unsigned frames;        /* of trace */
};

/*
 * The callback is called with each report, after it was written and before the process aborts: by the thread that has
 * misused a block, wherever that was, a signal handler included. The heap is whole, and the callback may allocate and
 * free; a misuse in it is one more line and the end. It returns, and the process aborts. NULL takes it away.
 */
typedef void lab_misuse_callback(const struct lab_misuse *misuse);
void lab_on_misuse(lab_misuse_callback *callback);

/*
 * A thread that must not wait says so: from then on each of its calls that leaves the fast path, where there may be a
 * system call or a page fault, is a line on stderr with the calls that led to it (LAB_REALTIME_REPORT), or that and
 * the end (LAB_REALTIME_ABORT). Calls with LAB_GFP_ATOMIC or LAB_GFP_NOWAIT, the free of what ATOMIC gave, and calls of
 * the fast path are silent. What the thread is to use is best allocated and freed once before. Any context; returns the
 * mode of before.
 */
enum lab_realtime {
	LAB_REALTIME_OFF,
	LAB_REALTIME_REPORT,
	LAB_REALTIME_ABORT,
};
enum lab_realtime lab_thread_realtime(enum lab_realtime mode);

/* The text of the report that ends the process, for who reads a core dump; NULL until then. */
extern const char *volatile lab_abort_message;

/* With the setting `check`: looks for writes behind and before a block, or, if it is NULL, all blocks, freed ones that
 * wait to be used again included, and reports the first as a misuse. Otherwise nothing is kept to look at. Not from
 * handlers; with NULL, where no other thread allocates or frees at the moment. */
void lab_check(const void *block);

/* ---- memory and figures ---------------------------------------------------------------------------------------- */

/* Gives free pages back to the system now, keeping about `keep` bytes of them. True if anything was given back. */
bool lab_trim(size_t keep);

/*
 * Settings that the program brings along, as `const char lab_conf[] = "decay_ms:200,dirty_max:8M";`, defined at most
 * once. Files and variables (docs/tuning.md) come before and after them. It is read when the first block is asked for,
 * or before main. The drop-in that is preloaded finds it if the program exports it: link with -rdynamic, or with
 * -Wl,--export-dynamic-symbol=lab_conf; what is linked with the library needs nothing.
 */
extern const char lab_conf[];

/* Settings that can change at run time. Values out of range are refused (false) and change nothing. */
enum lab_param {
	/* Bytes of free dirty pages kept before they go back at once; by default more than there can be. SIZE_MAX:
	 * nothing goes back, by decay neither, but by lab_trim and for want of room. */
	LAB_PARAM_TRIM_THRESHOLD,
	/* Free pages that nobody uses go back to the system within this time; milliseconds. */
	LAB_PARAM_DECAY_MS,
	/* A byte: new blocks are filled with its complement, freed ones with it; 0: off. */
	LAB_PARAM_PERTURB,
	/* Bytes: requests from here on are given mappings of their own, as all above 4 MiB are; at least 1 MiB; 0: the
	 * default. */
	LAB_PARAM_HUGE_THRESHOLD,
	/* Bytes of pages that blocks and free dirty pages may take; SIZE_MAX: no limit. */
	LAB_PARAM_LIMIT,
	/* How long a KERNEL call over the limit waits for others' frees; milliseconds, up to a day. */
	LAB_PARAM_WAIT_MS,
	/* Transparent huge pages for blocks: 0, the default: as the system is set; 1: never; 2: always. */
	LAB_PARAM_THP,
	/* Bytes of free dirty pages, or a quarter of what is in use if that is more, beyond which they go back when
	 * memory is freed; 32 MiB by default; SIZE_MAX: no bound. */
	LAB_PARAM_DIRTY_MAX,
};
bool lab_set_param(enum lab_param param, size_t value);

/* What the allocator holds. A snapshot taken while other threads run: each figure was true at some instant. */
struct lab_stats {
	size_t reserved;      /* bytes of address space: what is mapped for blocks, and the table */
	size_t committed;     /* bytes made accessible */
	size_t in_use;        /* bytes in live blocks, rounded up to their size class */
	size_t blocks;        /* live blocks */
	size_t free_in_spans; /* bytes of free blocks in spans that are partly used */
	size_t dirty;         /* bytes of free pages that were used before and are not yet given back */
	size_t purged;        /* bytes given back to the system so far */
	size_t huge;          /* bytes in live blocks that are mappings of their own */
	size_t huge_blocks;   /* the number of those blocks */
	size_t segments;      /* segments owned by heaps */
	size_t heaps;         /* heaps made so far */
	size_t remote_frees;  /* blocks that others have freed and that their heaps have taken in, so far */
	size_t reentrant;     /* calls that found their thread's heap busy (signal handlers), so far */
	size_t adopted;       /* heaps taken over from dead threads, so far */
	size_t reserve_total; /* bytes of the emergency reserve */
	size_t reserve_used;  /* bytes of it in use */
	size_t limit;         /* LAB_PARAM_LIMIT */
	size_t charged;       /* bytes that count against it; 0 while there is no limit */
	size_t waits;         /* calls that waited for memory under the limit, so far */
	/* from here on: what the function lab_stats_get does not fill in */
	size_t active;   /* bytes of pages in which there are blocks, or that spans have set aside for some */
	size_t resident; /* bytes that are resident, at most: touched pages, dirty ones, metadata, the reserve */
	size_t metadata; /* bytes that describe what is mapped */
	size_t retained; /* bytes of `committed` in free pages that take no memory */
	size_t runs;     /* live blocks of whole pages, up to 4 MiB */
};

/* Fills `size` bytes of a struct lab_stats, as the caller knows it: fields that the library does not know are 0, and
 * those that the caller does not know are left out. The bytes that the library knows. */
size_t lab_stats_get_sized(struct lab_stats *stats, size_t size);

/* The same: as a macro, of the struct that the program was compiled with; as a function, its fields up to `waits`. */
void lab_stats_get(struct lab_stats *stats);
#define lab_stats_get(stats) ((void)lab_stats_get_sized((stats), sizeof *(stats)))

/* Figures of one size class. Counts of allocations are kept only with LABYRINTH_STATS=1. */
struct lab_class_stats {
	size_t size;        /* bytes of a block */
	size_t live;        /* blocks in use */
	size_t carved;      /* blocks made so far in the spans of now */
	size_t spans;       /* spans of this class */
	size_t allocations; /* allocations so far, if counted */
};

/* There are fewer size classes than this. */
#define LAB_CLASSES_MAX 128

/*
 * Fills the first `count` elements of `classes` by size class, smallest first, and *stats, up to `waits`, unless it is
 * NULL: all figures of one walk, which is O(memory). Returns the number of classes, whatever `count` is.
 */
size_t lab_class_stats_get(struct lab_class_stats *classes, size_t count, struct lab_stats *stats);

/* Figures of one heap. */
struct lab_heap_stats {
	unsigned id;
	int owner;         /* the id of the thread that has it; 0: none */
	const char *state; /* "current", "borrowed", "idle", … */
	size_t segments;
	size_t mapped;       /* bytes of them */
	size_t active;       /* bytes of pages in use */
	size_t remote_frees; /* blocks that other threads freed into it, so far */
	size_t reentrant;    /* calls that found it busy, so far */
	size_t adopted;      /* how often it was taken over from a dead thread */
};

/* Fills the first `count` elements, each `size` bytes long as the caller knows the struct, by the heaps that there are,
 * what the library does not know being 0; returns how many these are, whatever `count` is. 0: `size` is less than any
 * version has. O(segments × heaps). */
size_t lab_heap_stats_get(struct lab_heap_stats *heaps, size_t count, size_t size);

enum lab_stats_format {
	LAB_STATS_TEXT,        /* for people */
	LAB_STATS_JSON,        /* one object */
	LAB_STATS_OPENMETRICS, /* for Prometheus and its like; ends in "# EOF" */
};

/* Writes the figures through `write_line`, a line a call, version and settings first. Allocates nothing. */
void lab_stats_write(enum lab_stats_format format, void (*write_line)(void *context, const char *line), void *context);

/* The same as text. */
void lab_stats_print(void (*write_line)(void *context, const char *line), void *context);

/*
 * Writes the heap profile (LABYRINTH_HEAP_PROFILE, docs/profiling.md) to `path`, or, if it is NULL, to where
 * LABYRINTH_HEAP_PROFILE_FILE says; in the path %p is the process id, and %n the number of the dump. The format is
 * pprof's, gzipped, which labyrinth profile reads. False, with errno: EINVAL if no profile is made,
 * ENAMETOOLONG from 256 bytes on, or what the system said of the file. Any context; it allocates nothing, and maps
 * some memory while it runs. O(stacks · depth).
 */
bool lab_profile_dump(const char *path);

/* "major.minor.patch" of the library in use. */
const char *lab_version(void);

#ifdef __cplusplus
}
#pragma GCC diagnostic pop
#endif
#endif
