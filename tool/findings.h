/* findings.h - what `labyrinth doctor` says: a line each, how grave it is, and what to do. */
#ifndef LAB_TOOL_FINDINGS_H
#define LAB_TOOL_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>

enum grade {
	FINE,
	NOTE,    /* works, and could be better, or is to be known */
	PROBLEM, /* does not work */
};

struct findings {
	json_t *list; /* of {"grade", "about", "what", "do"} */
	bool problem;
};

void findings_start(struct findings *findings);

/* `advice`: what to do; NULL: nothing. */
void findings_add(struct findings *findings, enum grade grade, const char *about, const char *advice,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Prints all, as text or JSON, and frees them. EXIT_OK, or EXIT_NO if there was a problem. */
int findings_end(struct findings *findings, bool as_json);

#endif
