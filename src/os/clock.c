/*
 * clock.c - the clock, from the vDSO's own function. libc's clock_gettime may be another library's, which lets the time
 * stand, run slowly or backward for the program (faketime, simulators); memory is to go back by the time of the
 * machine.
 */
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>

#include "base/atomic.h"
#include "os/linux.h"
#include "os/os.h"

typedef int clock_function(clockid_t clock, struct timespec *time);

#if defined(__aarch64__)
#define NAME "__kernel_clock_gettime"
#else
#define NAME "__vdso_clock_gettime"
#endif

/* What a vDSO's dynamic section says. */
struct tables {
	const char *strings;
	const ElfW(Sym) * symbols;
	const uint32_t *hash;     /* DT_HASH: buckets, chains = number of symbols */
	const uint32_t *gnu_hash; /* DT_GNU_HASH; the kernel's builds have one of them, or both */
};

/* Addresses in a vDSO are offsets: the loader has not relocated it. */
static struct tables
read_dynamic(const ElfW(Dyn) * dynamic, uintptr_t base)
{
	struct tables tables = {0};

	for (; dynamic->d_tag != DT_NULL; dynamic++) {
		uintptr_t address = dynamic->d_un.d_ptr < base ? base + dynamic->d_un.d_ptr : dynamic->d_un.d_ptr;
		if (dynamic->d_tag == DT_STRTAB)
			tables.strings = (const char *)address;
		else if (dynamic->d_tag == DT_SYMTAB)
			tables.symbols = (const ElfW(Sym) *)address;
		else if (dynamic->d_tag == DT_HASH)
			tables.hash = (const uint32_t *)address;
		else if (dynamic->d_tag == DT_GNU_HASH)
			tables.gnu_hash = (const uint32_t *)address;
	}
	return tables;
}

/* The number of symbols: of a GNU table the end of the last chain. */
static uint32_t
count_symbols(const struct tables *tables)
{
	const uint32_t *table = tables->gnu_hash;
	uint32_t last = 0;

	if (tables->hash)
		return tables->hash[1];
	if (!table)
		return 0;
	uint32_t bucket_count = table[0], first = table[1], bloom_words = table[2];
	const uint32_t *buckets = table + 4 + bloom_words * (sizeof(ElfW(Addr)) / sizeof *table),
	               *chains = buckets + bucket_count;
	for (uint32_t i = 0; i < bucket_count; i++)
		last = buckets[i] > last ? buckets[i] : last;
	while (last >= first && !(chains[last - first] & 1))
		last++;
	return last < first ? 0 : last + 1;
}

/* NULL: there is no vDSO, as under valgrind, or it has no such function. Writes nothing, allocates nothing. */
static clock_function *
find_in_vdso(void)
{
	uintptr_t start = getauxval(AT_SYSINFO_EHDR), base = start;
	const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)start;
	const ElfW(Dyn) *dynamic = NULL;

	if (!start)
		return NULL;
	const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(start + header->e_phoff);
	for (unsigned i = 0; i < header->e_phnum; i++) {
		if (segments[i].p_type == PT_LOAD && segments[i].p_offset == 0)
			base = start - segments[i].p_vaddr;
		if (segments[i].p_type == PT_DYNAMIC)
			dynamic = (const ElfW(Dyn) *)(start + segments[i].p_offset);
	}
	struct tables tables = dynamic ? read_dynamic(dynamic, base) : (struct tables){0};
	uint32_t count = tables.strings && tables.symbols ? count_symbols(&tables) : 0;
	for (uint32_t i = 0; i < count; i++)
		if (tables.symbols[i].st_shndx != SHN_UNDEF &&
		    strcmp(tables.strings + tables.symbols[i].st_name, NAME) == 0)
			return (clock_function *)(base + tables.symbols[i].st_value);
	return NULL;
}

/* Found at the first call; every caller finds the same. */
static clock_function *
clock_of_kernel(void)
{
	static _Atomic(clock_function *) found;
	clock_function *function = lab_load_rlx(&found);

	if (lab_unlikely(!function)) {
		function = find_in_vdso();
		function = function ? function : clock_gettime;
		lab_store_rlx(&found, function);
	}
	return function;
}

/* The vDSO does not enter the kernel for this clock. Without one libc does, and may be forbidden to. */
uint64_t
lab_linux_clock_ms(void)
{
	struct timespec now;
	int saved = errno;

	if (clock_of_kernel()(CLOCK_MONOTONIC_COARSE, &now) != 0) {
		errno = saved;
		return 0;
	}
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
