/*
 * served.c - what the constructor and the destructor do is done, however the library came into this process. Linked in
 * every form by install.py; with PLUG_IN defined it is a shared object whose `main_of_plug_in` a program that knows
 * nothing of Labyrinth calls.
 *
 * To be run with LABYRINTH_RESERVE_CLASSES=64:1000, LABYRINTH_RESERVE_LOCK=0, LABYRINTH_BACKGROUND_THREAD=1 and
 * LABYRINTH_STATS=1.
 * Prints nothing by itself; install.py looks for the figures.
 */
#include <dirent.h>
#include <labyrinth/labyrinth.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "served.c:%d: failed: %s\n", __LINE__, #condition);                            \
			return 1;                                                                                      \
		}                                                                                                      \
	} while (0)

enum { SLOTS = 1000 };

static int
threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	int count = -2; /* . and .. */

	while (tasks && readdir(tasks))
		count++;
	if (tasks)
		closedir(tasks);
	return count;
}

/* The settings were read, and the reserve is what they say. */
static int
check_reserve(void)
{
	static void *slots[SLOTS];
	struct lab_reserve_class class;
	struct lab_reserve_info info;

	lab_reserve_info(&info);
	REQUIRE(info.mode == LAB_RESERVE_POPULATED); /* not locked, as was asked for */
	for (size_t i = 0; lab_reserve_class_get(i, &class); i++)
		REQUIRE(class.slots == (class.size == 64 ? SLOTS : 0));
	for (int i = 0; i < SLOTS; i++)
		REQUIRE((slots[i] = lab_alloc(64, LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC)) != NULL);
	for (int i = 0; i < SLOTS; i++)
		lab_free(slots[i]);
	return 0;
}

/* The hooks of fork give the child a background thread of its own. */
static int
check_fork(void)
{
	int status = 0;

	REQUIRE(threads() == 2);
	pid_t child = fork();
	if (child == 0)
		_exit(threads() == 2 ? 0 : 1);
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	return 0;
}

#ifdef PLUG_IN
int main_of_plug_in(void);

int
main_of_plug_in(void)
#else
int
main(void)
#endif
{
	void *block = lab_malloc(5000);

	REQUIRE(block && lab_owns(block));
	lab_free(block);
	return check_reserve() || check_fork() ? 1 : 0;
}
