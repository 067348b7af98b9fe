/*
 * deepbind.c - dlopen and dlmopen, which clear RTLD_DEEPBIND.
 *
 * A plug-in that is opened with that flag looks up names in itself and its dependencies first, libc among them: its
 * malloc and free are then glibc's, while strdup, getline and asprintf, inside libc, still give it blocks of ours; and
 * what it hands to the program or takes from it crosses as well. A block of one heap in the other's free is the end of
 * the process. PHP opens its modules so, and Java its libraries. Without the flag the plug-in finds malloc as everybody
 * does. What it loses is that its own names go before the program's.
 *
 * dlopen looks at its return address: whose RUNPATH, whose $ORIGIN, which namespace. Therefore the definitions here are
 * not wrappers but jumps: they change one argument, and the real function returns to the caller. In a namespace of its
 * own (dlmopen) a plug-in has a libc of its own, and the flag does no harm there.
 *
 * Contexts: those of dlopen, a thread's. The real functions are looked for at the first call, not in a constructor:
 * others may run before ours. Not in the static archive: what lies behind the name there is the linker's choice.
 */
#include "base/compiler.h"

#include <dlfcn.h>

typedef void *dlopen_function(const char *file, int mode);

/* Where the jump goes, and the mode that it takes along: two registers, in both ABIs. */
struct jump {
	void *target;
	long mode;
};

struct jump lab_dlopen_jump(int mode) LAB_HIDDEN;
struct jump lab_dlmopen_jump(Lmid_t name_space, int mode) LAB_HIDDEN;

/* dlsym looks at its caller, too: this is no tail call. */
static void *
find_next(const char *name, void *_Atomic *found)
{
	void *function = atomic_load_explicit(found, memory_order_relaxed);

	if (!function) {
		function = dlsym(RTLD_NEXT, name);
		atomic_store_explicit(found, function, memory_order_relaxed);
	}
	return function;
}

static dlopen_function *
next_dlopen(void)
{
	static void *_Atomic found;

	return (dlopen_function *)(uintptr_t)find_next("dlopen", &found);
}

__attribute__((used)) struct jump
lab_dlopen_jump(int mode)
{
	return (struct jump){(void *)(uintptr_t)next_dlopen(), mode & ~RTLD_DEEPBIND};
}

__attribute__((used)) struct jump
lab_dlmopen_jump(Lmid_t name_space, int mode)
{
	static void *_Atomic found;
	void *target = find_next("dlmopen", &found);

	return (struct jump){target, name_space == LM_ID_BASE ? mode & ~RTLD_DEEPBIND : mode};
}

#if defined(__x86_64__)
/* clang-format off */
__asm__(
	".text\n"
	".globl dlopen\n"
	".type dlopen, @function\n"
	"dlopen:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	pushq %rdi\n" /* file; the stack is aligned now */
	"	.cfi_adjust_cfa_offset 8\n"
	"	movl %esi, %edi\n"
	"	call lab_dlopen_jump\n"
	"	popq %rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	movl %edx, %esi\n"
	"	jmp *%rax\n"
	"	.cfi_endproc\n"
	".size dlopen, . - dlopen\n"

	".globl dlmopen\n"
	".type dlmopen, @function\n"
	"dlmopen:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	pushq %rdi\n" /* name space */
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq %rsi\n" /* file */
	"	.cfi_adjust_cfa_offset 8\n"
	"	subq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	movl %edx, %esi\n"
	"	call lab_dlmopen_jump\n" /* leaves the mode in %edx, where it belongs */
	"	addq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rsi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	jmp *%rax\n"
	"	.cfi_endproc\n"
	".size dlmopen, . - dlmopen\n");
/* clang-format on */
#elif defined(__aarch64__)
/* clang-format off */
__asm__(
	".text\n"
	".globl dlopen\n"
	".type dlopen, @function\n"
	"dlopen:\n"
	"	.cfi_startproc\n"
	"	hint #34\n" /* bti c */
	"	stp x29, x30, [sp, #-32]!\n"
	"	.cfi_def_cfa_offset 32\n"
	"	.cfi_offset 29, -32\n"
	"	.cfi_offset 30, -24\n"
	"	mov x29, sp\n"
	"	str x0, [sp, #16]\n" /* file */
	"	mov w0, w1\n"
	"	bl lab_dlopen_jump\n" /* leaves the mode in w1, where it belongs */
	"	mov x16, x0\n"
	"	ldr x0, [sp, #16]\n"
	"	ldp x29, x30, [sp], #32\n"
	"	.cfi_def_cfa_offset 0\n"
	"	.cfi_restore 29\n"
	"	.cfi_restore 30\n"
	"	br x16\n"
	"	.cfi_endproc\n"
	".size dlopen, . - dlopen\n"

	".globl dlmopen\n"
	".type dlmopen, @function\n"
	"dlmopen:\n"
	"	.cfi_startproc\n"
	"	hint #34\n"
	"	stp x29, x30, [sp, #-32]!\n"
	"	.cfi_def_cfa_offset 32\n"
	"	.cfi_offset 29, -32\n"
	"	.cfi_offset 30, -24\n"
	"	mov x29, sp\n"
	"	stp x0, x1, [sp, #16]\n" /* name space, file */
	"	mov w1, w2\n"
	"	bl lab_dlmopen_jump\n"
	"	mov x16, x0\n"
	"	mov w2, w1\n"
	"	ldp x0, x1, [sp, #16]\n"
	"	ldp x29, x30, [sp], #32\n"
	"	.cfi_def_cfa_offset 0\n"
	"	.cfi_restore 29\n"
	"	.cfi_restore 30\n"
	"	br x16\n"
	"	.cfi_endproc\n"
	".size dlmopen, . - dlmopen\n");
/* clang-format on */
#else
#error "dlopen's jump is written for x86-64 and aarch64"
#endif
