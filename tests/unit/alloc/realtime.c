/*
 * realtime.c - calls of a thread that has called lab_thread_realtime: which are reported.
 *
 * Clauses: G12.2.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <labyrinth/labyrinth.h>

static FILE *errors;

static void
catch_errors(void)
{
	errors = tmpfile();
	cr_assert(errors);
	cr_assert_eq(dup2(fileno(errors), STDERR_FILENO), STDERR_FILENO);
}

static size_t
count_reports(void)
{
	static char text[1 << 16];
	size_t count = 0;

	rewind(errors);
	text[fread(text, 1, sizeof text - 1, errors)] = '\0';
	for (const char *at = text; (at = strstr(at, "real-time thread")) != NULL; at++)
		count++;
	return count;
}

Test(realtime, slow_calls_are_reported_and_others_are_not, .init = catch_errors)
{
	lab_free(lab_malloc(100));
	cr_assert_eq(lab_thread_realtime(LAB_REALTIME_REPORT), LAB_REALTIME_OFF);
	for (int i = 0; i < 10; i++)
		lab_free(lab_malloc(100));
	void *claimed = lab_alloc(1000, LAB_GFP_ATOMIC);
	cr_assert(claimed);
	lab_free(claimed);
	lab_free(lab_alloc(100, LAB_GFP_NOWAIT));
	cr_assert_eq(count_reports(), 0);
	void *run = lab_malloc(100000);
	cr_assert_eq(count_reports(), 1);
	rewind(errors);
	static char text[1 << 12];
	text[fread(text, 1, sizeof text - 1, errors)] = 0;
	char thread[60];
	snprintf(thread, sizeof thread, "a call took the slow path, thread %d\n", (int)gettid());
	cr_assert(strstr(text, thread) && strstr(text, "#0 "), "the thread, and the calls that led to it: %s", text);
	lab_free(run);
	cr_assert_eq(count_reports(), 2);
	cr_assert_eq(lab_thread_realtime(LAB_REALTIME_OFF), LAB_REALTIME_REPORT);
	lab_free(lab_malloc(100000));
	cr_assert_eq(count_reports(), 2);
}

/* Their pages are mapped, moved and given back by no heap. */
Test(realtime, huge_blocks_are_reported, .init = catch_errors)
{
	void *huge = lab_malloc((size_t)5 << 20);

	lab_thread_realtime(LAB_REALTIME_REPORT);
	huge = lab_realloc(huge, (size_t)40 << 20, LAB_GFP_KERNEL);
	cr_assert(huge);
	size_t resized = count_reports();
	cr_assert_geq(resized, 1);
	lab_free(huge);
	cr_assert_gt(count_reports(), resized);
}

static void *
call_slowly(void *unused)
{
	(void)unused;
	lab_free(lab_malloc(100000));
	return NULL;
}

Test(realtime, only_the_thread_itself_is_meant, .init = catch_errors)
{
	pthread_t thread;

	lab_free(lab_malloc(100));
	lab_thread_realtime(LAB_REALTIME_REPORT);
	cr_assert_eq(pthread_create(&thread, NULL, call_slowly, NULL), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	lab_thread_realtime(LAB_REALTIME_OFF);
	cr_assert_eq(count_reports(), 0);
}

Test(realtime, the_process_ends_if_it_is_to, .init = catch_errors, .signal = SIGABRT)
{
	lab_free(lab_malloc(100));
	lab_thread_realtime(LAB_REALTIME_ABORT);
	lab_free(lab_malloc(100));
	(void)lab_malloc(100000);
}
