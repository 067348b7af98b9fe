/* backtrace.c - see backtrace.h. Any context. */
#include <elf.h>
#include <fcntl.h>
#include <link.h>

#include "base/atomic.h"
#include "os/backtrace.h"
#include "os/os.h"
#include "os/syscall.h"

/* Made by the linker. */
extern const ElfW(Ehdr) __ehdr_start LAB_HIDDEN;

/* ---- the chain of frames --------------------------------------------------------------------------------------- */

/*
 * How far down the own stacks of threads were found to be readable without a hole: a word for each hash of a thread
 * pointer, {page, the pointer's rest}, so that a word is of one thread or of none.
 */
enum { PLACES = 64, REST_BITS = 28 };
static _Atomic uint64_t known_low[PLACES];

static uint64_t
hash_of(uintptr_t thread)
{
	return (uint64_t)thread * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t
rest_of(uintptr_t thread)
{
	return hash_of(thread) >> 8 & ((UINT64_C(1) << REST_BITS) - 1);
}

/* Whether all from sp up to the top of the thread's own stack, and so sp is on it, can be read. */
static bool
is_below(uintptr_t sp, uintptr_t top)
{
	uintptr_t thread = lab_thread_pointer(), low = sp & ~(LAB_OS_PAGE_SIZE - 1);
	_Atomic uint64_t *place = &known_low[hash_of(thread) >> 58];
	uint64_t known = lab_load_rlx(place);
	uintptr_t end = (known & ((UINT64_C(1) << REST_BITS) - 1)) == rest_of(thread)
	                        ? known >> REST_BITS << LAB_OS_PAGE_SHIFT
	                        : 0;

	if (sp >= top || top - sp > LAB_OS_STACK_MAX)
		return false;
	if (end != 0 && end <= low)
		return true;
	if (!lab_os_stack_reaches(low, end != 0 && end < top ? end : top))
		return false;
	lab_store_rlx(place, (uint64_t)low >> LAB_OS_PAGE_SHIFT << REST_BITS | rest_of(thread));
	return true;
}

bool
lab_os_is_on_own_stack(uintptr_t sp)
{
	return is_below(sp, lab_os_own_stack_top(sp));
}

#define FOREIGN_MAX ((uintptr_t)256 << 10)

/* Frames up to `known` can be read; whether those up to `end` can is to be asked. */
struct reach {
	uintptr_t known, end;
};

static struct reach
reach_from(uintptr_t sp)
{
	struct lab_os_stack alternate;
	uintptr_t top = lab_os_own_stack_top(sp), page_end = (sp | (LAB_OS_PAGE_SIZE - 1)) + 1;

	if (is_below(sp, top))
		return (struct reach){top, top};
	if (lab_os_alternate_stack(&alternate) && alternate.running && sp - alternate.low < alternate.size)
		return (struct reach){alternate.low + alternate.size, alternate.low + alternate.size};
	return (struct reach){page_end - LAB_OS_PAGE_SIZE, page_end + FOREIGN_MAX};
}

/* Whether the two words of a frame at `at` can be read. */
static bool
is_in(struct reach *reach, uintptr_t at)
{
	uintptr_t high = at + 2 * sizeof at;

	if (at % sizeof at != 0 || at >= reach->end || high > reach->end)
		return false;
	while (reach->known < high && lab_os.is_readable(reach->known, reach->known + LAB_OS_PAGE_SIZE))
		reach->known += LAB_OS_PAGE_SIZE;
	return high <= reach->known;
}

/* The bytes of this library's text; 1 where it is part of a program, whose frames are all shown; 0: not looked up yet.
 * Whoever looks it up finds the same. */
static _Atomic size_t own_size;
static _Atomic uintptr_t own_start;

static size_t
find_own_text(void)
{
	const char *base = (const char *)&__ehdr_start;
	const ElfW(Phdr) *header = (const ElfW(Phdr) *)(base + __ehdr_start.e_phoff);
	size_t size = 1;

	for (unsigned i = 0; i < __ehdr_start.e_phnum && !lab_os_is_program(base); i++) {
		if (header[i].p_type != PT_LOAD || !(header[i].p_flags & PF_X))
			continue;
		lab_store_rlx(&own_start, (uintptr_t)base + header[i].p_vaddr);
		size = header[i].p_memsz;
	}
	lab_store_rel(&own_size, size); /* pairs with the acq of is_own: the start is there */
	return size;
}

/* Whether an address is in the text of this library; never where it is part of a program. */
static bool
is_own(uintptr_t address)
{
	size_t size = lab_load_acq(&own_size); /* pairs with the rel of find_own_text */

	if (lab_unlikely(size == 0))
		size = find_own_text();
	return size > 1 && address - lab_load_rlx(&own_start) < size;
}

unsigned
lab_os_backtrace(const void *frame, uintptr_t *trace, unsigned most, bool *is_whole)
{
	uintptr_t at = (uintptr_t)frame, next = 1;
	struct reach reach = reach_from(at);
	unsigned count = 0;

	while (count < most && is_in(&reach, at)) {
		/* what is taken for a frame may be another thread's to write to */
		const volatile uintptr_t *record = (const volatile uintptr_t *)at;
		uintptr_t caller = record[1];
		if (caller < LAB_OS_PAGE_SIZE)
			break;
		if (count > 0 || !is_own(caller))
			trace[count++] = caller;
		next = record[0];
		if (next <= at)
			break;
		at = next;
	}
	if (is_whole)
		*is_whole = next == 0 || count == most;
	return count;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* A line of /proc/self/maps, as it is read character by character. */
struct line {
	uintptr_t start, end, offset;
	unsigned field;   /* 0: start; 1: end; 2: rights; 3: offset; 4: device; 5: inode; 6: path */
	bool is_readable; /* by its rights */
	char *path;       /* half of the room */
	size_t length;
};

enum { PATH_ROOM = LAB_OS_NAME_ROOM / 2 };

static uintptr_t
digit(char c)
{
	return (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void
take(struct line *line, char c)
{
	bool is_blank = c == ' ';

	switch (line->field) {
	case 0:
		if (c == '-')
			line->field++;
		else
			line->start = line->start << 4 | digit(c);
		break;
	case 1:
		if (is_blank)
			line->field++;
		else
			line->end = line->end << 4 | digit(c);
		break;
	case 3:
		if (is_blank)
			line->field++;
		else
			line->offset = line->offset << 4 | digit(c);
		break;
	case 6:
		if ((!is_blank || line->length > 0) && line->length + 1 < PATH_ROOM)
			line->path[line->length++] = c;
		break;
	default:
		line->is_readable |= line->field == 2 && c == 'r';
		line->field += is_blank;
	}
}

/* The address of an ELF file's text that addr2line and its like know it by: programs that are not position-independent
 * are known by the addresses themselves. */
static uintptr_t
offset_in(uintptr_t address, uintptr_t base, bool is_readable)
{
	const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)base;

	return is_readable && header->e_type == ET_EXEC ? address : address - base;
}

/* What was seen up to now: where the file begins whose mappings these are. */
struct search {
	uintptr_t address, base;
	bool is_readable;
};

/* Whether the line, which has ended, holds the address. */
static bool
is_found(struct search *search, const struct line *line)
{
	if (line->offset == 0) {
		search->base = line->start;
		search->is_readable = line->is_readable;
	}
	return search->address - line->start < line->end - line->start;
}

static bool
find(struct search *search, struct line *line, char *buffer, size_t size)
{
	char *path = line->path;
	long fd = lab_syscall(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0, 0);
	bool found = false;

	if (lab_syscall_failed(fd))
		return false;
	for (long got; !found && (got = lab_syscall(SYS_read, fd, (long)buffer, (long)size, 0, 0)) > 0;) {
		for (long i = 0; i < got && !found; i++) {
			if (buffer[i] != '\n') {
				take(line, buffer[i]);
				continue;
			}
			found = is_found(search, line);
			if (!found)
				*line = (struct line){.path = path};
		}
	}
	(void)lab_syscall(SYS_close, fd, 0, 0, 0, 0);
	return found;
}

void
lab_os_text_address(struct lab_text *text, uintptr_t address, char room[LAB_OS_NAME_ROOM])
{
	struct line line = {.path = room};
	struct search search = {.address = address};

	if (find(&search, &line, room + PATH_ROOM, LAB_OS_NAME_ROOM - PATH_ROOM) && line.length > 0 &&
	    line.path[0] == '/') {
		line.path[line.length] = 0;
		lab_text_string(text, line.path);
		lab_text_string(text, "+");
		lab_text_hex(text, offset_in(address, search.base, search.is_readable));
	} else {
		lab_text_hex(text, address);
	}
}
