/* block.h - kmalloc and its family. */
#ifndef LABYRINTH_KERNEL_BLOCK_H
#define LABYRINTH_KERNEL_BLOCK_H

#include <errno.h>
#include <labyrinth/kernel/flags.h>
#include <labyrinth/kernel/overflow.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PAGE_SHIFT
#define PAGE_SHIFT 12
#endif
#ifndef PAGE_SIZE
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#endif
#ifndef PAGE_MASK
#define PAGE_MASK (~(PAGE_SIZE - 1))
#endif
#ifndef PAGE_ALIGN
#define PAGE_ALIGN(x) (((x) + PAGE_SIZE - 1) & PAGE_MASK)
#endif
#ifndef MAX_PAGE_ORDER
#define MAX_PAGE_ORDER LAB_ORDER_MAX_ALLOC
#endif
#ifndef NUMA_NO_NODE
#define NUMA_NO_NODE (-1)
#endif

/* The largest kmalloc. */
#define LAB_KERNEL_MAX ((size_t)4096 << LAB_ORDER_MAX_ALLOC)
#ifndef KMALLOC_MAX_SIZE
#define KMALLOC_MAX_SIZE LAB_KERNEL_MAX
#endif
#ifndef KMALLOC_MAX_CACHE_SIZE
#define KMALLOC_MAX_CACHE_SIZE ((size_t)8192)
#endif
#ifndef ARCH_KMALLOC_MINALIGN
#define ARCH_KMALLOC_MINALIGN 16
#endif
#ifndef ARCH_SLAB_MINALIGN
#define ARCH_SLAB_MINALIGN 16
#endif
#ifndef ARCH_DMA_MINALIGN
#define ARCH_DMA_MINALIGN 16
#endif

/* What kmalloc(0) gives: no memory, but no failure. kfree, ksize and krealloc take it. */
#ifndef ZERO_SIZE_PTR
#define ZERO_SIZE_PTR ((void *)16)
#endif
#ifndef ZERO_OR_NULL_PTR
#define ZERO_OR_NULL_PTR(p) ((uintptr_t)(p) <= (uintptr_t)ZERO_SIZE_PTR)
#endif

/* ---- what the names stand for ------------------------------------------------------------------------------------ */

/* The largest power of two that divides it: what it is aligned to, and at least 16. */
static inline size_t
lab_kernel_align(size_t size)
{
	size_t divisor = size & (0 - size);

	return divisor > 16 ? divisor : 16;
}

/* ZERO_SIZE_PTR, of which the compiler does not know that nothing is there: it would warn of uses that cannot be. */
static inline void *
lab_kernel_nothing(void)
{
	void *p = ZERO_SIZE_PTR;

	__asm__("" : "+r"(p));
	return p;
}

/* The bytes of a block for 1 to 1024: eight sizes a doubling (the library's size_class.h). With all of them
 * cleared a krealloc with __GFP_ZERO is exact. */
static inline size_t
lab_kernel_class(size_t size)
{
	size_t step = size <= 256 ? 16 : size <= 512 ? 32 : 64;

	return (size + step - 1) & ~(step - 1);
}

/* Of 1 to `most` bytes. Up to 32 KiB alignment is the heap's, and from a page on it has to be asked for. */
static inline __attribute__((__always_inline__)) void *
lab_kernel_alloc(size_t size, size_t most, gfp_t gfp)
{
	unsigned lab = lab_gfp(gfp);

	if (LAB_KERNEL_FAULT(size, lab))
		return NULL;
	if (size - 1 >= 32768) {
		if (size == 0)
			return lab_kernel_nothing();
		if (size > most)
			return NULL;
		if (lab_kernel_align(size) > 4096)
			return lab_alloc_aligned(lab_kernel_align(size), size, lab);
	}
	if (__builtin_constant_p(lab) && lab == LAB_GFP_KERNEL)
		return lab_malloc(size);
	if (__builtin_constant_p(lab) && lab == LAB_GFP_ZERO && __builtin_constant_p(size) && size <= 1024)
		return lab_calloc(1, lab_kernel_class(size));
	return lab_alloc(size, lab);
}

LAB_KERNEL_CALL void *
lab_kernel_alloc_array(size_t n, size_t size, size_t most, gfp_t gfp)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : lab_kernel_alloc(bytes, most, gfp);
}

/* Whether the block goes when it is freed now: no reference that get_page took is left. */
static inline bool
lab_kernel_is_last(const void *p)
{
	return ((uintptr_t)p & 4095) != 0 || lab_page_let_go((void *)(uintptr_t)p);
}

static inline void
lab_kernel_free(const void *p)
{
	if (!ZERO_OR_NULL_PTR(p) && lab_kernel_is_last(p))
		lab_free((void *)(uintptr_t)p);
}

static inline void
lab_kernel_free_sensitive(const void *p)
{
	if (!ZERO_OR_NULL_PTR(p)) {
		memset((void *)(uintptr_t)p, 0, lab_usable_size(p));
		__asm__ volatile("" : : "r"(p) : "memory"); /* the memset is not dead */
		lab_kernel_free(p);
	}
}

LAB_KERNEL_CALL void *
lab_kernel_realloc(const void *p, size_t size, size_t align, size_t most, gfp_t gfp)
{
	unsigned lab = lab_gfp(gfp);

	if (size == 0) {
		lab_kernel_free(p);
		return lab_kernel_nothing();
	}
	if (size > most || LAB_KERNEL_FAULT(size, lab))
		return NULL;
	if (align < lab_kernel_align(size))
		align = lab_kernel_align(size);
	return lab_realloc_aligned(ZERO_OR_NULL_PTR(p) ? NULL : (void *)(uintptr_t)p, align, size, lab);
}

LAB_KERNEL_CALL void *
lab_kernel_copy(const void *source, size_t size, size_t most, gfp_t gfp)
{
	void *p = lab_kernel_alloc(size, most, gfp);

	return p && size ? memcpy(p, source, size) : p;
}

/* `length` bytes, and a NUL. NULL for NULL. */
LAB_KERNEL_CALL char *
lab_kernel_copy_text(const char *source, size_t length, gfp_t gfp)
{
	char *p = source && length < LAB_KERNEL_MAX ? (char *)lab_kernel_alloc(length + 1, LAB_KERNEL_MAX, gfp) : NULL;

	if (p) {
		memcpy(p, source, length);
		p[length] = 0;
	}
	return p;
}

/* ---- kmalloc ----------------------------------------------------------------------------------------------------- */

#ifndef kmalloc
static inline __attribute__((__always_inline__)) void *
kmalloc(size_t size, gfp_t gfp)
{
	return lab_kernel_alloc(size, LAB_KERNEL_MAX, gfp);
}
#endif

#ifndef kzalloc
static inline __attribute__((__always_inline__)) void *
kzalloc(size_t size, gfp_t gfp)
{
	return lab_kernel_alloc(size, LAB_KERNEL_MAX, gfp | __GFP_ZERO);
}
#endif

#ifndef kmalloc_array
LAB_KERNEL_CALL void *
kmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	return lab_kernel_alloc_array(n, size, LAB_KERNEL_MAX, gfp);
}
#endif

#ifndef kcalloc
LAB_KERNEL_CALL void *
kcalloc(size_t n, size_t size, gfp_t gfp)
{
	return lab_kernel_alloc_array(n, size, LAB_KERNEL_MAX, gfp | __GFP_ZERO);
}
#endif

/* Any block of any of these, and an object of any cache. */
#ifndef kfree
static inline void
kfree(const void *p)
{
	lab_kernel_free(p);
}
#endif

/* Cleared before it is freed. */
#ifndef kfree_sensitive
static inline void
kfree_sensitive(const void *p)
{
	lab_kernel_free_sensitive(p);
}
#endif

#ifndef kfree_const
#define kfree_const(p) lab_kernel_free(p)
#endif

/* The bytes of the block, which may be more than were asked for. As in the kernel, those beyond may be used after a
 * krealloc to ksize: a compiler that knows what kmalloc was asked for may complain else. */
#ifndef ksize
static inline size_t
ksize(const void *p)
{
	return ZERO_OR_NULL_PTR(p) ? 0 : lab_usable_size(p);
}
#endif

/* What ksize will say of kmalloc(size). */
#ifndef kmalloc_size_roundup
static inline size_t
kmalloc_size_roundup(size_t size)
{
	return size && size <= LAB_KERNEL_MAX ? lab_good_size(size) : size;
}
#endif

/* Size 0 frees p and gives ZERO_SIZE_PTR; on failure p stays as it was. */
#ifndef krealloc
LAB_KERNEL_CALL void *
krealloc(const void *p, size_t size, gfp_t gfp)
{
	return lab_kernel_realloc(p, size, 1, LAB_KERNEL_MAX, gfp);
}
#endif

#ifndef krealloc_node_align
#define krealloc_node_align(p, size, align, gfp, node)                                                                 \
	((void)(node), lab_kernel_realloc((p), (size), (align), LAB_KERNEL_MAX, (gfp)))
#endif
#ifndef krealloc_node
#define krealloc_node(p, size, gfp, node) ((void)(node), lab_kernel_realloc((p), (size), 1, LAB_KERNEL_MAX, (gfp)))
#endif

#ifndef krealloc_array
LAB_KERNEL_CALL void *
krealloc_array(void *p, size_t n, size_t size, gfp_t gfp)
{
	return lab_kernel_realloc(p, lab_size_mul(n, size), 1, LAB_KERNEL_MAX, gfp);
}
#endif

/* There is one node. */
#ifndef kmalloc_node
#define kmalloc_node(size, gfp, node) ((void)(node), lab_kernel_alloc((size), LAB_KERNEL_MAX, (gfp)))
#endif
#ifndef kzalloc_node
#define kzalloc_node(size, gfp, node) ((void)(node), lab_kernel_alloc((size), LAB_KERNEL_MAX, (gfp) | __GFP_ZERO))
#endif
#ifndef kmalloc_array_node
#define kmalloc_array_node(n, size, gfp, node)                                                                         \
	((void)(node), lab_kernel_alloc_array((n), (size), LAB_KERNEL_MAX, (gfp)))
#endif
#ifndef kcalloc_node
#define kcalloc_node(n, size, gfp, node)                                                                               \
	((void)(node), lab_kernel_alloc_array((n), (size), LAB_KERNEL_MAX, (gfp) | __GFP_ZERO))
#endif
#ifndef kmalloc_track_caller
#define kmalloc_track_caller(size, gfp) lab_kernel_alloc((size), LAB_KERNEL_MAX, (gfp))
#endif
/* From any context: neither waits nor maps. */
#ifndef kmalloc_nolock
LAB_KERNEL_CALL void *
kmalloc_nolock(size_t size, gfp_t gfp, int node)
{
	(void)node;
	return lab_kernel_alloc(size, LAB_KERNEL_MAX, (gfp & __GFP_ZERO) | __GFP_HIGH | __GFP_NOWARN);
}
#endif

#ifndef kfree_nolock
static inline void
kfree_nolock(const void *p)
{
	lab_kernel_free(p);
}
#endif

#ifndef kmalloc_node_track_caller
#define kmalloc_node_track_caller(size, gfp, node) ((void)(node), lab_kernel_alloc((size), LAB_KERNEL_MAX, (gfp)))
#endif

/* ---- kvmalloc: no bound on the size ------------------------------------------------------------------------------ */

#ifndef kvmalloc
LAB_KERNEL_CALL void *
kvmalloc(size_t size, gfp_t gfp)
{
	return lab_kernel_alloc(size, LAB_SIZE_MAX, gfp);
}
#endif

#ifndef kvzalloc
LAB_KERNEL_CALL void *
kvzalloc(size_t size, gfp_t gfp)
{
	return lab_kernel_alloc(size, LAB_SIZE_MAX, gfp | __GFP_ZERO);
}
#endif

#ifndef kvmalloc_array
LAB_KERNEL_CALL void *
kvmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	return lab_kernel_alloc_array(n, size, LAB_SIZE_MAX, gfp);
}
#endif

#ifndef kvcalloc
LAB_KERNEL_CALL void *
kvcalloc(size_t n, size_t size, gfp_t gfp)
{
	return lab_kernel_alloc_array(n, size, LAB_SIZE_MAX, gfp | __GFP_ZERO);
}
#endif

#ifndef kvrealloc
LAB_KERNEL_CALL void *
kvrealloc(const void *p, size_t size, gfp_t gfp)
{
	return lab_kernel_realloc(p, size, 1, LAB_SIZE_MAX, gfp);
}
#endif

#ifndef kvrealloc_node_align
#define kvrealloc_node_align(p, size, align, gfp, node)                                                                \
	((void)(node), lab_kernel_realloc((p), (size), (align), LAB_SIZE_MAX, (gfp)))
#endif

#ifndef kvfree
static inline void
kvfree(const void *p)
{
	lab_kernel_free(p);
}
#endif

#ifndef kvfree_sensitive
#define kvfree_sensitive(p, size) ((void)(size), lab_kernel_free_sensitive(p))
#endif
#ifndef kvfree_atomic
#define kvfree_atomic(p) lab_kernel_free(p)
#endif
#ifndef kvmalloc_node
#define kvmalloc_node(size, gfp, node) ((void)(node), lab_kernel_alloc((size), LAB_SIZE_MAX, (gfp)))
#endif
#ifndef kvzalloc_node
#define kvzalloc_node(size, gfp, node) ((void)(node), lab_kernel_alloc((size), LAB_SIZE_MAX, (gfp) | __GFP_ZERO))
#endif
#ifndef kvcalloc_node
#define kvcalloc_node(n, size, gfp, node)                                                                              \
	((void)(node), lab_kernel_alloc_array((n), (size), LAB_SIZE_MAX, (gfp) | __GFP_ZERO))
#endif
#ifndef kvmalloc_array_node
#define kvmalloc_array_node(n, size, gfp, node) ((void)(node), lab_kernel_alloc_array((n), (size), LAB_SIZE_MAX, (gfp)))
#endif

/* ---- copies ------------------------------------------------------------------------------------------------------ */

#ifndef kmemdup
LAB_KERNEL_CALL void *
kmemdup(const void *source, size_t size, gfp_t gfp)
{
	return lab_kernel_copy(source, size, LAB_KERNEL_MAX, gfp);
}
#endif

#ifndef kmemdup_array
LAB_KERNEL_CALL void *
kmemdup_array(const void *source, size_t n, size_t size, gfp_t gfp)
{
	return lab_kernel_copy(source, lab_size_mul(n, size), LAB_KERNEL_MAX, gfp);
}
#endif

#ifndef kvmemdup
LAB_KERNEL_CALL void *
kvmemdup(const void *source, size_t size, gfp_t gfp)
{
	return lab_kernel_copy(source, size, LAB_SIZE_MAX, gfp);
}
#endif

/* `size` bytes, and a NUL. */
#ifndef kmemdup_nul
LAB_KERNEL_CALL char *
kmemdup_nul(const char *source, size_t size, gfp_t gfp)
{
	return lab_kernel_copy_text(source, size, gfp);
}
#endif

/* NULL for NULL. */
#ifndef kstrdup
LAB_KERNEL_CALL char *
kstrdup(const char *source, gfp_t gfp)
{
	return lab_kernel_copy_text(source, source ? strlen(source) : 0, gfp);
}
#endif

#ifndef kstrdup_const
#define kstrdup_const(source, gfp) ((const char *)kstrdup((source), (gfp)))
#endif

#ifndef kstrndup
LAB_KERNEL_CALL char *
kstrndup(const char *source, size_t most, gfp_t gfp)
{
	size_t length = 0; /* strnlen is not in C11 */

	while (source && length < most && source[length])
		length++;
	return lab_kernel_copy_text(source, length, gfp);
}
#endif

/* Formats as libc's vsnprintf does: %p has no suffixes. */
static inline __attribute__((__format__(__printf__, 2, 0))) char *
lab_kernel_format(gfp_t gfp, const char *format, va_list arguments)
{
	va_list again;

	va_copy(again, arguments);
	int length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	char *text = length < 0 ? NULL : (char *)lab_kernel_alloc((size_t)length + 1, LAB_KERNEL_MAX, gfp);
	if (text)
		(void)vsnprintf(text, (size_t)length + 1, format, arguments);
	return text;
}

#ifndef kvasprintf
#define kvasprintf(gfp, format, arguments) lab_kernel_format((gfp), (format), (arguments))
#endif

#ifndef kasprintf
static inline __attribute__((__format__(__printf__, 2, 3))) char *
kasprintf(gfp_t gfp, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *text = lab_kernel_format(gfp, format, arguments);
	va_end(arguments);
	return text;
}
#endif

#endif
