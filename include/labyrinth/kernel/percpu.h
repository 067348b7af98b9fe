/*
 * percpu.h - variables of which each processor has an instance. A thread may be moved to another processor at any
 * instruction, and two threads may run on one in turn: so what this_cpu_add and its like do is atomic, and a pointer of
 * this_cpu_ptr is to an instance that others may be at.
 */
#ifndef LABYRINTH_KERNEL_PERCPU_H
#define LABYRINTH_KERNEL_PERCPU_H

#include <labyrinth/kernel/flags.h>

#ifndef __percpu
#define __percpu
#endif

#ifndef __alloc_percpu
#define __alloc_percpu(size, align) lab_percpu_alloc((size), (align), LAB_GFP_KERNEL)
#endif
#ifndef __alloc_percpu_gfp
#define __alloc_percpu_gfp(size, align, gfp) lab_percpu_alloc((size), (align), lab_gfp(gfp))
#endif
#ifndef alloc_percpu
#define alloc_percpu(type) ((type *)lab_percpu_alloc(sizeof(type), __alignof__(type), LAB_GFP_KERNEL))
#endif
#ifndef alloc_percpu_gfp
#define alloc_percpu_gfp(type, gfp) ((type *)lab_percpu_alloc(sizeof(type), __alignof__(type), lab_gfp(gfp)))
#endif
#ifndef free_percpu
#define free_percpu(p) lab_percpu_free((void *)(p))
#endif

#ifndef per_cpu_ptr
#define per_cpu_ptr(p, cpu) ((__typeof__(p))((uintptr_t)(p) + (size_t)(cpu)*LAB_PERCPU_STRIDE))
#endif
#ifndef this_cpu_ptr
#define this_cpu_ptr(p) per_cpu_ptr(p, lab_percpu_current())
#endif
#ifndef raw_cpu_ptr
#define raw_cpu_ptr(p) this_cpu_ptr(p)
#endif
#ifndef get_cpu_ptr
#define get_cpu_ptr(p) this_cpu_ptr(p)
#endif
#ifndef put_cpu_ptr
#define put_cpu_ptr(p) ((void)(p))
#endif

#ifndef this_cpu_read
#define this_cpu_read(v) __atomic_load_n(this_cpu_ptr(&(v)), __ATOMIC_RELAXED)
#endif
#ifndef this_cpu_write
#define this_cpu_write(v, value) __atomic_store_n(this_cpu_ptr(&(v)), (value), __ATOMIC_RELAXED)
#endif
#ifndef this_cpu_add
#define this_cpu_add(v, value) ((void)__atomic_fetch_add(this_cpu_ptr(&(v)), (value), __ATOMIC_RELAXED))
#endif
#ifndef this_cpu_sub
#define this_cpu_sub(v, value) ((void)__atomic_fetch_sub(this_cpu_ptr(&(v)), (value), __ATOMIC_RELAXED))
#endif
#ifndef this_cpu_inc
#define this_cpu_inc(v) this_cpu_add(v, 1)
#endif
#ifndef this_cpu_dec
#define this_cpu_dec(v) this_cpu_sub(v, 1)
#endif
#ifndef this_cpu_add_return
#define this_cpu_add_return(v, value) __atomic_add_fetch(this_cpu_ptr(&(v)), (value), __ATOMIC_RELAXED)
#endif
#ifndef this_cpu_xchg
#define this_cpu_xchg(v, value) __atomic_exchange_n(this_cpu_ptr(&(v)), (value), __ATOMIC_RELAXED)
#endif

#ifndef nr_cpu_ids
#define nr_cpu_ids lab_percpu_count()
#endif
#ifndef num_possible_cpus
#define num_possible_cpus() lab_percpu_count()
#endif
#ifndef for_each_possible_cpu
#define for_each_possible_cpu(cpu) for ((cpu) = 0; (unsigned)(cpu) < lab_percpu_count(); (cpu)++)
#endif
#ifndef raw_smp_processor_id
#define raw_smp_processor_id() lab_percpu_current()
#endif

#endif
