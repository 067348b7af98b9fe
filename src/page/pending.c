/* pending.c - see pending.h. */
#include "page/pending.h"

_Atomic uint32_t lab_purge_pending;
_Atomic bool lab_purge_is_held;
