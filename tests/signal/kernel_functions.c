/* kernel_functions.c - see kernel_functions.h. */
#include "kernel_functions.h"

#include <dlfcn.h>

struct kernel kernel;

bool
find_kernel_functions(void)
{
	*(void **)&kernel.alloc_pages = dlsym(RTLD_DEFAULT, "lab_alloc_pages");
	*(void **)&kernel.get = dlsym(RTLD_DEFAULT, "lab_page_get");
	*(void **)&kernel.put = dlsym(RTLD_DEFAULT, "lab_page_put");
	*(void **)&kernel.put_order = dlsym(RTLD_DEFAULT, "lab_page_put_order");
	*(void **)&kernel.count = dlsym(RTLD_DEFAULT, "lab_page_count");
	*(void **)&kernel.let_go = dlsym(RTLD_DEFAULT, "lab_page_let_go");
	*(void **)&kernel.put_exact = dlsym(RTLD_DEFAULT, "lab_page_put_exact");
	*(void **)&kernel.split = dlsym(RTLD_DEFAULT, "lab_page_split");
	*(void **)&kernel.percpu_alloc = dlsym(RTLD_DEFAULT, "lab_percpu_alloc");
	*(void **)&kernel.percpu_free = dlsym(RTLD_DEFAULT, "lab_percpu_free");
	*(void **)&kernel.processors = dlsym(RTLD_DEFAULT, "lab_percpu_count");
	*(void **)&kernel.shrinker_add = dlsym(RTLD_DEFAULT, "lab_shrinker_add");
	*(void **)&kernel.shrinker_remove = dlsym(RTLD_DEFAULT, "lab_shrinker_remove");
	return kernel.alloc_pages && kernel.get && kernel.put && kernel.put_order && kernel.count && kernel.split &&
	       kernel.let_go && kernel.put_exact && kernel.percpu_alloc && kernel.percpu_free && kernel.processors &&
	       kernel.shrinker_add && kernel.shrinker_remove;
}
