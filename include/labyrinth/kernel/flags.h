/* flags.h - gfp_t: the kernel's flags in the kernel's bits, and what they are to Labyrinth. */
#ifndef LABYRINTH_KERNEL_FLAGS_H
#define LABYRINTH_KERNEL_FLAGS_H

#include <labyrinth/kernel/support.h>

/* By this the library knows that the program is written in the kernel's style. */
#ifdef __cplusplus
extern "C" {
#endif
extern const char lab_gfp_is_used __attribute__((weak, visibility("default")));
const char lab_gfp_is_used = 1;
#ifdef __cplusplus
}
#endif

#ifndef gfp_t
typedef unsigned int gfp_t;
#endif

#ifndef __GFP_DMA
#define __GFP_DMA ((gfp_t)0x01u) /* zones: accepted, since all memory is alike here */
#endif
#ifndef __GFP_HIGHMEM
#define __GFP_HIGHMEM ((gfp_t)0x02u)
#endif
#ifndef __GFP_DMA32
#define __GFP_DMA32 ((gfp_t)0x04u)
#endif
#ifndef __GFP_MOVABLE
#define __GFP_MOVABLE ((gfp_t)0x08u)
#endif
#ifndef __GFP_RECLAIMABLE
#define __GFP_RECLAIMABLE ((gfp_t)0x10u)
#endif
#ifndef __GFP_HIGH
#define __GFP_HIGH ((gfp_t)0x20u)
#endif
#ifndef __GFP_IO
#define __GFP_IO ((gfp_t)0x40u)
#endif
#ifndef __GFP_FS
#define __GFP_FS ((gfp_t)0x80u)
#endif
#ifndef __GFP_ZERO
#define __GFP_ZERO ((gfp_t)0x100u)
#endif
/* A bit that the kernel does not use: what mempool_alloc tries first may map memory, but neither reclaims nor waits. */
#define LAB_KERNEL_MAY_MAP ((gfp_t)0x200u)
#ifndef __GFP_DIRECT_RECLAIM
#define __GFP_DIRECT_RECLAIM ((gfp_t)0x400u)
#endif
#ifndef __GFP_KSWAPD_RECLAIM
#define __GFP_KSWAPD_RECLAIM ((gfp_t)0x800u)
#endif
#ifndef __GFP_WRITE
#define __GFP_WRITE ((gfp_t)0x1000u)
#endif
#ifndef __GFP_NOWARN
#define __GFP_NOWARN ((gfp_t)0x2000u)
#endif
#ifndef __GFP_RETRY_MAYFAIL
#define __GFP_RETRY_MAYFAIL ((gfp_t)0x4000u)
#endif
#ifndef __GFP_NOFAIL
#define __GFP_NOFAIL ((gfp_t)0x8000u)
#endif
#ifndef __GFP_NORETRY
#define __GFP_NORETRY ((gfp_t)0x10000u) /* over a limit: one round of reclaim, no waiting */
#endif
#ifndef __GFP_MEMALLOC
#define __GFP_MEMALLOC ((gfp_t)0x20000u)
#endif
#ifndef __GFP_COMP
#define __GFP_COMP ((gfp_t)0x40000u)
#endif
#ifndef __GFP_NOMEMALLOC
#define __GFP_NOMEMALLOC ((gfp_t)0x80000u)
#endif
#ifndef __GFP_HARDWALL
#define __GFP_HARDWALL ((gfp_t)0x100000u)
#endif
#ifndef __GFP_THISNODE
#define __GFP_THISNODE ((gfp_t)0x200000u)
#endif
#ifndef __GFP_ACCOUNT
#define __GFP_ACCOUNT ((gfp_t)0x400000u)
#endif
#ifndef __GFP_ZEROTAGS
#define __GFP_ZEROTAGS ((gfp_t)0x800000u)
#endif
#ifndef __GFP_SKIP_ZERO
#define __GFP_SKIP_ZERO ((gfp_t)0)
#endif
#ifndef __GFP_SKIP_KASAN
#define __GFP_SKIP_KASAN ((gfp_t)0)
#endif
#ifndef __GFP_NOLOCKDEP
#define __GFP_NOLOCKDEP ((gfp_t)0)
#endif
#ifndef __GFP_NO_OBJ_EXT
#define __GFP_NO_OBJ_EXT ((gfp_t)0)
#endif

/* Bits from here on are a program's own: trees keep their marks there, beside their gfp. */
#ifndef __GFP_BITS_SHIFT
#define __GFP_BITS_SHIFT 24
#endif
#ifndef __GFP_BITS_MASK
#define __GFP_BITS_MASK ((gfp_t)((1u << __GFP_BITS_SHIFT) - 1))
#endif
#ifndef GFP_ZONEMASK
#define GFP_ZONEMASK (__GFP_DMA | __GFP_HIGHMEM | __GFP_DMA32 | __GFP_MOVABLE)
#endif

#ifndef __GFP_RECLAIM
#define __GFP_RECLAIM (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)
#endif
#ifndef GFP_ATOMIC
#define GFP_ATOMIC (__GFP_HIGH | __GFP_KSWAPD_RECLAIM)
#endif
#ifndef GFP_KERNEL
#define GFP_KERNEL (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#endif
#ifndef GFP_KERNEL_ACCOUNT
#define GFP_KERNEL_ACCOUNT (GFP_KERNEL | __GFP_ACCOUNT)
#endif
#ifndef GFP_NOWAIT
#define GFP_NOWAIT (__GFP_KSWAPD_RECLAIM | __GFP_NOWARN)
#endif
#ifndef GFP_NOIO
#define GFP_NOIO __GFP_RECLAIM
#endif
#ifndef GFP_NOFS
#define GFP_NOFS (__GFP_RECLAIM | __GFP_IO)
#endif
#ifndef GFP_USER
#define GFP_USER (__GFP_RECLAIM | __GFP_IO | __GFP_FS | __GFP_HARDWALL)
#endif
#ifndef GFP_DMA
#define GFP_DMA __GFP_DMA
#endif
#ifndef GFP_DMA32
#define GFP_DMA32 __GFP_DMA32
#endif
#ifndef GFP_HIGHUSER
#define GFP_HIGHUSER (GFP_USER | __GFP_HIGHMEM)
#endif
#ifndef GFP_HIGHUSER_MOVABLE
#define GFP_HIGHUSER_MOVABLE (GFP_HIGHUSER | __GFP_MOVABLE)
#endif
#ifndef GFP_TRANSHUGE_LIGHT
#define GFP_TRANSHUGE_LIGHT ((GFP_HIGHUSER_MOVABLE | __GFP_COMP | __GFP_NOMEMALLOC | __GFP_NOWARN) & ~__GFP_RECLAIM)
#endif
#ifndef GFP_TRANSHUGE
#define GFP_TRANSHUGE (GFP_TRANSHUGE_LIGHT | __GFP_DIRECT_RECLAIM)
#endif

#ifndef gfpflags_allow_blocking
static inline bool
gfpflags_allow_blocking(gfp_t gfp)
{
	return (gfp & __GFP_DIRECT_RECLAIM) != 0;
}
#endif

#ifndef gfpflags_allow_spinning
static inline bool
gfpflags_allow_spinning(gfp_t gfp)
{
	return (gfp & __GFP_RECLAIM) != 0;
}
#endif

#ifndef gfpflags_normal_context
static inline bool
gfpflags_normal_context(gfp_t gfp)
{
	return (gfp & (__GFP_DIRECT_RECLAIM | __GFP_MEMALLOC)) == __GFP_DIRECT_RECLAIM;
}
#endif

#ifndef gfp_has_io_fs
static inline bool
gfp_has_io_fs(gfp_t gfp)
{
	return (gfp & (__GFP_IO | __GFP_FS)) == (__GFP_IO | __GFP_FS);
}
#endif

/* What a call with these flags is to Labyrinth. Of flags that are constant all of this is done by the compiler. */
static inline unsigned
lab_gfp(gfp_t gfp)
{
	unsigned lab = LAB_GFP_NOWAIT;

	if (gfp == GFP_KERNEL) /* most often, where they are not constant */
		return LAB_GFP_KERNEL;
	if (gfp & __GFP_DIRECT_RECLAIM)
		lab = (gfp & __GFP_IO ? gfp & __GFP_FS ? 0 : LAB_GFP_NOFS : LAB_GFP_NOIO) |
		      (gfp & __GFP_NORETRY ? LAB_GFP_NORETRY : 0) | (gfp & __GFP_NOFAIL ? LAB_GFP_NOFAIL : 0);
	else if (gfp & LAB_KERNEL_MAY_MAP)
		lab = LAB_GFP_NORECLAIM;
	else if (gfp & (__GFP_HIGH | __GFP_MEMALLOC))
		lab = LAB_GFP_ATOMIC | (gfp & __GFP_NOWARN ? LAB_GFP_NOWARN : 0); /* only these are told */
	return lab | (gfp & __GFP_HIGH ? LAB_GFP_HIGH : 0) |
	       ((gfp & __GFP_MEMALLOC) && !(gfp & __GFP_NOMEMALLOC) ? LAB_GFP_MEMALLOC : 0) |
	       (gfp & __GFP_ZERO ? LAB_GFP_ZERO : 0);
}

/* The other way: for callbacks that know the kernel's. */
static inline gfp_t
lab_gfp_to_kernel(unsigned lab)
{
	gfp_t gfp = 0;

	if ((lab & 3u) == (LAB_GFP_ATOMIC & 3u))
		gfp = GFP_ATOMIC;
	else if ((lab & 3u) == LAB_GFP_NOWAIT)
		gfp = __GFP_KSWAPD_RECLAIM;
	else if ((lab & LAB_GFP_NORECLAIM) == LAB_GFP_NORECLAIM)
		gfp = __GFP_KSWAPD_RECLAIM | (lab & LAB_GFP_NOFS ? 0 : __GFP_FS) | __GFP_NOMEMALLOC | __GFP_NORETRY |
		      LAB_KERNEL_MAY_MAP;
	else
		gfp = __GFP_RECLAIM | ((lab & LAB_GFP_NOIO) == LAB_GFP_NOIO ? 0 : __GFP_IO) |
		      (lab & LAB_GFP_NOFS ? 0 : __GFP_FS) | (lab & LAB_GFP_NORETRY ? __GFP_NORETRY : 0) |
		      (lab & LAB_GFP_NOFAIL ? __GFP_NOFAIL : 0);
	return gfp | (lab & LAB_GFP_HIGH ? __GFP_HIGH : 0) | (lab & LAB_GFP_MEMALLOC ? __GFP_MEMALLOC : 0) |
	       (lab & LAB_GFP_ZERO ? __GFP_ZERO : 0) | (lab & LAB_GFP_NOWARN ? __GFP_NOWARN : 0);
}

/* Whether a call is to fail on purpose: only programs that are compiled with CONFIG_FAILSLAB, or
 * CONFIG_FAIL_PAGE_ALLOC, ask. LAB_KERNEL_CALL is for functions that do: they are put into their callers, so that the
 * place of the call is the program's. */
#if defined(CONFIG_FAILSLAB) || defined(CONFIG_FAIL_PAGE_ALLOC)
#define LAB_KERNEL_CALL             static inline __attribute__((__always_inline__))
#define LAB_KERNEL_FAULT(size, lab) __builtin_expect(lab_fault((size), (lab)), 0)
#else
#define LAB_KERNEL_CALL             static inline
#define LAB_KERNEL_FAULT(size, lab) ((void)(size), (void)(lab), false)
#endif

#endif
