/* tool.h - what the sub-commands of `labyrinth` share: the table, exit codes, messages. */
#ifndef LAB_TOOL_TOOL_H
#define LAB_TOOL_TOOL_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Exit codes of all sub-commands but `run`, whose own are its program's: see labyrinth(1). */
enum {
	EXIT_OK = 0,
	EXIT_NO = 1,    /* it is not so, or could not be found out */
	EXIT_USAGE = 2, /* wrong arguments */
};

/* A sub-command: a file cmd_NAME.c each. argv[0] is "labyrinth NAME". The result is an exit code. */
struct command {
	const char *name;
	const char *summary; /* a line of `labyrinth --help` */
	int (*run)(int argc, char **argv);
};

int cmd_run(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_metrics(int argc, char **argv);
int cmd_buddyinfo(int argc, char **argv);
int cmd_slabinfo(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_query(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_bench(int argc, char **argv);

/* "labyrinth: …" on stderr, a line. complain returns EXIT_NO. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Memory or the end: one line. */
void *allocate(size_t size);
void *reallocate(void *memory, size_t size);
char *print_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The place of one more element at the end of an array, which grows by and by. */
#define APPEND(array, count)                                                                                           \
	((array) = (((count) & ((count)-1)) == 0 ? reallocate((array), ((count) ? (count)*2 : 1) * sizeof *(array))    \
	                                         : (array)),                                                           \
	 &(array)[(count)++])

/* A process id from the command line; else a line by way of argp, and the end. */
pid_t parse_pid(const char *text, struct argp_state *state);

/* Text of which nothing is markup, in UTF-8; of at most `length` characters. */
void print_escaped(FILE *stream, const char *text, size_t length);

/* "1.5 MiB"; in a buffer that the next eight calls leave alone. */
const char *human_bytes(uint64_t bytes);

/* What stands behind the last slash of a path. */
const char *base_name(const char *path);

/* Arguments of the sub-commands that print figures of one process: PID and --json. */
struct pid_arguments {
	pid_t pid;
	bool json;
};
void parse_pid_arguments(int argc, char **argv, const char *doc, struct pid_arguments *arguments);

#endif
