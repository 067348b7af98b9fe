/* current.c - see current.h. Any context. */
#include "heap/current.h"
#include "os/os.h"

_Thread_local struct lab_thread lab_thread __attribute__((tls_model("initial-exec")));
_Atomic uintptr_t lab_word_tag = LAB_WORD_FAST;

uint32_t
lab_current_tid(void)
{
	return lab_likely(lab_thread.heap != NULL) ? lab_thread.tid : lab_os_tid_to_write();
}

struct lab_purge_record *
lab_thread_purge_owned(struct lab_heap *heap)
{
	heap->purge.claim = lab_lease_new(lab_current_tid(), LAB_PURGE_GIVES_BACK);
	return &heap->purge;
}
