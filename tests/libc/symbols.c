/* symbols.c - the drop-in defines every name that it must, so that no call slips past it to glibc's heap. */
#include "check.h"

static const char *const names[] = {
	/* ISO C, POSIX, BSD, SunOS */
	"malloc", "calloc", "realloc", "free", "reallocarray", "aligned_alloc", "memalign", "posix_memalign", "valloc", "pvalloc",
	"malloc_usable_size", "cfree", "free_sized", "free_aligned_sized",
	/* glibc */
	"__libc_malloc", "__libc_calloc", "__libc_realloc", "__libc_free", "__libc_memalign", "__libc_valloc", "__libc_pvalloc",
	"__posix_memalign", "__libc_mallopt", "__libc_mallinfo", "mallinfo", "mallinfo2", "mallopt", "malloc_trim", "malloc_stats",
	"malloc_info",
	/* operator new, new[], delete, delete[]; each plain, nothrow, aligned, both; the latter two also sized */
	"_Znwm", "_ZnwmRKSt9nothrow_t", "_ZnwmSt11align_val_t", "_ZnwmSt11align_val_tRKSt9nothrow_t",
	"_Znam", "_ZnamRKSt9nothrow_t", "_ZnamSt11align_val_t", "_ZnamSt11align_val_tRKSt9nothrow_t",
	"_ZdlPv", "_ZdlPvm", "_ZdlPvRKSt9nothrow_t", "_ZdlPvSt11align_val_t", "_ZdlPvmSt11align_val_t", "_ZdlPvSt11align_val_tRKSt9nothrow_t",
	"_ZdaPv", "_ZdaPvm", "_ZdaPvRKSt9nothrow_t", "_ZdaPvSt11align_val_t", "_ZdaPvmSt11align_val_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t",
	/* our own */
	"lab_malloc", "lab_calloc", "lab_realloc", "lab_reallocarray", "lab_aligned_alloc", "lab_posix_memalign", "lab_free",
	"lab_free_sized", "lab_free_aligned_sized", "lab_usable_size", "lab_owns", "lab_trim", "lab_set_param", "lab_stats_get",
	"lab_class_stats_get", "lab_stats_print", "lab_version",
};

/* Names that callers ask for with glibc's or libstdc++'s version: ld.so must give ours for these too. */
static const char *const versioned[][2] = {
	{"malloc", "GLIBC_2.2.5"}, {"free", "GLIBC_2.2.5"}, {"cfree", "GLIBC_2.2.5"}, {"aligned_alloc", "GLIBC_2.16"},
	{"reallocarray", "GLIBC_2.26"}, {"mallinfo2", "GLIBC_2.33"}, {"_Znwm", "GLIBCXX_3.4"}, {"_ZdlPvm", "CXXABI_1.3.9"},
	{"_ZnwmSt11align_val_t", "CXXABI_1.3.11"},
};

int main(int argc, char **argv)
{
	check_begin(argc, argv);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		CHECK_FOR(check_is_ours(names[i]) != check_glibc, names[i]);
	for (size_t i = 0; !check_glibc && i < sizeof versioned / sizeof versioned[0]; i++) {
		void *plain = dlsym(RTLD_DEFAULT, versioned[i][0]);

		CHECK_FOR(dlvsym(RTLD_DEFAULT, versioned[i][0], versioned[i][1]) == plain, versioned[i][0]);
	}
	return check_end();
}
