/* findings.c - see findings.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "findings.h"
#include "tool.h"

static const char *const grades[] = {[FINE] = "fine", [NOTE] = "note", [PROBLEM] = "problem"};

void
findings_start(struct findings *findings)
{
	*findings = (struct findings){json_array(), false};
}

void
findings_add(struct findings *findings, enum grade grade, const char *about, const char *advice, const char *format,
             ...)
{
	va_list arguments;
	char *what;

	va_start(arguments, format);
	if (vasprintf(&what, format, arguments) < 0)
		exit(complain("out of memory"));
	va_end(arguments);
	findings->problem |= grade == PROBLEM;
	json_array_append_new(findings->list, json_pack("{s:s, s:s, s:o?, s:s?}", "grade", grades[grade], "about",
	                                                about, "what", json_string(what), "do", advice));
	free(what);
}

int
findings_end(struct findings *findings, bool as_json)
{
	json_t *entry;
	size_t i;

	if (as_json) {
		(void)json_dumpf(findings->list, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_array_foreach(findings->list, i, entry)
	{
		const char *what = json_string_value(json_object_get(entry, "what"));
		const char *advice = json_string_value(json_object_get(entry, "do"));
		if (as_json)
			break;
		printf("%-8s %-14s %s\n", json_string_value(json_object_get(entry, "grade")),
		       json_string_value(json_object_get(entry, "about")), what ? what : "?");
		if (advice)
			printf("%-8s %-14s -> %s\n", "", "", advice);
	}
	json_decref(findings->list);
	return findings->problem ? EXIT_NO : EXIT_OK;
}
