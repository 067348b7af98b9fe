/*
 * check.h - assertions of the invariants (INV-…) and the report of misuse. Any context.
 *
 * lab_assert is compiled in with -Dasserts=true. lab_report_misuse is always there: a line, what is known of the block
 * and of who called, then abort. Who calls it holds nothing, as the handler of SIGABRT may allocate, and may jump out.
 * What it misuses itself ends the process after one more line: reports do not nest in a thread, nor in a child that was
 * forked in the middle of one. Both end in functions of the os layer, the only one that can write.
 */
#ifndef LAB_BASE_CHECK_H
#define LAB_BASE_CHECK_H

#include "base/compiler.h"

#ifndef LAB_ASSERTS
#define LAB_ASSERTS 0
#endif

/* "labyrinth: assertion failed: <text> (<file>:<line>)", then abort. */
LAB_COLD LAB_NORETURN void lab_assert_failed(const char *text, const char *file, int line);

/* What is known of the block that a pointer starts, or lies in. */
struct lab_block_facts {
	const void *start; /* NULL: no block is known there */
	size_t size;       /* bytes: what was asked for where that is kept, else what the block holds */
	/* Where the allocator keeps them: return addresses, and the ids of threads. 0: not kept. */
	const uintptr_t *made_at, *freed_at;
	unsigned made_frames, freed_frames;
	uint32_t made_by, freed_by;
};

/* A report, as the layers above are told of it. */
struct lab_report {
	const char *call, *reason; /* call: NULL if the report is of no call */
	const void *p;
	struct lab_block_facts block;
	uint32_t thread;
	const char *text; /* all lines */
	const uintptr_t *trace;
	unsigned frames;
};

/* What the layers above add to reports. Set once, by the first thread. Any context. */
struct lab_report_hooks {
	/* What is known of the block of p, any pointer; *facts is all 0 before. */
	void (*describe)(const void *p, struct lab_block_facts *facts);
	/* Is told, after the text was written, before the end. */
	void (*tell)(const struct lab_report *report);
};
void lab_report_set_hooks(const struct lab_report_hooks *hooks);

/* A file to which reports are written as well, behind what is there; NULL: none. %p in the path is the process's id.
 * The path stays where it is. */
void lab_report_set_file(const char *path);

/* "labyrinth: <call>(0x<p>): <reason>", and lines of details, then abort. Async-signal-safe. */
LAB_COLD LAB_NORETURN void lab_report_misuse(const char *call, const void *p, const char *reason);

/* "labyrinth: heap corrupted: a freed block of this span was written to: 0x<start>-0x<end>, blocks of <n> bytes", then
 * abort. */
LAB_COLD LAB_NORETURN void lab_report_damage(const void *start, size_t bytes, size_t block_size);

/* The same lines, with no end: for what a fault's handler says before the fault ends the process. */
LAB_COLD void lab_report_fault(const char *call, const void *p, const char *reason, const void *frame, uintptr_t pc);

/* lab_report_misuse's first line, and the caller goes on: for what was refused and has changed nothing. */
LAB_COLD void lab_report_refusal(const char *call, const void *p, const char *reason);

#define lab_assert(x)                                                                                                  \
	do {                                                                                                           \
		if (LAB_ASSERTS && lab_unlikely(!(x)))                                                                 \
			lab_assert_failed(#x, __FILE__, __LINE__);                                                     \
	} while (0)

#endif
