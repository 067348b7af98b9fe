/*
 * cxx.c - C++'s operator new and delete, all of them, under their mangled names (LP64: size_t is 'm').
 *
 * Why they are defined at all: the C++ runtime's own would reach our malloc, but by one more call through two tables.
 * In C, so that a C program under the drop-in needs no libstdc++.
 *
 * The path of success is ours. The path of failure (new_handler, std::bad_alloc, catching what a new_handler throws) is
 * the C++ runtime's: a form that got no memory calls the same form in the runtime, which tries malloc again, and from
 * there on does everything exactly as that runtime does it. The runtime's nothrow forms call plain operator new in a
 * try block: that is ours, which fails again, goes to the runtime's, and what that throws unwinds through our frame
 * into the try block.
 *
 * A program may replace some of the operators: C++ says that the forms it did not replace then call the ones it did
 * ([new.delete.single], [new.delete.array]). So each form here calls the form below it by its public name, which
 * ld.so may have bound to the program's. Needed of the build: these names stay interposable (preload/operators.list, no
 * -Bsymbolic), and -fexceptions. The sizes given to sized deletes, and which operator made a block, are checked with
 * the setting `check` only: the runtime's do not look at them, and programs that delete a derived object through a base
 * without a virtual destructor get away with it.
 *
 * Not in the static archive: there the runtime's operators are linked in, and call the archive's malloc.
 * Success is as async-signal-safe as malloc; failure is not, since it asks the loader and may throw.
 */
#include "alloc/checked.h"
#include "alloc/fastpath.h"
#include "base/compiler.h"
#include "labyrinth/labyrinth.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <unistd.h>

_Static_assert(sizeof(size_t) == 8 && sizeof(long) == 8, "the mangled names are those of LP64");

/* Weak, so that no compiler takes the body that it sees for the one that is called; ld.so makes no difference. */
#define OPERATOR LAB_EXPORT __attribute__((weak))

struct nothrow; /* std::nothrow_t: passed by reference, never looked at */

typedef void *new_function(size_t size);
typedef void *new_nothrow_function(size_t size, const struct nothrow *tag);
typedef void *new_aligned_function(size_t size, size_t alignment);
typedef void *new_aligned_nothrow_function(size_t size, size_t alignment, const struct nothrow *tag);
typedef void any_function(void);

new_function _Znwm, _Znam;
new_nothrow_function _ZnwmRKSt9nothrow_t, _ZnamRKSt9nothrow_t;
new_aligned_function _ZnwmSt11align_val_t, _ZnamSt11align_val_t;
new_aligned_nothrow_function _ZnwmSt11align_val_tRKSt9nothrow_t, _ZnamSt11align_val_tRKSt9nothrow_t;

void _ZdlPv(void *block);
void _ZdaPv(void *block);
void _ZdlPvm(void *block, size_t size);
void _ZdaPvm(void *block, size_t size);
void _ZdlPvRKSt9nothrow_t(void *block, const struct nothrow *tag);
void _ZdaPvRKSt9nothrow_t(void *block, const struct nothrow *tag);
void _ZdlPvSt11align_val_t(void *block, size_t alignment);
void _ZdaPvSt11align_val_t(void *block, size_t alignment);
void _ZdlPvmSt11align_val_t(void *block, size_t size, size_t alignment);
void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t alignment);
void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const struct nothrow *tag);
void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const struct nothrow *tag);

/* ---- finding the C++ runtime ----------------------------------------------------------------------------------- */

/* The definition of `name` that `handle` gives, unless it is in this library. (No tail call: dlsym looks at its
 * caller.) */
static any_function *
find_in(void *handle, const char *name)
{
	void *found = dlsym(handle, name);
	Dl_info theirs;
	Dl_info ours;

	if (!found || !dladdr(found, &theirs) || !dladdr((void *)(uintptr_t)find_in, &ours) ||
	    theirs.dli_fbase == ours.dli_fbase)
		return NULL;
	return (any_function *)(uintptr_t)found;
}

/* As find_in, in the scope of a library that is loaded already. Nothing is kept: whoever needed it loaded still
 * does. */
static any_function *
find_in_library(const char *library, const char *name)
{
	any_function *found = NULL;
	void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);

	if (handle) {
		found = find_in(handle, name);
		dlclose(handle);
	}
	return found;
}

/*
 * The C++ runtime's own `name`: behind us in the global scope, where it is when the program is linked with it; else in
 * the scope of the object that called us (`caller` is an address in it), when both came by dlopen without RTLD_GLOBAL;
 * else by its name. Not remembered: it may be unloaded, and failures are rare. Allocates nothing in the first case,
 * little in the others.
 */
static LAB_COLD any_function *
find_in_runtime(const char *name, const void *caller)
{
	static const char *const runtimes[] = {"libstdc++.so.6", "libc++abi.so.1", "libc++.so.1"};
	any_function *found = find_in(RTLD_NEXT, name);
	struct link_map *map = NULL;
	Dl_info info;

	if (!found && dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) && map->l_name[0] != '\0')
		found = find_in_library(map->l_name, name);
	for (size_t i = 0; !found && i < sizeof runtimes / sizeof runtimes[0]; i++)
		found = find_in_library(runtimes[i], name);
	return found;
}

static LAB_COLD LAB_NORETURN void
die_without_runtime(void)
{
	static const char line[] =
	        "labyrinth: operator new: out of memory, and no C++ runtime found to throw std::bad_alloc\n";
	ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);

	(void)written;
	abort();
}

/* ---- operator new ---------------------------------------------------------------------------------------------- */

static inline void *
new_block(size_t size, enum lab_maker maker)
{
	return lab_unlikely(lab_debug_is_on()) ? lab_new_checked(size, 1, maker) : lab_malloc_fast(size);
}

static inline void *
new_aligned_block(size_t size, size_t alignment, enum lab_maker maker)
{
	return lab_unlikely(lab_debug_is_on()) ? lab_new_checked(size, alignment, maker)
	                                       : lab_aligned_alloc(alignment, size);
}

/* Local names of the forms that others are made of, to see whether the program replaced them. */
extern new_function own_new __attribute__((alias("_Znwm"), visibility("hidden")));
extern new_function own_new_array __attribute__((alias("_Znam"), visibility("hidden")));
extern new_aligned_function own_new_aligned __attribute__((alias("_ZnwmSt11align_val_t"), visibility("hidden")));
extern new_aligned_function own_new_array_aligned __attribute__((alias("_ZnamSt11align_val_t"), visibility("hidden")));

/* Whether a public name is bound to our definition. The empty asm keeps the compiler from answering by itself. */
#define IS_OURS(public_name, own_name)                                                                                 \
	__extension__({                                                                                                \
		__typeof__(&public_name) bound = public_name;                                                          \
		__asm__("" : "+r"(bound));                                                                             \
		bound == own_name;                                                                                     \
	})

static LAB_COLD void *
new_failed(size_t size, const void *caller, enum lab_maker maker)
{
	new_function *theirs = (new_function *)find_in_runtime("_Znwm", caller);

	if (!theirs)
		die_without_runtime();
	void *block = theirs(size);
	lab_new_note(block, maker);
	return block;
}

/*
 * libstdc++ rounds the size up to the alignment, and can wrap around and succeed with a block that is too small: it is
 * given the greatest size that cannot wrap, which fails for certain.
 */
static LAB_COLD void *
new_aligned_failed(size_t size, size_t alignment, const void *caller, enum lab_maker maker)
{
	new_aligned_function *theirs = (new_aligned_function *)find_in_runtime("_ZnwmSt11align_val_t", caller);

	if (!theirs)
		die_without_runtime();
	void *block = theirs(size <= LAB_SIZE_MAX ? size : LAB_SIZE_MAX, alignment);
	lab_new_note(block, maker);
	return block;
}

/* Without a runtime there is no new_handler either, and nothing to catch: the answer of a nothrow form is NULL. */
static LAB_COLD void *
new_nothrow_failed(const char *name, size_t size, const struct nothrow *tag, const void *caller)
{
	new_nothrow_function *theirs = (new_nothrow_function *)find_in_runtime(name, caller);

	return theirs ? theirs(size, tag) : NULL;
}

static LAB_COLD void *
new_aligned_nothrow_failed(const char *name, size_t size, size_t alignment, const struct nothrow *tag,
                           const void *caller)
{
	new_aligned_nothrow_function *theirs = (new_aligned_nothrow_function *)find_in_runtime(name, caller);

	return theirs ? theirs(size, alignment, tag) : NULL;
}

OPERATOR void *
_Znwm(size_t size)
{
	void *block = new_block(size, LAB_BY_NEW);

	return lab_likely(block) ? block : new_failed(size, __builtin_return_address(0), LAB_BY_NEW);
}

OPERATOR void *
_Znam(size_t size)
{
	if (!IS_OURS(_Znwm, own_new))
		return _Znwm(size);
	void *block = new_block(size, LAB_BY_NEW_ARRAY);
	return lab_likely(block) ? block : new_failed(size, __builtin_return_address(0), LAB_BY_NEW_ARRAY);
}

OPERATOR void *
_ZnwmRKSt9nothrow_t(size_t size, const struct nothrow *tag)
{
	void *block = IS_OURS(_Znwm, own_new) ? new_block(size, LAB_BY_NEW) : NULL;

	return lab_likely(block) ? block
	                         : new_nothrow_failed("_ZnwmRKSt9nothrow_t", size, tag, __builtin_return_address(0));
}

OPERATOR void *
_ZnamRKSt9nothrow_t(size_t size, const struct nothrow *tag)
{
	bool ours = IS_OURS(_Znam, own_new_array) && IS_OURS(_Znwm, own_new);
	void *block = ours ? new_block(size, LAB_BY_NEW_ARRAY) : NULL;

	return lab_likely(block) ? block
	                         : new_nothrow_failed("_ZnamRKSt9nothrow_t", size, tag, __builtin_return_address(0));
}

OPERATOR void *
_ZnwmSt11align_val_t(size_t size, size_t alignment)
{
	void *block = new_aligned_block(size, alignment, LAB_BY_ALIGNED_NEW);

	return lab_likely(block) ? block
	                         : new_aligned_failed(size, alignment, __builtin_return_address(0), LAB_BY_ALIGNED_NEW);
}

OPERATOR void *
_ZnamSt11align_val_t(size_t size, size_t alignment)
{
	if (!IS_OURS(_ZnwmSt11align_val_t, own_new_aligned))
		return _ZnwmSt11align_val_t(size, alignment);
	void *block = new_aligned_block(size, alignment, LAB_BY_ALIGNED_NEW_ARRAY);
	return lab_likely(block)
	               ? block
	               : new_aligned_failed(size, alignment, __builtin_return_address(0), LAB_BY_ALIGNED_NEW_ARRAY);
}

OPERATOR void *
_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const struct nothrow *tag)
{
	bool ours = IS_OURS(_ZnwmSt11align_val_t, own_new_aligned);
	void *block = ours ? new_aligned_block(size, alignment, LAB_BY_ALIGNED_NEW) : NULL;

	return lab_likely(block) ? block
	                         : new_aligned_nothrow_failed("_ZnwmSt11align_val_tRKSt9nothrow_t", size, alignment,
	                                                      tag, __builtin_return_address(0));
}

OPERATOR void *
_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const struct nothrow *tag)
{
	bool ours =
	        IS_OURS(_ZnamSt11align_val_t, own_new_array_aligned) && IS_OURS(_ZnwmSt11align_val_t, own_new_aligned);
	void *block = ours ? new_aligned_block(size, alignment, LAB_BY_ALIGNED_NEW_ARRAY) : NULL;

	return lab_likely(block) ? block
	                         : new_aligned_nothrow_failed("_ZnamSt11align_val_tRKSt9nothrow_t", size, alignment,
	                                                      tag, __builtin_return_address(0));
}

/* ---- operator delete ------------------------------------------------------------------------------------------- */

typedef void delete_function(void *block);
typedef void delete_aligned_function(void *block, size_t alignment);
extern delete_function own_delete __attribute__((alias("_ZdlPv"), visibility("hidden")));
extern delete_function own_delete_array __attribute__((alias("_ZdaPv"), visibility("hidden")));
extern delete_aligned_function own_delete_aligned __attribute__((alias("_ZdlPvSt11align_val_t"), visibility("hidden")));
extern delete_aligned_function own_delete_array_aligned
        __attribute__((alias("_ZdaPvSt11align_val_t"), visibility("hidden")));

static const char delete_name[] = "operator delete", delete_array_name[] = "operator delete[]";

static inline void
delete_block(void *block, struct lab_release_how how)
{
	if (lab_unlikely(lab_debug_is_on()))
		lab_delete_checked(block, &how);
	else
		lab_free_fast(block);
}

OPERATOR void
_ZdlPv(void *block)
{
	delete_block(block, (struct lab_release_how){.call = delete_name, .maker = LAB_BY_NEW});
}

OPERATOR void
_ZdaPv(void *block)
{
	if (IS_OURS(_ZdlPv, own_delete))
		delete_block(block, (struct lab_release_how){.call = delete_array_name, .maker = LAB_BY_NEW_ARRAY});
	else
		_ZdlPv(block);
}

OPERATOR void
_ZdlPvm(void *block, size_t size)
{
	if (IS_OURS(_ZdlPv, own_delete))
		delete_block(block, (struct lab_release_how){delete_name, LAB_BY_NEW, true, size, 0});
	else
		_ZdlPv(block);
}

OPERATOR void
_ZdaPvm(void *block, size_t size)
{
	if (IS_OURS(_ZdaPv, own_delete_array) && IS_OURS(_ZdlPv, own_delete))
		delete_block(block, (struct lab_release_how){delete_array_name, LAB_BY_NEW_ARRAY, true, size, 0});
	else
		_ZdaPv(block);
}

OPERATOR void
_ZdlPvRKSt9nothrow_t(void *block, const struct nothrow *tag)
{
	(void)tag;
	_ZdlPv(block);
}

OPERATOR void
_ZdaPvRKSt9nothrow_t(void *block, const struct nothrow *tag)
{
	(void)tag;
	_ZdaPv(block);
}

OPERATOR void
_ZdlPvSt11align_val_t(void *block, size_t alignment)
{
	delete_block(block, (struct lab_release_how){delete_name, LAB_BY_ALIGNED_NEW, false, 0, alignment});
}

OPERATOR void
_ZdaPvSt11align_val_t(void *block, size_t alignment)
{
	if (IS_OURS(_ZdlPvSt11align_val_t, own_delete_aligned))
		delete_block(block, (struct lab_release_how){delete_array_name, LAB_BY_ALIGNED_NEW_ARRAY, false, 0,
		                                             alignment});
	else
		_ZdlPvSt11align_val_t(block, alignment);
}

OPERATOR void
_ZdlPvmSt11align_val_t(void *block, size_t size, size_t alignment)
{
	if (IS_OURS(_ZdlPvSt11align_val_t, own_delete_aligned))
		delete_block(block, (struct lab_release_how){delete_name, LAB_BY_ALIGNED_NEW, true, size, alignment});
	else
		_ZdlPvSt11align_val_t(block, alignment);
}

OPERATOR void
_ZdaPvmSt11align_val_t(void *block, size_t size, size_t alignment)
{
	if (IS_OURS(_ZdaPvSt11align_val_t, own_delete_array_aligned) &&
	    IS_OURS(_ZdlPvSt11align_val_t, own_delete_aligned))
		delete_block(block, (struct lab_release_how){delete_array_name, LAB_BY_ALIGNED_NEW_ARRAY, true, size,
		                                             alignment});
	else
		_ZdaPvSt11align_val_t(block, alignment);
}

OPERATOR void
_ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const struct nothrow *tag)
{
	(void)tag;
	_ZdlPvSt11align_val_t(block, alignment);
}

OPERATOR void
_ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const struct nothrow *tag)
{
	(void)tag;
	_ZdaPvSt11align_val_t(block, alignment);
}
