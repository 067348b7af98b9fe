/* symbols.c - the drop-in defines every name that it must, so that no call slips past it to glibc's heap. Clauses:
 * G1.1. */
#include "check.h"

static const char *const names[] = {
        /* ISO C, POSIX, BSD, SunOS */
        "malloc",
        "calloc",
        "realloc",
        "free",
        "reallocarray",
        "aligned_alloc",
        "memalign",
        "posix_memalign",
        "valloc",
        "pvalloc",
        "malloc_usable_size",
        "cfree",
        "free_sized",
        "free_aligned_sized",
        /* glibc */
        "__libc_malloc",
        "__libc_calloc",
        "__libc_realloc",
        "__libc_free",
        "__libc_memalign",
        "__libc_valloc",
        "__libc_pvalloc",
        "__posix_memalign",
        "__libc_mallopt",
        "__libc_mallinfo",
        "mallinfo",
        "mallinfo2",
        "mallopt",
        "malloc_trim",
        "malloc_stats",
        "malloc_info",
        /* the loader's, for plug-ins that would take glibc's heap */
        "dlopen",
        "dlmopen",
        /* operator new, new[], delete, delete[]; each plain, nothrow, aligned, both; the latter two also sized */
        "_Znwm",
        "_ZnwmRKSt9nothrow_t",
        "_ZnwmSt11align_val_t",
        "_ZnwmSt11align_val_tRKSt9nothrow_t",
        "_Znam",
        "_ZnamRKSt9nothrow_t",
        "_ZnamSt11align_val_t",
        "_ZnamSt11align_val_tRKSt9nothrow_t",
        "_ZdlPv",
        "_ZdlPvm",
        "_ZdlPvRKSt9nothrow_t",
        "_ZdlPvSt11align_val_t",
        "_ZdlPvmSt11align_val_t",
        "_ZdlPvSt11align_val_tRKSt9nothrow_t",
        "_ZdaPv",
        "_ZdaPvm",
        "_ZdaPvRKSt9nothrow_t",
        "_ZdaPvSt11align_val_t",
        "_ZdaPvmSt11align_val_t",
        "_ZdaPvSt11align_val_tRKSt9nothrow_t",
        /* our own */
        "lab_malloc",
        "lab_calloc",
        "lab_realloc",
        "lab_reallocarray",
        "lab_aligned_alloc",
        "lab_posix_memalign",
        "lab_free",
        "lab_free_sized",
        "lab_free_aligned_sized",
        "lab_usable_size",
        "lab_owns",
        "lab_trim",
        "lab_set_param",
        "lab_stats_get",
        "lab_stats_get_sized",
        "lab_heap_stats_get",
        "lab_stats_write",
        "lab_class_stats_get",
        "lab_stats_print",
        "lab_version",
};

/*
 * The bindings that ld.so made for others: callers ask for glibc's and libstdc++'s versions of these names, and still
 * get ours. (Only dlvsym insists on the version: it finds glibc's.)
 */
static void
test_bindings(void)
{
	bool (*owns)(const void *) = (bool (*)(const void *))(uintptr_t)dlsym(RTLD_DEFAULT, "lab_owns");
	char *line = NULL;
	size_t size = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	void *blocks[4];

	CHECK(file && getline(&line, &size, file) > 0);
	fclose(file);
	blocks[0] = line;
	blocks[1] = malloc(10);
	blocks[2] = strdup("duplicate");
	blocks[3] = realpath("/", NULL);
	for (int i = 0; i < 4; i++) {
		CHECK(blocks[i] != NULL && owns(blocks[i]));
		free(blocks[i]);
	}
	CHECK(!owns(&owns) && !owns((void *)1) && !owns(NULL));
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		CHECK_FOR(check_is_ours(names[i]) != check_glibc, names[i]);
	if (!check_glibc)
		test_bindings();
	return check_end();
}
