/* watch.c - see watch.h. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"
#include "watch.h"

/* A process that was found to be none of ours is asked again after so many looks: it may have called exec. */
enum { FORGET_LOOKS = 20 };

static struct watched *
find(struct watch *watch, pid_t pid)
{
	for (size_t i = 0; i < watch->count; i++)
		if (watch->processes[i].pid == pid)
			return &watch->processes[i];
	watch->processes = reallocate(watch->processes, (watch->count + 1) * sizeof *watch->processes);
	watch->processes[watch->count] = (struct watched){.pid = pid};
	return &watch->processes[watch->count++];
}

static bool
is_other(const struct watch *watch, pid_t pid)
{
	for (size_t i = 0; i < watch->others_count; i++)
		if (watch->others[i] == pid)
			return true;
	return false;
}

static void
note_other(struct watch *watch, pid_t pid)
{
	watch->others = reallocate(watch->others, (watch->others_count + 1) * sizeof *watch->others);
	watch->others[watch->others_count++] = pid;
}

static void
look_at_one(struct watch *watch, pid_t pid)
{
	struct target target;
	struct snapshot snapshot;
	char *why;

	if (is_other(watch, pid))
		return;
	if (target_attach(&target, pid, &why) != TARGET_IS_OURS) {
		note_other(watch, pid);
	} else if (snapshot_take(&snapshot, &target)) {
		struct watched *process = find(watch, pid);
		process->before = process->census.all;
		census_take(&process->census, &snapshot);
		process->interval = process->at > 0 ? snapshot.at - process->at : 0;
		process->at = snapshot.at;
		process->seen = true;
		memcpy(process->name, target.name, sizeof process->name);
		snapshot_free(&snapshot);
	}
	free(why);
	target_detach(&target);
}

static void
look_at_all(struct watch *watch)
{
	DIR *folder = opendir("/proc");
	const struct dirent *entry;

	while (folder && (entry = readdir(folder)) != NULL) {
		long pid = strtol(entry->d_name, NULL, 10);
		if (pid > 0)
			look_at_one(watch, (pid_t)pid);
	}
	if (folder)
		closedir(folder);
}

void
watch_look(struct watch *watch)
{
	size_t kept = 0;

	if (watch->looks++ % FORGET_LOOKS == 0 || watch->wanted_count)
		watch->others_count = 0;
	for (size_t i = 0; i < watch->count; i++)
		watch->processes[i].seen = false;
	if (watch->wanted_count == 0)
		look_at_all(watch);
	for (size_t i = 0; i < watch->wanted_count; i++)
		look_at_one(watch, watch->wanted[i]);
	for (size_t i = 0; i < watch->count; i++)
		if (watch->processes[i].seen)
			watch->processes[kept++] = watch->processes[i];
	watch->count = kept;
}

void
watch_free(struct watch *watch)
{
	free(watch->processes);
	free(watch->wanted);
	free(watch->others);
	*watch = (struct watch){0};
}

static uint64_t
value_at(const struct figures *figures, size_t offset)
{
	return *(const uint64_t *)(const void *)((const char *)figures + offset);
}

double
watch_rate(const struct watched *process, size_t offset)
{
	uint64_t now = value_at(&process->census.all, offset), before = value_at(&process->before, offset);

	return process->interval > 0 && now > before ? (double)(now - before) / process->interval : 0;
}

static size_t sort_offset;
static bool sort_by_rate;

static int
compare(const void *left, const void *right)
{
	const struct watched *a = left, *b = right;
	double first = sort_by_rate ? watch_rate(a, sort_offset) : (double)value_at(&a->census.all, sort_offset);
	double second = sort_by_rate ? watch_rate(b, sort_offset) : (double)value_at(&b->census.all, sort_offset);

	if (first != second)
		return first < second ? 1 : -1;
	return (a->pid > b->pid) - (a->pid < b->pid);
}

void
watch_sort(struct watch *watch, size_t offset, bool by_rate)
{
	sort_offset = offset;
	sort_by_rate = by_rate;
	if (watch->count)
		qsort(watch->processes, watch->count, sizeof *watch->processes, compare);
}
