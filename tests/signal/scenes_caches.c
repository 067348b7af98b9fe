/* scenes_caches.c - typed caches, whose memory a trim of everything takes back, or the limit: see scenes_kinds.h. */
#include <dlfcn.h>
#include <malloc.h>
#include <string.h>

#include "calls.h"
#include "scenes_kinds.h"

enum { OBJECTS = 400, KINDS = 3 };

static struct {
	struct lab_cache *(*create)(const char *name, size_t size, size_t align, void (*construct)(void *object));
	void *(*alloc)(struct lab_cache *cache, unsigned gfp);
	void (*release)(struct lab_cache *cache, void *object);
	bool (*destroy)(struct lab_cache *cache);
} functions;

static const unsigned kinds[KINDS] = {LAB_GFP_KERNEL, LAB_GFP_NOWAIT, LAB_GFP_ATOMIC | LAB_GFP_NOWARN};

static void
construct(void *object)
{
	memset(object, 0x77, 300);
}

static void
use(struct lab_cache *cache)
{
	static unsigned char *objects[OBJECTS];

	for (int i = 0; i < OBJECTS; i++) {
		objects[i] = functions.alloc(cache, kinds[i % KINDS]);
		if (objects[i])
			REQUIRE(objects[i][299] == 0x77);
	}
	for (int i = 0; i < OBJECTS; i++)
		if (objects[i])
			functions.release(cache, objects[i]);
}

static void
use_caches(void (*between)(void))
{
	*(void **)&functions.create = dlsym(RTLD_DEFAULT, "lab_cache_create");
	*(void **)&functions.alloc = dlsym(RTLD_DEFAULT, "lab_cache_alloc");
	*(void **)&functions.release = dlsym(RTLD_DEFAULT, "lab_cache_free");
	*(void **)&functions.destroy = dlsym(RTLD_DEFAULT, "lab_cache_destroy");
	struct lab_cache *one = functions.create("scenes", 300, 16, construct),
	                 *other = functions.create("more scenes", 300, 64, construct);
	REQUIRE(one && other);
	for (int round = 0; round < 2; round++) {
		use(one);
		use(other);
		between();
	}
	REQUIRE(functions.destroy(one) && functions.destroy(other));
}

static void
trim(void)
{
	(void)malloc_trim(0);
}

void
scene_caches(void)
{
	use_caches(trim);
}

void
scene_limit_caches(void)
{
	use_caches(scene_limit_reached);
}
