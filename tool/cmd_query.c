/* cmd_query.c - `labyrinth query`: how full the spans are that pointers lie in; what defragmentation asks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "tool.h"

struct query {
	pid_t pid;
	bool json;
	uintptr_t *pointers;
	size_t count;
};

/* What a pointer is, and of what it is a part. */
struct answer {
	const char *kind;          /* "span", "run", "huge", "free", "reserve", "none" */
	uintptr_t block;           /* where its block starts */
	uint64_t size;             /* of the block, in bytes */
	uint64_t live, made, room; /* of a span: blocks in use, made so far, that fit */
	uint64_t class_live, class_made;
	bool move; /* a span emptier than those of its class are together: to move the block elsewhere pays */
};

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct query *query = state->input;
	char *end;

	switch (key) {
	case 'j':
		query->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num == 0) {
			query->pid = parse_pid(argument, state);
			return 0;
		}
		errno = 0;
		uintptr_t pointer = strtoul(argument, &end, 16);
		if (errno || !*argument || *end || *argument == '-')
			argp_error(state, "%s is no pointer", argument);
		query->pointers = reallocate(query->pointers, (query->count + 1) * sizeof *query->pointers);
		query->pointers[query->count++] = pointer;
		return 0;
	case ARGP_KEY_END:
		if (query->count == 0)
			argp_error(state, "a PID and a POINTER at least");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static void
answer_span(const struct census *census, const struct lab_unit *unit, uintptr_t pointer, struct answer *answer)
{
	const struct class_figures *class = &census->classes[unit->size_class];
	uint64_t number = (pointer - (uintptr_t)unit->base) / unit->size;

	answer->kind = number < unit->carved ? "span" : "free";
	answer->block = (uintptr_t)unit->base + number * unit->size;
	answer->size = unit->size;
	answer->live = span_live(unit);
	answer->made = unit->carved;
	answer->room = lab_unit_capacity(unit);
	answer->class_live = class->live;
	answer->class_made = class->carved;
	/* live / made < class_live / class_made; the current span is where new blocks come from */
	answer->move =
	        !unit->current && number < unit->carved && answer->live * class->carved < class->live * unit->carved;
}

static void
answer_segment(const struct census *census, const struct segment *segment, uintptr_t pointer, struct answer *answer)
{
	size_t page = (pointer - segment->base) / LAB_PAGE_SIZE;
	const struct lab_unit *unit = segment_span(segment, page);

	if (unit) {
		answer_span(census, unit, pointer, answer);
		return;
	}
	answer->kind = "free";
	for (size_t first = page + 1; first-- > 0;) {
		if (!segment->runs[first])
			continue;
		if (page - first < segment->runs[first]) {
			answer->kind = "run";
			answer->block = segment->base + first * LAB_PAGE_SIZE;
			answer->size = segment->runs[first] * LAB_PAGE_SIZE;
		}
		return;
	}
}

static void
answer_other(const struct snapshot *snapshot, uintptr_t pointer, struct answer *answer)
{
	const struct lab_reserve *reserve = &snapshot->reserve;

	for (size_t i = 0; i < snapshot->huge_count; i++) {
		const struct lab_huge *huge = &snapshot->huge[i];
		uintptr_t base = (uintptr_t)lab_load_rlx(&huge->base);
		if (pointer - base >= lab_load_rlx(&huge->mapped) * LAB_PAGE_SIZE)
			continue;
		answer->kind = lab_huge_kind(huge) == LAB_HUGE_LIVE ? "huge" : "free";
		answer->block = base;
		answer->size = lab_load_rlx(&huge->run.pages) * LAB_PAGE_SIZE;
		return;
	}
	if (pointer - (uintptr_t)reserve->start < reserve->size)
		answer->kind = "reserve";
	for (size_t i = 0; i < snapshot->share_count; i++)
		if (snapshot->shares[i].open && pointer >= snapshot->shares[i].start &&
		    pointer < snapshot->shares[i].end)
			answer->kind = "reserve";
}

static struct answer
answer_to(const struct looked *looked, uintptr_t pointer)
{
	struct answer answer = {.kind = "none"};
	const struct segment *segment = snapshot_find(&looked->snapshot, pointer);

	if (segment)
		answer_segment(&looked->census, segment, pointer, &answer);
	else
		answer_other(&looked->snapshot, pointer, &answer);
	return answer;
}

static void
print_answer(uintptr_t pointer, const struct answer *answer)
{
	printf("0x%lx %s", (unsigned long)pointer, answer->kind);
	if (answer->block)
		printf(" block 0x%lx of %llu bytes", (unsigned long)answer->block, (unsigned long long)answer->size);
	if (answer->room)
		printf(", span: %llu live of %llu made, %llu fit: %.0f%% full, its class %.0f%%%s",
		       (unsigned long long)answer->live, (unsigned long long)answer->made,
		       (unsigned long long)answer->room,
		       answer->made ? 100.0 * (double)answer->live / (double)answer->made : 0.0,
		       answer->class_made ? 100.0 * (double)answer->class_live / (double)answer->class_made : 0.0,
		       answer->move ? "; worth moving" : "");
	putchar('\n');
}

static json_t *
answer_json(uintptr_t pointer, const struct answer *answer)
{
	char text[32], block[32];

	snprintf(text, sizeof text, "0x%lx", (unsigned long)pointer);
	snprintf(block, sizeof block, "0x%lx", (unsigned long)answer->block);
	json_t *json = json_pack("{s:s, s:s}", "pointer", text, "kind", answer->kind);
	if (answer->block)
		json_object_update_new(json, json_pack("{s:s, s:I}", "block", block, "size", (json_int_t)answer->size));
	if (answer->room)
		json_object_update_new(json,
		                       json_pack("{s:I, s:I, s:I, s:I, s:I, s:b}", "live", (json_int_t)answer->live,
		                                 "made", (json_int_t)answer->made, "room", (json_int_t)answer->room,
		                                 "class_live", (json_int_t)answer->class_live, "class_made",
		                                 (json_int_t)answer->class_made, "move", (int)answer->move));
	return json;
}

int
cmd_query(int argc, char **argv)
{
	static const struct argp_option options[] = {
	        {"json", 'j', NULL, 0, "Print JSON", 0},
	        {0},
	};
	static const char doc[] =
	        "Says of each POINTER (hexadecimal) into a process in which block it lies, and how full the span of "
	        "the "
	        "block is, and all spans of its class: what a program that defragments by moving asks.\v"
	        "Exit status: 0 if all of them are Labyrinth's, 1 if one is not.";
	static const struct argp argp = {options, parse, "PID POINTER...", doc, NULL, NULL, NULL};
	struct query query = {0};
	struct looked looked;
	int result = EXIT_OK;

	argp_parse(&argp, argc, argv, 0, NULL, &query);
	if (!look_at(&looked, query.pid)) {
		free(query.pointers);
		return EXIT_NO;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < query.count; i++) {
		struct answer answer = answer_to(&looked, query.pointers[i]);
		if (strcmp(answer.kind, "none") == 0)
			result = EXIT_NO;
		if (query.json)
			json_array_append_new(list, answer_json(query.pointers[i], &answer));
		else
			print_answer(query.pointers[i], &answer);
	}
	if (query.json && report_print(json_incref(list)) != EXIT_OK)
		result = EXIT_NO;
	json_decref(list);
	free(query.pointers);
	look_away(&looked);
	return result;
}
