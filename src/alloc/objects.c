/* objects.c - what the layer above answers for: see objects.h. Any context. */
#include "alloc/objects.h"
#include "base/check.h"

_Atomic(const struct lab_objects *) lab_objects;

static size_t
visit(void *p, const char *call)
{
	const struct lab_objects *objects = lab_load_acq(&lab_objects); /* pairs with the rel of who sets it */

	return objects ? objects->visit(p, call) : 0;
}

void
lab_release_object(void *p, const char *call, const char *why)
{
	if (visit(p, call) == 0)
		lab_report_misuse(call, p, why);
}

size_t
lab_object_size(const void *p)
{
	return visit((void *)(uintptr_t)p, NULL);
}
