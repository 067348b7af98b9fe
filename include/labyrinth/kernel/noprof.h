/* noprof.h - the names that the kernel's allocations have below its profiling of them. */
#ifndef LABYRINTH_KERNEL_NOPROF_H
#define LABYRINTH_KERNEL_NOPROF_H

#include <labyrinth/kernel/mempool.h>
#include <labyrinth/kernel/vmalloc.h>

#ifndef alloc_hooks
#define alloc_hooks(call) (call)
#endif
#ifndef kmalloc_noprof
#define kmalloc_noprof(...) kmalloc(__VA_ARGS__)
#endif
#ifndef __kmalloc_noprof
#define __kmalloc_noprof(...) kmalloc(__VA_ARGS__)
#endif
#ifndef kzalloc_noprof
#define kzalloc_noprof(...) kzalloc(__VA_ARGS__)
#endif
#ifndef kcalloc_noprof
#define kcalloc_noprof(...) kcalloc(__VA_ARGS__)
#endif
#ifndef kmalloc_array_noprof
#define kmalloc_array_noprof(...) kmalloc_array(__VA_ARGS__)
#endif
#ifndef kmalloc_node_noprof
#define kmalloc_node_noprof(...) kmalloc_node(__VA_ARGS__)
#endif
#ifndef __kmalloc_node_noprof
#define __kmalloc_node_noprof(...) kmalloc_node(__VA_ARGS__)
#endif
#ifndef kzalloc_node_noprof
#define kzalloc_node_noprof(...) kzalloc_node(__VA_ARGS__)
#endif
#ifndef kmalloc_array_node_noprof
#define kmalloc_array_node_noprof(...) kmalloc_array_node(__VA_ARGS__)
#endif
#ifndef kcalloc_node_noprof
#define kcalloc_node_noprof(...) kcalloc_node(__VA_ARGS__)
#endif
#ifndef kmalloc_track_caller_noprof
#define kmalloc_track_caller_noprof(...) kmalloc_track_caller(__VA_ARGS__)
#endif
#ifndef kmalloc_node_track_caller_noprof
#define kmalloc_node_track_caller_noprof(...) kmalloc_node_track_caller(__VA_ARGS__)
#endif
#ifndef krealloc_noprof
#define krealloc_noprof(...) krealloc(__VA_ARGS__)
#endif
#ifndef krealloc_array_noprof
#define krealloc_array_noprof(...) krealloc_array(__VA_ARGS__)
#endif
#ifndef krealloc_node_align_noprof
#define krealloc_node_align_noprof(...) krealloc_node_align(__VA_ARGS__)
#endif
#ifndef krealloc_node_noprof
#define krealloc_node_noprof(...) krealloc_node(__VA_ARGS__)
#endif
#ifndef kvmalloc_noprof
#define kvmalloc_noprof(...) kvmalloc(__VA_ARGS__)
#endif
#ifndef kvzalloc_noprof
#define kvzalloc_noprof(...) kvzalloc(__VA_ARGS__)
#endif
#ifndef kvmalloc_array_noprof
#define kvmalloc_array_noprof(...) kvmalloc_array(__VA_ARGS__)
#endif
#ifndef kvcalloc_noprof
#define kvcalloc_noprof(...) kvcalloc(__VA_ARGS__)
#endif
#ifndef kvmalloc_node_noprof
#define kvmalloc_node_noprof(...) kvmalloc_node(__VA_ARGS__)
#endif
#ifndef kvzalloc_node_noprof
#define kvzalloc_node_noprof(...) kvzalloc_node(__VA_ARGS__)
#endif
#ifndef kvcalloc_node_noprof
#define kvcalloc_node_noprof(...) kvcalloc_node(__VA_ARGS__)
#endif
#ifndef kvmalloc_array_node_noprof
#define kvmalloc_array_node_noprof(...) kvmalloc_array_node(__VA_ARGS__)
#endif
#ifndef kvrealloc_noprof
#define kvrealloc_noprof(...) kvrealloc(__VA_ARGS__)
#endif
#ifndef kvrealloc_node_align_noprof
#define kvrealloc_node_align_noprof(...) kvrealloc_node_align(__VA_ARGS__)
#endif
#ifndef kmemdup_noprof
#define kmemdup_noprof(...) kmemdup(__VA_ARGS__)
#endif
#ifndef kvmemdup_noprof
#define kvmemdup_noprof(...) kvmemdup(__VA_ARGS__)
#endif
#ifndef kmemdup_array_noprof
#define kmemdup_array_noprof(...) kmemdup_array(__VA_ARGS__)
#endif
#ifndef vmalloc_noprof
#define vmalloc_noprof(...) vmalloc(__VA_ARGS__)
#endif
#ifndef vzalloc_noprof
#define vzalloc_noprof(...) vzalloc(__VA_ARGS__)
#endif
#ifndef vmalloc_node_noprof
#define vmalloc_node_noprof(...) vmalloc_node(__VA_ARGS__)
#endif
#ifndef vzalloc_node_noprof
#define vzalloc_node_noprof(...) vzalloc_node(__VA_ARGS__)
#endif
#ifndef vmalloc_user_noprof
#define vmalloc_user_noprof(...) vmalloc_user(__VA_ARGS__)
#endif
#ifndef vmalloc_32_noprof
#define vmalloc_32_noprof(...) vmalloc_32(__VA_ARGS__)
#endif
#ifndef vmalloc_huge_noprof
#define vmalloc_huge_noprof(...) vmalloc_huge(__VA_ARGS__)
#endif
#ifndef vmalloc_array_noprof
#define vmalloc_array_noprof(...) vmalloc_array(__VA_ARGS__)
#endif
#ifndef vcalloc_noprof
#define vcalloc_noprof(...) vcalloc(__VA_ARGS__)
#endif
#ifndef __vmalloc_noprof
#define __vmalloc_noprof(...) __vmalloc(__VA_ARGS__)
#endif
#ifndef __vmalloc_array_noprof
#define __vmalloc_array_noprof(...) __vmalloc_array(__VA_ARGS__)
#endif
#ifndef __vcalloc_noprof
#define __vcalloc_noprof(...) __vcalloc(__VA_ARGS__)
#endif
#ifndef vrealloc_noprof
#define vrealloc_noprof(...) vrealloc(__VA_ARGS__)
#endif
#ifndef vrealloc_node_align_noprof
#define vrealloc_node_align_noprof(...) vrealloc_node_align(__VA_ARGS__)
#endif
#ifndef kmem_cache_alloc_noprof
#define kmem_cache_alloc_noprof(...) kmem_cache_alloc(__VA_ARGS__)
#endif
#ifndef kmem_cache_alloc_node_noprof
#define kmem_cache_alloc_node_noprof(...) kmem_cache_alloc_node(__VA_ARGS__)
#endif
#ifndef kmem_cache_alloc_lru_noprof
#define kmem_cache_alloc_lru_noprof(...) kmem_cache_alloc_lru(__VA_ARGS__)
#endif
#ifndef kmem_cache_alloc_bulk_noprof
#define kmem_cache_alloc_bulk_noprof(...) kmem_cache_alloc_bulk(__VA_ARGS__)
#endif
#ifndef kmalloc_nolock_noprof
#define kmalloc_nolock_noprof(...) kmalloc_nolock(__VA_ARGS__)
#endif
#ifndef mempool_alloc_noprof
#define mempool_alloc_noprof(...) mempool_alloc(__VA_ARGS__)
#endif
#ifndef mempool_create_node_noprof
#define mempool_create_node_noprof(...) mempool_create_node(__VA_ARGS__)
#endif
#ifndef mempool_init_noprof
#define mempool_init_noprof(...) mempool_init(__VA_ARGS__)
#endif
#ifndef mempool_init_node_noprof
#define mempool_init_node_noprof(...) mempool_init_node(__VA_ARGS__)
#endif
#ifndef alloc_pages_noprof
#define alloc_pages_noprof(...) alloc_pages(__VA_ARGS__)
#endif
#ifndef __alloc_pages_noprof
#define __alloc_pages_noprof(gfp, order, node, nodes) ((void)(node), (void)(nodes), alloc_pages((gfp), (order)))
#endif
#ifndef alloc_pages_node_noprof
#define alloc_pages_node_noprof(...) alloc_pages_node(__VA_ARGS__)
#endif
#ifndef __alloc_pages_node_noprof
#define __alloc_pages_node_noprof(...) __alloc_pages_node(__VA_ARGS__)
#endif
#ifndef get_zeroed_page_noprof
#define get_zeroed_page_noprof(...) get_zeroed_page(__VA_ARGS__)
#endif
#ifndef alloc_pages_exact_noprof
#define alloc_pages_exact_noprof(...) alloc_pages_exact(__VA_ARGS__)
#endif
#ifndef alloc_pages_bulk_noprof
#define alloc_pages_bulk_noprof(...) alloc_pages_bulk(__VA_ARGS__)
#endif
#ifndef folio_alloc_noprof
#define folio_alloc_noprof(...) folio_alloc(__VA_ARGS__)
#endif
#ifndef __folio_alloc_noprof
#define __folio_alloc_noprof(gfp, order, node, nodes) ((void)(node), (void)(nodes), folio_alloc((gfp), (order)))
#endif
#ifndef get_free_pages_noprof
#define get_free_pages_noprof(gfp, order) __get_free_pages((gfp), (order))
#endif

#endif
