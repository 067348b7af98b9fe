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
/* lab_size_add(base, count * size), and a constant where all three are, so that it can be the length of an array. */
#ifdef __cplusplus
#define LAB_KERNEL_ELEMENTS(base, count, size) lab_size_add((base), lab_size_mul((count), (size)))
#else
#define LAB_KERNEL_ELEMENTS(base, count, size)                                                                         \
	__builtin_choose_expr(__builtin_constant_p(count),                                                             \
	                      LAB_KERNEL_CONSTANT((base), LAB_KERNEL_IF_CONSTANT(count), (size)),                      \
	                      lab_size_add((base), lab_size_mul((count), (size))))
#define LAB_KERNEL_CONSTANT(base, count, size)                                                                         \
	((count) > (SIZE_MAX - (base)) / ((size) ? (size) : 1) ? SIZE_MAX : (base) + (count) * (size))
#define LAB_KERNEL_IF_CONSTANT(count) ((size_t) __builtin_choose_expr(__builtin_constant_p(count), (count), 0))
#endif
/* Of `count` elements of the flexible array p->member; and with the struct before them. */
#ifndef flex_array_size
#define flex_array_size(p, member, count) LAB_KERNEL_ELEMENTS((size_t)0, count, sizeof(*(p)->member))
#endif
#ifndef struct_size
#define struct_size(p, member, count) LAB_KERNEL_ELEMENTS(sizeof(*(p)), count, sizeof(*(p)->member))
#endif
#ifndef struct_size_t
#define struct_size_t(type, member, count) LAB_KERNEL_ELEMENTS(sizeof(type), count, sizeof(*((type *)NULL)->member))
#endif

#ifndef __cplusplus
/* Variables of the function that hold a struct with room for `count` elements at its end; `name` points to it. RAW: not
 * initialized; the other one: zeroed. */
#ifndef DEFINE_RAW_FLEX
#define DEFINE_RAW_FLEX(type, name, member, count) LAB_KERNEL_FLEX(type, name, member, count, )
#endif
#ifndef DEFINE_FLEX
#define DEFINE_FLEX(type, name, member, counter, count)                                                                \
	LAB_KERNEL_FLEX(type, name, member, count, = {{0}});                                                           \
	name->counter = (count)
#endif
#define LAB_KERNEL_FLEX(type, name, member, count, ...)                                                                \
	union {                                                                                                        \
		unsigned char bytes[struct_size_t(type, member, count)];                                               \
		type object;                                                                                           \
	} name##_u __VA_ARGS__;                                                                                        \
	type *name = (type *)&name##_u
#endif

#endif
