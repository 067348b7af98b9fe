/* parse.h - numbers in settings. Any context. */
#ifndef LAB_BASE_PARSE_H
#define LAB_BASE_PARSE_H

#include "base/compiler.h"

/* Decimal digits. Returns what follows; NULL if there is none, or too great a number: *value is as it was. */
const char *lab_parse_number(const char *text, size_t *value);

/* A number, then perhaps one of K, M, G, T. */
const char *lab_parse_size(const char *text, size_t *value);

/* The same, and then the end: false if anything else. */
bool lab_parse_whole_size(const char *text, size_t *value);

#endif
