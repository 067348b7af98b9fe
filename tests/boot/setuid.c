/*
 * setuid.c - linked with liblabyrinth.a. Run as root with a path: makes a set-user-ID copy of itself there, owned by
 * nobody, and runs it with settings in the environment. The copy prints nothing, neither figures nor complaints, and
 * makes no file; the original does.
 *
 * Clauses: G8.3.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "boot.h"

enum { NOBODY = 65534 };

static char stats[] = "LABYRINTH_STATS=1", decay[] = "LABYRINTH_DECAY_MS=rubbish";
static char plain[] = "plain", secure[] = "secure";

/* What `program` writes to stderr; whether it ended well. */
static bool
run(char *program, char *role, char *output, size_t size)
{
	char *const arguments[] = {program, role, NULL};
	char *const settings[] = {stats, decay, NULL};
	int ends[2];
	size_t length = 0;

	CHECK(pipe(ends) == 0);
	pid_t child = fork();
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		execve(program, arguments, settings);
		_exit(SKIPPED);
	}
	close(ends[1]);
	for (ssize_t got; (got = read(ends[0], output + length, size - 1 - length)) > 0;)
		length += (size_t)got;
	output[length] = 0;
	close(ends[0]);
	return boot_child_succeeded(child);
}

static void
copy_self(const char *path)
{
	struct stat status;
	int in = open("/proc/self/exe", O_RDONLY), out = open(path, O_WRONLY | O_CREAT | O_EXCL, 0700);

	CHECK(in >= 0 && out >= 0 && fstat(in, &status) == 0);
	for (off_t at = 0; at < status.st_size;)
		CHECK(sendfile(out, in, &at, (size_t)(status.st_size - at)) > 0);
	CHECK(fchown(out, NOBODY, NOBODY) == 0 && fchmod(out, 04755) == 0);
	close(in);
	close(out);
}

int
main(int argc, char **argv)
{
	static char output[1 << 16];
	char folder[] = "/tmp/labyrinth-setuid-XXXXXX", path[64];

	if (argc > 1) {
		boot_free(boot_allocate());
		return (getauxval(AT_SECURE) != 0) == (strcmp(argv[1], secure) == 0) ? 0 : SKIPPED;
	}
	CHECK(run(argv[0], plain, output, sizeof output));
	CHECK(strstr(output, "LABYRINTH_DECAY_MS=rubbish: ignored"));
	CHECK(strlen(output) > 200);
	if (geteuid() != 0) {
		boot_say("not run: only root makes a set-user-ID program of another user\n");
		return SKIPPED;
	}
	CHECK(mkdtemp(folder) && chmod(folder, 0755) == 0);
	CHECK(snprintf(path, sizeof path, "%s/copy", folder) > 0);
	copy_self(path);
	bool ran = run(path, secure, output, sizeof output);
	CHECK(unlink(path) == 0 && rmdir(folder) == 0);
	if (!ran) {
		boot_say("not run: /tmp does not let programs be set-user-ID\n");
		return SKIPPED;
	}
	CHECK(output[0] == 0);
	return 0;
}
