/*
 * scope.c - modifiers that all calls of a thread have for a while (lab_scope_enter, labyrinth/kernel/support.h).
 * Any context: a handler that enters a scope leaves it before it returns, so that what it interrupted between load and
 * store finds the word as it was.
 *
 * The word is read where a call has left the fast paths (alloc/allocate.c), so that these are as they were.
 */
#include <labyrinth/kernel/support.h>

#include "heap/current.h"

#define OF_SCOPES (LAB_GFP_NOIO | LAB_GFP_MEMALLOC | LAB_GFP_NORECLAIM)
_Static_assert(OF_SCOPES <= UINT16_MAX && (OF_SCOPES & LAB_SCOPE_OWN) == 0, "they fit in the thread's word");

LAB_EXPORT unsigned
lab_scope_enter(unsigned gfp)
{
	unsigned entered = gfp & OF_SCOPES & ~lab_thread.scope;

	lab_thread.scope |= (uint16_t)entered;
	return entered;
}

LAB_EXPORT void
lab_scope_leave(unsigned entered)
{
	lab_thread.scope &= (uint16_t)~entered;
}

LAB_EXPORT unsigned
lab_scope(void)
{
	return lab_thread.scope & OF_SCOPES;
}
