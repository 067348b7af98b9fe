/*
 * background.c - the optional background thread (the setting `background_thread`): growth before a slow call
 * asks for it, decay in a process that has gone idle. Nothing needs it. All signals are blocked in it.
 *
 * No call starts it when memory waits: pthread_create takes locks of libc's, under which libc calls free (a stack that
 * leaves libc's cache gives back its TLS under that cache's lock), and a program may forbid or count threads.
 */
#include <pthread.h>
#include <signal.h>

#include "alloc/background.h"
#include "alloc/decay.h"
#include "alloc/dump.h"
#include "alloc/settings.h"
#include "backing/backing.h"
#include "backing/shares.h"
#include "os/os.h"
#include "page/pending.h"

enum { POLL_MS = 10, POLLS_TO_SHRINK = 100, POLLS_TO_REST = 50, STACK_SIZE = 128 * 1024 };

static void *
watch(void *unused)
{
	(void)unused;
	for (unsigned poll = 1;; poll++) {
		struct lab_guard guard = LAB_GUARD_HERE;
		(void)lab_backing_tick(guard.sp);
		lab_decay_poll(&guard);
		lab_dump_poll();
		if (poll % POLLS_TO_SHRINK == 0 && !lab_load_rlx(&lab_purge_is_held))
			(void)lab_shares_shrink();
		if (poll % POLLS_TO_REST == 0)
			lab_decay_rest(&guard);
		lab_os_sleep_ms(lab_sweep_is_on() ? 1 : POLL_MS);
	}
	return NULL;
}

void
lab_background_start(void)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;

	if (!lab_settings.background || pthread_attr_init(&attributes) != 0)
		return;
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, &attributes, watch, NULL) == 0)
		(void)pthread_setname_np(thread, "labyrinth");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
}
