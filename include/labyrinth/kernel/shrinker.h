/* shrinker.h - who holds memory that can be done without is asked for it at the limit (LABYRINTH_LIMIT). */
#ifndef LABYRINTH_KERNEL_SHRINKER_H
#define LABYRINTH_KERNEL_SHRINKER_H

#include <labyrinth/kernel/block.h>

#ifndef SHRINK_STOP
#define SHRINK_STOP (~0UL) /* of scan_objects: no more now */
#endif
#ifndef SHRINK_EMPTY
#define SHRINK_EMPTY (~0UL - 1) /* of count_objects: there are none at all */
#endif
#ifndef DEFAULT_SEEKS
#define DEFAULT_SEEKS 2
#endif
#ifndef SHRINKER_NUMA_AWARE
#define SHRINKER_NUMA_AWARE 0x4u
#endif
#ifndef SHRINKER_MEMCG_AWARE
#define SHRINKER_MEMCG_AWARE 0x8u
#endif
#ifndef SHRINKER_NONSLAB
#define SHRINKER_NONSLAB 0x10u
#endif

#ifndef LAB_KERNEL_OWN_SHRINKER
struct mem_cgroup;

struct shrink_control {
	gfp_t gfp_mask; /* without __GFP_FS, __GFP_IO: what the stopped call was without */
	int nid;
	unsigned long nr_to_scan, nr_scanned;
	struct mem_cgroup *memcg;
};

struct shrinker {
	unsigned long (*count_objects)(struct shrinker *shrinker, struct shrink_control *control);
	unsigned long (*scan_objects)(struct shrinker *shrinker, struct shrink_control *control);
	long batch; /* objects at once; 0: 128 */
	int seeks;
	unsigned flags;
	void *private_data;
	size_t (*lab)(unsigned gfp, void *shrinker); /* NULL: not registered */
};
#endif

/* Half of the objects that there are, and a batch at least; the call that is stopped asks again while that helps. */
static inline size_t
lab_kernel_shrink(unsigned lab, void *context)
{
	struct shrinker *shrinker = (struct shrinker *)context;
	struct shrink_control control;
	unsigned long batch = shrinker->batch > 0 ? (unsigned long)shrinker->batch : 128, freed = 0;

	memset(&control, 0, sizeof control);
	control.gfp_mask = lab_gfp_to_kernel(lab);
	unsigned long count = shrinker->count_objects(shrinker, &control);
	if (count == 0 || count >= SHRINK_EMPTY)
		return 0;
	for (unsigned long left = count / 2 > batch ? count / 2 : batch; left > 0;) {
		control.nr_to_scan = control.nr_scanned = left < batch ? left : batch;
		unsigned long result = shrinker->scan_objects(shrinker, &control);
		if (result == SHRINK_STOP)
			break;
		freed += result;
		left -= control.nr_scanned < left ? control.nr_scanned : left;
		if (control.nr_scanned == 0)
			break;
	}
	return freed;
}

#ifndef shrinker_alloc
static inline __attribute__((__format__(__printf__, 2, 3))) struct shrinker *
shrinker_alloc(unsigned int flags, const char *format, ...)
{
	struct shrinker *shrinker = (struct shrinker *)lab_calloc(1, sizeof(struct shrinker));

	(void)format; /* its name in the kernel's debugfs */
	if (shrinker) {
		shrinker->flags = flags;
		shrinker->seeks = DEFAULT_SEEKS;
	}
	return shrinker;
}
#endif

/* Without memory for it nobody asks it, as the kernel's says nothing either. */
#ifndef shrinker_register
static inline void
shrinker_register(struct shrinker *shrinker)
{
	if (lab_shrinker_add(lab_kernel_shrink, shrinker))
		shrinker->lab = lab_kernel_shrink;
}
#endif

/* Waits until nobody is in its functions. */
#ifndef shrinker_free
static inline void
shrinker_free(struct shrinker *shrinker)
{
	if (shrinker && shrinker->lab)
		lab_shrinker_remove(shrinker->lab, shrinker);
	lab_free(shrinker);
}
#endif

#endif
