/*
 * format.h - text into a fixed buffer, without locale, allocation or libc. Async-signal-safe.
 */
#ifndef LAB_BASE_FORMAT_H
#define LAB_BASE_FORMAT_H

#include "base/compiler.h"

struct lab_text {
	char *buffer;
	size_t size;   /* bytes of buffer */
	size_t length; /* bytes written, never above size - 1; always followed by a NUL */
};

/* Starts an empty text in a buffer of size >= 1. */
struct lab_text lab_text_start(char *buffer, size_t size);

/* What does not fit is cut off. */
void lab_text_string(struct lab_text *text, const char *string);
void lab_text_number(struct lab_text *text, uint64_t number);
void lab_text_hex(struct lab_text *text, uint64_t number);

/* Bytes as a person reads them, cut off behind a tenth: "17 B", "4.0 KiB", "1.3 GiB". */
void lab_text_bytes(struct lab_text *text, uint64_t bytes);

/* A path of which %p is the process's id and %n, where there is a number, that. */
void lab_text_path(struct lab_text *text, const char *pattern, uint64_t process, const uint64_t *number);

/* Right-aligned in `width` columns. */
void lab_text_column(struct lab_text *text, uint64_t number, unsigned width);

#endif
