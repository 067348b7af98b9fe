/* tool.c - see tool.h. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static void
say(const char *format, va_list arguments)
{
	fflush(stdout);
	fputs("labyrinth: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
}

int
complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(format, arguments);
	va_end(arguments);
	return EXIT_NO;
}

void
warn(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(format, arguments);
	va_end(arguments);
}

void *
allocate(size_t size)
{
	return reallocate(NULL, size);
}

void *
reallocate(void *memory, size_t size)
{
	void *result = realloc(memory, size ? size : 1);

	if (!result)
		exit(complain("out of memory"));
	return result;
}

char *
print_text(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		exit(complain("out of memory"));
	va_end(arguments);
	return text;
}

pid_t
parse_pid(const char *text, struct argp_state *state)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || !isdigit((unsigned char)*text) || *end || value <= 0 || value > INT_MAX)
		argp_error(state, "%s is no process id", text);
	return (pid_t)value;
}

const char *
human_bytes(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	static char buffers[8][24];
	static unsigned next;
	char *buffer = buffers[next++ % 8];
	double value = (double)bytes;
	unsigned unit = 0;

	for (; value >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
		value /= 1024;
	snprintf(buffer, sizeof *buffers, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
	return buffer;
}

const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static error_t
parse_pid_argument(int key, char *argument, struct argp_state *state)
{
	struct pid_arguments *arguments = state->input;

	switch (key) {
	case 'j':
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one PID only");
		arguments->pid = parse_pid(argument, state);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "PID is missing");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

void
parse_pid_arguments(int argc, char **argv, const char *doc, struct pid_arguments *arguments)
{
	static const struct argp_option options[] = {
	        {"json", 'j', NULL, 0, "Print JSON", 0},
	        {0},
	};
	const struct argp argp = {options, parse_pid_argument, "PID", doc, NULL, NULL, NULL};

	*arguments = (struct pid_arguments){0};
	argp_parse(&argp, argc, argv, 0, NULL, arguments);
}

void
print_escaped(FILE *stream, const char *text, size_t length)
{
	for (; *text; text++) {
		bool begins = ((unsigned char)*text & 0xc0) != 0x80; /* else it goes on with a character */
		if (begins && length-- == 0)
			return;
		if (strchr("<>&\"", *text))
			fprintf(stream, "&#%d;", *text);
		else
			fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, stream);
	}
}
