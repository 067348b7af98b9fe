/* mm.h - scopes in which a thread's allocations do not do all that their flags say: memalloc_noio_save … */
#ifndef LABYRINTH_KERNEL_MM_H
#define LABYRINTH_KERNEL_MM_H

#include <labyrinth/kernel/flags.h>

/* What save returns is restore's. */
#ifndef memalloc_noio_save
#define memalloc_noio_save() lab_scope_enter(LAB_GFP_NOIO)
#endif
#ifndef memalloc_noio_restore
#define memalloc_noio_restore(saved) lab_scope_leave(saved)
#endif
#ifndef memalloc_nofs_save
#define memalloc_nofs_save() lab_scope_enter(LAB_GFP_NOFS)
#endif
#ifndef memalloc_nofs_restore
#define memalloc_nofs_restore(saved) lab_scope_leave(saved)
#endif
/* PF_MEMALLOC: no reclaim, and down to the reserve's last slot. */
#ifndef memalloc_noreclaim_save
#define memalloc_noreclaim_save() lab_scope_enter(LAB_GFP_NORECLAIM | LAB_GFP_MEMALLOC)
#endif
#ifndef memalloc_noreclaim_restore
#define memalloc_noreclaim_restore(saved) lab_scope_leave(saved)
#endif
#ifndef PF_MEMALLOC
#define PF_MEMALLOC 0x00000800u
#endif
#ifndef PF_MEMALLOC_NOFS
#define PF_MEMALLOC_NOFS 0x00040000u
#endif
#ifndef PF_MEMALLOC_NOIO
#define PF_MEMALLOC_NOIO 0x00080000u
#endif
/* Of the task's flags those three. What save returns is for restore alone. */
#ifndef memalloc_flags_save
static inline unsigned
memalloc_flags_save(unsigned flags)
{
	return lab_scope_enter((flags & PF_MEMALLOC ? LAB_GFP_NORECLAIM | LAB_GFP_MEMALLOC : 0) |
	                       (flags & PF_MEMALLOC_NOFS ? LAB_GFP_NOFS : 0) |
	                       (flags & PF_MEMALLOC_NOIO ? LAB_GFP_NOIO : 0));
}
#endif
#ifndef memalloc_flags_restore
#define memalloc_flags_restore(saved) lab_scope_leave(saved)
#endif
/* Pages are never moved. */
#ifndef memalloc_pin_save
#define memalloc_pin_save() 0u
#endif
#ifndef memalloc_pin_restore
#define memalloc_pin_restore(saved) ((void)(saved))
#endif

#ifndef current_gfp_context
static inline gfp_t
current_gfp_context(gfp_t gfp)
{
	unsigned scope = lab_scope();

	if ((scope & LAB_GFP_NOIO) == LAB_GFP_NOIO)
		return gfp & ~(__GFP_IO | __GFP_FS);
	return scope & LAB_GFP_NOFS ? gfp & ~__GFP_FS : gfp;
}
#endif

#ifndef might_alloc
#define might_alloc(gfp) ((void)(gfp))
#endif

#endif
