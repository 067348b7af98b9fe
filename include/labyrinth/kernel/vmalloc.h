/* vmalloc.h - whole pages of any number. They are contiguous as all memory is here, and nothing is mapped twice. */
#ifndef LABYRINTH_KERNEL_VMALLOC_H
#define LABYRINTH_KERNEL_VMALLOC_H

#include <labyrinth/kernel/block.h>

LAB_KERNEL_CALL void *
lab_kernel_vmalloc(size_t size, gfp_t gfp)
{
	unsigned lab = lab_gfp(gfp);

	return size == 0 || LAB_KERNEL_FAULT(size, lab) ? NULL : lab_alloc_pages_exact(size, lab);
}

/* NULL for size 0, as in the kernel. */
#ifndef vmalloc
LAB_KERNEL_CALL void *
vmalloc(unsigned long size)
{
	return lab_kernel_vmalloc(size, GFP_KERNEL);
}
#endif

#ifndef vzalloc
LAB_KERNEL_CALL void *
vzalloc(unsigned long size)
{
	return lab_kernel_vmalloc(size, GFP_KERNEL | __GFP_ZERO);
}
#endif

#ifndef vfree
static inline void
vfree(const void *p)
{
	lab_kernel_free(p);
}
#endif

#ifndef vfree_atomic
#define vfree_atomic(p) lab_kernel_free(p)
#endif
#ifndef __vmalloc
#define __vmalloc(size, gfp) lab_kernel_vmalloc((size), (gfp))
#endif
#ifndef vmalloc_node
#define vmalloc_node(size, node) ((void)(node), lab_kernel_vmalloc((size), GFP_KERNEL))
#endif
#ifndef vzalloc_node
#define vzalloc_node(size, node) ((void)(node), lab_kernel_vmalloc((size), GFP_KERNEL | __GFP_ZERO))
#endif
#ifndef vmalloc_user
#define vmalloc_user(size) lab_kernel_vmalloc((size), GFP_KERNEL | __GFP_ZERO)
#endif
#ifndef vmalloc_32
#define vmalloc_32(size) lab_kernel_vmalloc((size), GFP_KERNEL)
#endif
#ifndef vmalloc_huge
#define vmalloc_huge(size, gfp) lab_kernel_vmalloc((size), (gfp))
#endif
#ifndef vmalloc_array
#define vmalloc_array(n, size) lab_kernel_vmalloc(lab_size_mul((n), (size)), GFP_KERNEL)
#endif
#ifndef vcalloc
#define vcalloc(n, size) lab_kernel_vmalloc(lab_size_mul((n), (size)), GFP_KERNEL | __GFP_ZERO)
#endif
#ifndef __vmalloc_array
#define __vmalloc_array(n, size, gfp) lab_kernel_vmalloc(lab_size_mul((n), (size)), (gfp))
#endif
#ifndef __vcalloc
#define __vcalloc(n, size, gfp) lab_kernel_vmalloc(lab_size_mul((n), (size)), (gfp) | __GFP_ZERO)
#endif

LAB_KERNEL_CALL void *
lab_kernel_vrealloc(const void *p, size_t size, size_t align, gfp_t gfp)
{
	if (size == 0) {
		lab_kernel_free(p);
		return NULL;
	}
	if (LAB_KERNEL_FAULT(size, lab_gfp(gfp)))
		return NULL;
	return lab_realloc_aligned((void *)(uintptr_t)p, align > 4096 ? align : 4096, size, lab_gfp(gfp));
}

/* Size 0 frees p and gives NULL. */
#ifndef vrealloc
LAB_KERNEL_CALL void *
vrealloc(const void *p, size_t size, gfp_t gfp)
{
	return lab_kernel_vrealloc(p, size, 4096, gfp);
}
#endif

#ifndef vrealloc_node_align
LAB_KERNEL_CALL void *
vrealloc_node_align(const void *p, size_t size, unsigned long align, gfp_t gfp, int node)
{
	(void)node;
	return lab_kernel_vrealloc(p, size, align, gfp);
}
#endif

/* Never: what vfree and kfree free is the same. */
#ifndef is_vmalloc_addr
#define is_vmalloc_addr(p) ((void)(p), false)
#endif

#endif
