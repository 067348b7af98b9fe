/*
 * own.c - a program's own macros, made before labyrinth/gfp.h is included, stand; what it builds on is not changed by
 * them. Clauses: G9.4.
 */
#include <stddef.h>

static int asked;

#define kmalloc(size, gfp) ((void)(gfp), asked += (int)(size), (void *)0)
#define GFP_NOIO           ((gfp_t)0x12345)
#define PAGE_SHIFT         12
#define kfree              my_kfree
#define struct_size(...)   17
#define check_add_overflow my_check

static void
my_kfree(const void *p)
{
	(void)p;
	asked = -1;
}

#include <labyrinth/gfp.h>

int
main(void)
{
	void *p = kzalloc(100, GFP_KERNEL), *q = kmemdup("ab", 3, GFP_KERNEL);
	int wrong = !p || !q || asked != 0;

	wrong |= kmalloc(5, GFP_KERNEL) != NULL || asked != 5;
	kvfree(p);
	wrong |= asked != 5 || GFP_NOIO != 0x12345 || struct_size(p, x, 3) != 17;
	kfree(q);
	return wrong || asked != -1;
}
