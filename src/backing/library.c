/*
 * library.c - see library.h: the pages of this shared library, from its own program headers: a fault in its text is a
 * fault in the atomic tier, too.
 *
 * In a statically linked program the headers are the program's, and to lock all of it is not ours to decide.
 */
#include <elf.h>
#include <link.h>

#include "backing/library.h"
#include "heap/registry.h"
#include "os/os.h"
#include "reserve/reserve.h"

/* Made by the linker. */
extern const ElfW(Ehdr) __ehdr_start LAB_HIDDEN;

static const ElfW(Phdr) * program_headers(void)
{
	return (const ElfW(Phdr) *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
}

static uintptr_t
end_of_relro(void)
{
	const ElfW(Phdr) *header = program_headers();

	for (unsigned i = 0; i < __ehdr_start.e_phnum; i++, header++)
		if (header->p_type == PT_GNU_RELRO)
			return ((uintptr_t)&__ehdr_start + header->p_vaddr + header->p_memsz) & ~(LAB_OS_PAGE_SIZE - 1);
	return 0;
}

/* Who visits, and what with. */
struct visitor {
	lab_visit_pages *visit;
	void *context;
};

static void
visit_pages(const struct visitor *visitor, uintptr_t from, uintptr_t to, bool write)
{
	from &= ~(LAB_OS_PAGE_SIZE - 1);
	to = lab_round_up(to, LAB_OS_PAGE_SIZE);
	if (from < to)
		visitor->visit(visitor->context, (struct lab_range){(char *)from, to - from}, write);
}

/* What the atomic tier needs nothing of, of which most is never touched, and whose pages are whole: the owner words of
 * heaps, the threads' ids, and where reports are made. In ascending order. */
enum { UNNEEDED = 3 };

static void
find_unneeded(struct lab_range ranges[UNNEEDED])
{
	static const void *(*const tables[UNNEEDED])(size_t * size) = {lab_registry_table, lab_os_thread_table,
	                                                               lab_os_report_rooms};

	for (size_t i = 0, j; i < UNNEEDED; i++) {
		struct lab_range range;
		range.start = (char *)(uintptr_t)tables[i](&range.size);
		for (j = i; j > 0 && ranges[j - 1].start > range.start; j--)
			ranges[j] = ranges[j - 1];
		ranges[j] = range;
	}
}

static void
visit_writable(const struct visitor *visitor, uintptr_t from, uintptr_t to)
{
	struct lab_range ranges[UNNEEDED];

	find_unneeded(ranges);
	for (size_t i = 0; i < UNNEEDED; i++) {
		visit_pages(visitor, from, (uintptr_t)ranges[i].start, true);
		from = (uintptr_t)ranges[i].start + ranges[i].size;
	}
	visit_pages(visitor, from, to, true);
}

static void
visit_segment(const struct visitor *visitor, const ElfW(Phdr) * header, uintptr_t relro)
{
	uintptr_t from = (uintptr_t)&__ehdr_start + header->p_vaddr, to = from + header->p_memsz;

	if (!(header->p_flags & PF_W)) {
		visit_pages(visitor, from, to, false);
		return;
	}
	uintptr_t writable = relro > from && relro <= to ? relro : from;
	visit_pages(visitor, from, writable, false);
	visit_writable(visitor, writable, to);
}

static void
visit_own_tables(const struct visitor *visitor)
{
	uintptr_t reserve = (uintptr_t)&lab_reserve, shares = (uintptr_t)&lab_share_table;

	visit_pages(visitor, reserve, reserve + sizeof lab_reserve, true);
	visit_pages(visitor, shares, shares + sizeof lab_share_table, true);
}

void
lab_library_visit(lab_visit_pages *visit, void *context)
{
	const struct visitor visitor = {visit, context};
	const ElfW(Phdr) *header = program_headers();

	if (lab_os_is_program(&__ehdr_start)) {
		visit_own_tables(&visitor);
		return;
	}
	for (unsigned i = 0; i < __ehdr_start.e_phnum; i++, header++)
		if (header->p_type == PT_LOAD)
			visit_segment(&visitor, header, end_of_relro());
}
