/* known.c - see known.h. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "known.h"

struct known {
	const char *prefix, *name;
};

static const struct known allocator_libraries[] = {
        {"libjemalloc", "jemalloc"},
        {"libtcmalloc", "tcmalloc"},
        {"libmimalloc", "mimalloc"},
        {"libsnmalloc", "snmalloc"},
        {"libhoard", "Hoard"},
        {"librpmalloc", "rpmalloc"},
        {"libscudo", "Scudo"},
        {"libtbbmalloc_proxy", "TBB"},
        {"libhardened_malloc", "hardened_malloc"},
        {"libc_malloc_debug", "glibc's malloc debugging"},
};

static const struct known sanitizer_libraries[] = {
        {"libasan", "AddressSanitizer"},
        {"libtsan", "ThreadSanitizer"},
        {"liblsan", "LeakSanitizer"},
        {"libhwasan", "HWAddressSanitizer"},
        {"libmsan", "MemorySanitizer"},
        {"libclang_rt.asan", "AddressSanitizer"},
        {"libclang_rt.tsan", "ThreadSanitizer"},
        {"libclang_rt.memprof", "MemProf"},
};

/* Names in the symbol table of a program: what a sanitizer's run time defines, what asks for one allocator. */
static const struct known sanitizer_symbols[] = {
        {"__asan_init", "AddressSanitizer"},     {"__tsan_init", "ThreadSanitizer"},
        {"__msan_init", "MemorySanitizer"},      {"__lsan_init", "LeakSanitizer"},
        {"__hwasan_init", "HWAddressSanitizer"}, {"__memprof_init", "MemProf"},
};

static const struct known allocator_symbols[] = {
        {"mallctl", "jemalloc"},    {"je_mallctl", "jemalloc"},
        {"je_malloc", "jemalloc"},  {"mi_malloc", "mimalloc"},
        {"mi_version", "mimalloc"}, {"tc_malloc", "tcmalloc"},
        {"tc_version", "tcmalloc"}, {"MallocExtension_GetNumericProperty", "tcmalloc"},
        {"rpmalloc", "rpmalloc"},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *
look_up(const struct known *table, size_t count, const char *name, bool whole)
{
	for (size_t i = 0; i < count; i++)
		if (whole ? strcmp(name, table[i].prefix) == 0
		          : strncmp(name, table[i].prefix, strlen(table[i].prefix)) == 0)
			return table[i].name;
	return NULL;
}

const char *
allocator_of_library(const char *name)
{
	return look_up(allocator_libraries, COUNT(allocator_libraries), name, false);
}

const char *
sanitizer_of_library(const char *name)
{
	return look_up(sanitizer_libraries, COUNT(sanitizer_libraries), name, false);
}

const char *
allocator_of_symbol(const char *name)
{
	return look_up(allocator_symbols, COUNT(allocator_symbols), name, true);
}

const char *
sanitizer_of_symbol(const char *name)
{
	return look_up(sanitizer_symbols, COUNT(sanitizer_symbols), name, true);
}
