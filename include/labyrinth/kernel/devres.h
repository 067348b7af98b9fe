/*
 * devres.h - what belongs to a device and goes with it: devm_kmalloc and its family. A list to which entries are pushed
 * by compare-and-swap, and which devres_release_all takes as a whole: any context but for that. An entry whose block
 * was freed before serves for the next block.
 */
#ifndef LABYRINTH_KERNEL_DEVRES_H
#define LABYRINTH_KERNEL_DEVRES_H

#include <labyrinth/kernel/block.h>

struct lab_devres {
	struct lab_devres *next;
	void (*action)(void *data); /* NULL: data is a block */
	void *data;                 /* NULL of a block: the entry is unused */
};

/* A program with a struct device of its own says where in it the list is: a struct lab_devres *, NULL at first. */
#ifndef lab_devres_of
struct device {
	struct lab_devres *devres;
	const char *init_name;
	void *driver_data;
	struct device *parent;
};
#define lab_devres_of(device) (&(device)->devres)
#endif

/* ---- what the names stand for ------------------------------------------------------------------------------------ */

static inline bool
lab_devres_swap(struct lab_devres *entry, void *from, void *to)
{
	/* pairs with itself, and with the store of devm_krealloc */
	return __atomic_compare_exchange_n(&entry->data, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline struct lab_devres *
lab_devres_find(struct lab_devres **list, void (*action)(void *data), void *data)
{
	struct lab_devres *entry = __atomic_load_n(list, __ATOMIC_ACQUIRE); /* pairs with the CAS of lab_devres_add */

	while (entry && (entry->action != action || __atomic_load_n(&entry->data, __ATOMIC_RELAXED) != data))
		entry = entry->next;
	return entry;
}

static inline bool
lab_devres_add(struct lab_devres **list, void (*action)(void *data), void *data, gfp_t gfp)
{
	struct lab_devres *entry = action ? NULL : lab_devres_find(list, NULL, NULL);

	if (entry && lab_devres_swap(entry, NULL, data))
		return true; /* an older entry: the block is released after what was made with its help */
	entry = (struct lab_devres *)lab_kernel_alloc(sizeof *entry, LAB_KERNEL_MAX, gfp & ~__GFP_ZERO);
	if (!entry)
		return false;
	entry->action = action;
	entry->data = data;
	entry->next = __atomic_load_n(list, __ATOMIC_RELAXED);
	/* pairs with the acquire of lab_devres_find and lab_devres_release: the entry is whole */
	while (!__atomic_compare_exchange_n(list, &entry->next, entry, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return true;
}

/* p, which may be NULL, is the list's from here on, or is freed. */
LAB_KERNEL_CALL void *
lab_devres_keep(struct lab_devres **list, void *p, gfp_t gfp)
{
	if (ZERO_OR_NULL_PTR(p) || lab_devres_add(list, NULL, p, gfp))
		return p;
	lab_kernel_free(p);
	return NULL;
}

static inline void
lab_devres_release(struct lab_devres **list)
{
	/* pairs with the CAS of lab_devres_add */
	struct lab_devres *entry = __atomic_exchange_n(list, (struct lab_devres *)NULL, __ATOMIC_ACQ_REL), *next;

	for (; entry; entry = next) {
		next = entry->next;
		if (entry->action)
			entry->action(entry->data);
		else
			lab_kernel_free(entry->data);
		lab_free(entry);
	}
}

static inline void
lab_devres_forget(void *data)
{
	(void)data;
}

/* ---- devm_ ------------------------------------------------------------------------------------------------------- */

/* Frees what the device has, the newest first. */
#ifndef devres_release_all
static inline int
devres_release_all(struct device *device)
{
	lab_devres_release(lab_devres_of(device));
	return 0;
}
#endif

#ifndef devm_kmalloc
LAB_KERNEL_CALL void *
devm_kmalloc(struct device *device, size_t size, gfp_t gfp)
{
	return lab_devres_keep(lab_devres_of(device), lab_kernel_alloc(size, LAB_KERNEL_MAX, gfp), gfp);
}
#endif

#ifndef devm_kzalloc
LAB_KERNEL_CALL void *
devm_kzalloc(struct device *device, size_t size, gfp_t gfp)
{
	gfp |= __GFP_ZERO;
	return lab_devres_keep(lab_devres_of(device), lab_kernel_alloc(size, LAB_KERNEL_MAX, gfp), gfp);
}
#endif

#ifndef devm_kmalloc_array
LAB_KERNEL_CALL void *
devm_kmalloc_array(struct device *device, size_t n, size_t size, gfp_t gfp)
{
	return lab_devres_keep(lab_devres_of(device), lab_kernel_alloc_array(n, size, LAB_KERNEL_MAX, gfp), gfp);
}
#endif

#ifndef devm_kcalloc
#define devm_kcalloc(device, n, size, gfp) devm_kmalloc_array((device), (n), (size), (gfp) | __GFP_ZERO)
#endif

#ifndef devm_kmemdup
LAB_KERNEL_CALL void *
devm_kmemdup(struct device *device, const void *source, size_t size, gfp_t gfp)
{
	return lab_devres_keep(lab_devres_of(device), lab_kernel_copy(source, size, LAB_KERNEL_MAX, gfp), gfp);
}
#endif

#ifndef devm_kstrdup
LAB_KERNEL_CALL char *
devm_kstrdup(struct device *device, const char *source, gfp_t gfp)
{
	char *copy = lab_kernel_copy_text(source, source ? strlen(source) : 0, gfp);

	return (char *)lab_devres_keep(lab_devres_of(device), copy, gfp);
}
#endif

#ifndef devm_kasprintf
static inline __attribute__((__format__(__printf__, 3, 4))) char *
devm_kasprintf(struct device *device, gfp_t gfp, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *text = lab_kernel_format(gfp, format, arguments);
	va_end(arguments);
	return (char *)lab_devres_keep(lab_devres_of(device), text, gfp);
}
#endif

/* Before the device goes. Nothing for NULL, or for what is not the device's. */
#ifndef devm_kfree
static inline void
devm_kfree(struct device *device, const void *p)
{
	void *data = (void *)(uintptr_t)p;
	struct lab_devres *entry = ZERO_OR_NULL_PTR(p) ? NULL : lab_devres_find(lab_devres_of(device), NULL, data);

	if (entry && lab_devres_swap(entry, data, NULL))
		lab_kernel_free(p);
}
#endif

/* Of a block of the device's, or NULL. */
#ifndef devm_krealloc
LAB_KERNEL_CALL void *
devm_krealloc(struct device *device, void *p, size_t size, gfp_t gfp)
{
	struct lab_devres *entry = ZERO_OR_NULL_PTR(p) ? NULL : lab_devres_find(lab_devres_of(device), NULL, p);

	if (ZERO_OR_NULL_PTR(p))
		return devm_kmalloc(device, size, gfp);
	if (size == 0) {
		devm_kfree(device, p);
		return lab_kernel_nothing();
	}
	/* not under its address meanwhile, which may be another's before this has ended */
	if (!entry || !lab_devres_swap(entry, p, lab_kernel_nothing()))
		return NULL;
	void *moved = lab_kernel_realloc(p, size, 1, LAB_KERNEL_MAX, gfp);
	/* pairs with the acquire of lab_devres_swap, and of lab_devres_release */
	__atomic_store_n(&entry->data, moved ? moved : p, __ATOMIC_RELEASE);
	return moved;
}
#endif

/* action(data) when the device goes. 0 or -ENOMEM. */
#ifndef devm_add_action
static inline int
devm_add_action(struct device *device, void (*action)(void *), void *data)
{
	return lab_devres_add(lab_devres_of(device), action, data, GFP_KERNEL) ? 0 : -ENOMEM;
}
#endif

/* At once where there is no memory to do it later. */
#ifndef devm_add_action_or_reset
static inline int
devm_add_action_or_reset(struct device *device, void (*action)(void *), void *data)
{
	if (lab_devres_add(lab_devres_of(device), action, data, GFP_KERNEL))
		return 0;
	action(data);
	return -ENOMEM;
}
#endif

/* Not at the same time as another of these two. */
#ifndef devm_remove_action
static inline void
devm_remove_action(struct device *device, void (*action)(void *), void *data)
{
	struct lab_devres *entry = lab_devres_find(lab_devres_of(device), action, data);

	if (entry)
		entry->action = lab_devres_forget;
}
#endif

#ifndef devm_release_action
static inline void
devm_release_action(struct device *device, void (*action)(void *), void *data)
{
	struct lab_devres *entry = lab_devres_find(lab_devres_of(device), action, data);

	if (entry) {
		entry->action = lab_devres_forget;
		action(data);
	}
}
#endif

#ifndef dev_set_drvdata
#define dev_set_drvdata(device, data) ((void)((device)->driver_data = (data)))
#endif
#ifndef dev_get_drvdata
#define dev_get_drvdata(device) ((device)->driver_data)
#endif

#endif
