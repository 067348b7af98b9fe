/*
 * library.c - see library.h: the pages of this shared library, from its own program headers: a fault in its text is a
 * fault in the atomic tier, too.
 *
 * In a statically linked program there is nothing: the headers are the program's, and to lock all of it is not ours to
 * decide.
 */
#include <elf.h>
#include <link.h>

#include "backing/library.h"
#include "backing/resident.h"
#include "heap/registry.h"
#include "os/os.h"

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

static void
keep_pages(uintptr_t from, uintptr_t to, bool write)
{
	from &= ~(LAB_OS_PAGE_SIZE - 1);
	to = lab_round_up(to, LAB_OS_PAGE_SIZE);
	if (from < to)
		lab_resident_keep((struct lab_range){(char *)from, to - from}, write);
}

/* Without the owner words of heaps, whose pages are whole. */
static void
keep_writable(uintptr_t from, uintptr_t to)
{
	size_t size;
	uintptr_t table = (uintptr_t)lab_registry_table(&size);

	keep_pages(from, table, true);
	keep_pages(table + size, to, true);
}

void
lab_library_keep(void)
{
	const ElfW(Phdr) *header = program_headers();
	uintptr_t relro = end_of_relro();

	if (lab_os_is_program(&__ehdr_start))
		return;
	for (unsigned i = 0; i < __ehdr_start.e_phnum; i++, header++) {
		uintptr_t from = (uintptr_t)&__ehdr_start + header->p_vaddr, to = from + header->p_memsz;
		if (header->p_type != PT_LOAD)
			continue;
		if (!(header->p_flags & PF_W)) {
			keep_pages(from, to, false);
		} else {
			uintptr_t writable = relro > from && relro <= to ? relro : from;
			keep_pages(from, writable, false);
			keep_writable(writable, to);
		}
	}
}
