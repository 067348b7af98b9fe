/*
 * syscall.h - system calls without libc: no errno, no cancellation point, no PLT. Private to src/os. Any context.
 */
#ifndef LAB_OS_SYSCALL_H
#define LAB_OS_SYSCALL_H

#include <sys/syscall.h>

#include "base/compiler.h"

/* The kernel's result: a negative value in [-4095, -1] is -errno. */
static inline long
lab_syscall6(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
#else
#error "lab_syscall: no system call sequence for this architecture"
#endif
}

static inline long
lab_syscall(long number, long a, long b, long c, long d, long e)
{
	return lab_syscall6(number, a, b, c, d, e, 0);
}

static inline bool
lab_syscall_failed(long result)
{
	return (unsigned long)result >= -4095ul;
}

#endif
