/* fault.c - see fault.h. */
#include "fault.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

enum { LOST_MAX = 16384, SEGMENT = 4 << 20 };

static struct lab_os_table real;
static struct {
	char *start;
	size_t size;
} lost[LOST_MAX];
static size_t lost_count, lost_segments, mapped;
static bool interrupting;

struct fault_run *fault_run;
void (*fault_interrupt)(void);
uint64_t fault_clock = 1000000000;
size_t fault_map_limit = SIZE_MAX;

/* Counts a call; whether it is to fail. */
static bool
fails(enum fault_kind kind)
{
	const struct fault_plan *plan = &fault_run->plan;

	if (!lab_load_acq(&fault_run->armed))
		return false;
	unsigned long k = lab_add_rlx(&fault_run->calls, 1) + 1;
	lab_add_rlx(&fault_run->of_kind[kind], 1);
	if (k < FAULT_CALLS)
		fault_run->kinds[k] = (uint8_t)kind;
	bool failing = (plan->form == FAULT_ONCE && k == plan->k) || (plan->form == FAULT_FROM && k >= plan->k) ||
	               (plan->form == FAULT_ALL && kind == plan->kind);
	if (failing) {
		lab_add_rlx(&fault_run->failed, 1);
		(void)atomic_fetch_or_explicit(&fault_run->refused, 1u << kind, memory_order_relaxed);
	}
	return failing;
}

/* What the machine itself refuses cannot be told from a fault of the plan: the process is run again. */
static bool
granted(bool done)
{
	if (!done)
		fault_run->disturbed = true;
	return done;
}

/* Whether a signal could come: not where the library holds them. */
static bool
may_interrupt(void)
{
	sigset_t blocked;

	return sigprocmask(SIG_BLOCK, NULL, &blocked) == 0 && !sigismember(&blocked, SIGUSR1);
}

static void
interrupt(void)
{
	if (!fault_interrupt || interrupting || !lab_load_acq(&fault_run->armed) || !may_interrupt())
		return;
	interrupting = true;
	fault_interrupt();
	interrupting = false;
}

static bool
is_late(void)
{
	return fault_run->plan.late;
}

void
fault_interrupt_was_left(void)
{
	interrupting = false;
}

static size_t
half(size_t size)
{
	return size / 2 & ~(LAB_OS_PAGE_SIZE - 1);
}

/* ---- ranges that belong to others ------------------------------------------------------------------------------ */

static void
require_ours(const void *start, size_t size)
{
	for (size_t i = 0; i < lost_count; i++)
		REQUIRE((const char *)start + size <= lost[i].start ||
		        (const char *)start >= lost[i].start + lost[i].size);
}

/* Somebody else has mapped something there. */
static void
lose(void *start, size_t size)
{
	REQUIRE(lost_count < LOST_MAX);
	REQUIRE(mmap(start, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == start);
	lost[lost_count].start = start;
	lost[lost_count++].size = size;
	lost_segments += (size + SEGMENT - 1) / SEGMENT;
}

size_t
fault_lost(void)
{
	return lost_segments;
}

size_t
fault_mapped(void)
{
	return mapped;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static void *
fault_map(size_t size, enum lab_access access)
{
	interrupt();
	if (fails(FAULT_MAP) || size > fault_map_limit)
		return NULL;
	void *start = real.map(size, access);
	(void)granted(start != NULL);
	mapped += start ? size : 0;
	return start;
}

static bool
fault_unmap(void *start, size_t size)
{
	interrupt();
	require_ours(start, size);
	if (fails(FAULT_UNMAP))
		return false;
	bool done = real.unmap(start, size);
	(void)granted(done);
	mapped -= done ? size : 0;
	return done;
}

static enum lab_mapped
fault_map_at(void *start, size_t size)
{
	interrupt();
	require_ours(start, size);
	if (fails(FAULT_MAP_AT) || size > fault_map_limit)
		return is_late() ? LAB_OCCUPIED : LAB_NOT_MAPPED;
	enum lab_mapped result = real.map_at(start, size);
	(void)granted(result == LAB_MAPPED);
	mapped += result == LAB_MAPPED ? size : 0;
	return result;
}

static bool
fault_may_commit(size_t size)
{
	(void)size; /* whatever this machine has */
	interrupt();
	return !fails(FAULT_MAY_COMMIT);
}

static bool
fault_protect(void *start, size_t size, enum lab_access access)
{
	interrupt();
	require_ours(start, size);
	if (!fails(FAULT_PROTECT))
		return granted(real.protect(start, size, access));
	if (is_late() && half(size))
		(void)real.protect(start, half(size), access);
	return false;
}

static bool
fault_purge(void *start, size_t size)
{
	interrupt();
	require_ours(start, size);
	if (!fails(FAULT_PURGE))
		return granted(real.purge(start, size));
	if (is_late() && half(size))
		(void)real.purge(start, half(size));
	return false;
}

static bool
fault_populate(void *start, size_t size, bool write)
{
	interrupt();
	require_ours(start, size);
	if (!fails(FAULT_POPULATE))
		return real.populate(start, size, write);
	if (is_late() && half(size))
		(void)real.populate(start, half(size), write);
	return false;
}

static bool
fault_lock(void *start, size_t size)
{
	interrupt();
	require_ours(start, size);
	if (!fails(FAULT_LOCK))
		return real.lock(start, size);
	if (is_late() && half(size))
		(void)real.lock(start, half(size));
	return false;
}

static void
fault_unlock(void *start, size_t size)
{
	require_ours(start, size);
	real.unlock(start, size);
}

static bool
fault_mark(void *start, size_t size, unsigned marks)
{
	interrupt();
	require_ours(start, size);
	bool failing = fails(FAULT_MARK);
	if (failing && !is_late())
		return false;
	return real.mark(start, size, marks) && !failing;
}

static bool
fault_renew(void *start, size_t size)
{
	interrupt();
	require_ours(start, size);
	if (!fails(FAULT_RENEW))
		return granted(real.renew(start, size));
	lose(start, size); /* whether something was done or not: nobody knows */
	return false;
}

static void *
fault_extend(void *start, size_t old_size, size_t size)
{
	interrupt();
	require_ours(start, old_size);
	if (fails(FAULT_EXTEND) || size > fault_map_limit)
		return NULL;
	void *now = real.extend(start, old_size, size);
	(void)granted(now != NULL);
	mapped += now ? size - old_size : 0;
	return now;
}

static size_t
fault_read_file(const char *path, char *buffer, size_t size)
{
	size_t length = real.read_file(path, buffer, size);

	if (!fails(FAULT_READ_FILE))
		return length;
	length = is_late() ? length / 2 : 0;
	buffer[length] = 0;
	return length;
}

static void
fault_wait(_Atomic uint32_t *word, uint32_t value, unsigned ms)
{
	if (lab_load_acq(word) == value)
		fault_clock += ms;
}

static uint64_t
fault_clock_ms(void)
{
	return fault_clock++;
}

static bool
fault_thread_is_dead(uint32_t tid)
{
	interrupt();
	return !fails(FAULT_DEATH) && real.thread_is_dead(tid);
}

static bool
fault_has_thread(uint32_t tid)
{
	interrupt();
	return !fails(FAULT_HAS_THREAD) && real.has_thread(tid);
}

static bool
fault_alternate_stack(struct lab_os_stack *stack)
{
	return !fails(FAULT_ALTERNATE_STACK) && real.alternate_stack(stack);
}

static bool
fault_is_readable(uintptr_t low, uintptr_t high)
{
	return !fails(FAULT_IS_READABLE) && real.is_readable(low, high);
}

void
fault_install(void)
{
	REQUIRE(fault_run && lab_os.map != fault_map);
	real = lab_os;
	lab_os = (struct lab_os_table){
	        .map = fault_map,
	        .unmap = fault_unmap,
	        .map_at = fault_map_at,
	        .address_space = real.address_space,
	        .may_commit = fault_may_commit,
	        .protect = fault_protect,
	        .purge = fault_purge,
	        .populate = fault_populate,
	        .lock = fault_lock,
	        .unlock = fault_unlock,
	        .mark = fault_mark,
	        .renew = fault_renew,
	        .extend = fault_extend,
	        .read_file = fault_read_file,
	        .wait = fault_wait,
	        .clock_ms = fault_clock_ms,
	        .thread_is_dead = fault_thread_is_dead,
	        .has_thread = fault_has_thread,
	        .alternate_stack = fault_alternate_stack,
	        .is_readable = fault_is_readable,
	};
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

void
fault_share(int fd)
{
	int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
	void *memory = mmap(NULL, sizeof *fault_run, PROT_READ | PROT_WRITE, flags, fd, 0);

	REQUIRE(memory != MAP_FAILED);
	fault_run = memory;
}

void
fault_arm(void)
{
	lab_store_rlx(&fault_run->calls, 0);
	lab_store_rlx(&fault_run->failed, 0);
	lab_store_rlx(&fault_run->nulls, 0);
	for (unsigned kind = 0; kind < FAULT_KINDS; kind++)
		lab_store_rlx(&fault_run->of_kind[kind], 0);
	lab_store_rel(&fault_run->armed, true);
}

void
fault_disarm(void)
{
	lab_store_rel(&fault_run->armed, false);
}

bool
fault_excuses(void)
{
	lab_add_rlx(&fault_run->nulls, 1);
	return lab_load_acq(&fault_run->armed) && lab_load_rlx(&fault_run->failed) > 0;
}

const char *
fault_kind_name(enum fault_kind kind)
{
	static const char *const names[FAULT_KINDS] = {
	        "map",         "map_at",    "may_commit",     "protect",    "purge",
	        "populate",    "lock",      "mark",           "renew",      "extend",
	        "unmap",       "read_file", "thread_is_dead", "has_thread", "alternate_stack",
	        "is_readable",
	};

	return names[kind];
}

bool
fault_kind_hides_deaths(enum fault_kind kind)
{
	return kind == FAULT_DEATH || kind == FAULT_ALTERNATE_STACK || kind == FAULT_IS_READABLE;
}

/* Once, and they are told the next time. */
static bool
hides(uint32_t kinds)
{
	const struct fault_plan *plan = &fault_run->plan;
	bool lasts = plan->form == FAULT_ALL || (plan->form == FAULT_FROM && plan->repetitions > 1);

	return lasts && lab_load_rlx(&fault_run->refused) & kinds;
}

bool
fault_hides_frames(void)
{
	return hides(1u << FAULT_ALTERNATE_STACK | 1u << FAULT_IS_READABLE);
}

bool
fault_hides_deaths(void)
{
	return fault_hides_frames() || hides(1u << FAULT_DEATH);
}

bool
fault_keeps_mappings(void)
{
	return hides(1u << FAULT_UNMAP);
}

bool
fault_kind_has_late(enum fault_kind kind)
{
	switch (kind) {
	case FAULT_MAP_AT: /* others are there */
	case FAULT_PROTECT:
	case FAULT_PURGE:
	case FAULT_POPULATE:
	case FAULT_LOCK:
	case FAULT_MARK:
	case FAULT_READ_FILE:
		return true;
	default:
		return false;
	}
}
