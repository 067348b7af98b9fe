/* overflow.h - sizes that do not overflow: they stay at SIZE_MAX, which no allocation has. */
#ifndef LABYRINTH_KERNEL_OVERFLOW_H
#define LABYRINTH_KERNEL_OVERFLOW_H

#include <stddef.h>
#include <stdint.h>

#ifndef check_add_overflow
#define check_add_overflow(a, b, d) __builtin_add_overflow((a), (b), (d))
#endif
#ifndef check_sub_overflow
#define check_sub_overflow(a, b, d) __builtin_sub_overflow((a), (b), (d))
#endif
#ifndef check_mul_overflow
#define check_mul_overflow(a, b, d) __builtin_mul_overflow((a), (b), (d))
#endif

static inline size_t
lab_size_mul(size_t a, size_t b)
{
	size_t product;

	return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

static inline size_t
lab_size_add(size_t a, size_t b)
{
	size_t sum;

	return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

/* SIZE_MAX also where either is SIZE_MAX: what has overflowed stays so. */
static inline size_t
lab_size_sub(size_t a, size_t b)
{
	return a == SIZE_MAX || b == SIZE_MAX || a < b ? SIZE_MAX : a - b;
}

#ifndef size_mul
#define size_mul(a, b) lab_size_mul((a), (b))
#endif
#ifndef size_add
#define size_add(a, b) lab_size_add((a), (b))
#endif
#ifndef size_sub
#define size_sub(a, b) lab_size_sub((a), (b))
#endif
#ifndef array_size
#define array_size(a, b) lab_size_mul((a), (b))
#endif
#ifndef array3_size
#define array3_size(a, b, c) lab_size_mul(lab_size_mul((a), (b)), (c))
#endif
/* Of `count` elements of the flexible array p->member; and with the struct before them. */
#ifndef flex_array_size
#define flex_array_size(p, member, count) lab_size_mul((count), sizeof(*(p)->member))
#endif
#ifndef struct_size
#define struct_size(p, member, count) lab_size_add(sizeof(*(p)), lab_size_mul((count), sizeof(*(p)->member)))
#endif
#ifndef struct_size_t
#define struct_size_t(type, member, count)                                                                             \
	lab_size_add(sizeof(type), lab_size_mul((count), sizeof(*((type *)NULL)->member)))
#endif

#endif
