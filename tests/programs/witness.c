// Purpose: be a witness that a real program, and every program that it starts, really ran on the library under test.
// Preloaded in front of the library. When a process has been loaded, and before its main, it appends one line to the
// file that WITNESS_FILE names:
//
//     PID <tab> EXECUTABLE <tab> OBJECT
//
// where OBJECT is the file whose allocator the process calls, or "mixed" if its functions come from different files.
// It keeps no descriptor open, allocates nothing, and changes nothing that the program could see but one mapping.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const functions[] = {
        "malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "memalign", "malloc_usable_size",
};

// The file whose function of this name a call would reach. The executable is passed over (RTLD_NEXT, and the witness
// stands first): a program at a fixed address has PLT entries that look like definitions of its own.
static const char *
owner(const char *function)
{
	Dl_info info;
	void *address = dlsym(RTLD_NEXT, function);
	return address && dladdr(address, &info) && info.dli_fname ? info.dli_fname : "none";
}

static const char *
owner_of_all(void)
{
	const char *first = owner(functions[0]);
	for (size_t i = 1; i < sizeof functions / sizeof *functions; i++)
		if (strcmp(owner(functions[i]), first) != 0)
			return "mixed";
	return first;
}

__attribute__((constructor)) static void
testify(void)
{
	char program[PATH_MAX], line[2 * PATH_MAX + 32];
	const char *file = getenv("WITNESS_FILE");
	int fd = file ? open(file, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
	program[length < 0 ? 0 : length] = '\0';
	int size = snprintf(line, sizeof line, "%d\t%s\t%s\n", (int)getpid(), program, owner_of_all());
	// One write, so that lines of processes that start at the same time do not mix. If it fails, the line is
	// missing, and the test says so.
	if (write(fd, line, (size_t)size) != size)
		_exit(99);
	close(fd);
}
