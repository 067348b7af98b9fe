/*
 * inspect.h - what a tool needs that looks into the process from outside (tool/target.c): a block of constants that
 * says where everything is, found by an ELF note in the mapped library or program.
 *
 * The reader stops nothing and takes no lock. Whatever it reads may be changing, and is checked before it is used:
 * owner words, which never have a value twice, before and after what they are for; all else are figures.
 *
 * The first four fields are of every version. All behind them, and all structs that they lead to, are those of the
 * reader's own headers exactly if `layout` is what the reader was compiled with.
 */
#ifndef LAB_ALLOC_INSPECT_H
#define LAB_ALLOC_INSPECT_H

#include "alloc/objects.h"
#include "alloc/setting.h"
#include "heap/registry.h"
#include "page/charge.h"
#include "page/huge_table.h"
#include "reserve/reserve.h"

/* The note: owner "Labyrinth", this type, and in it the distance from its own eight bytes to the block. */
#define LAB_INSPECT_NOTE  1
#define LAB_INSPECT_MAGIC UINT64_C(0x68746e697279624c) /* "Lbyrinth" */

/* To be raised where the meaning of something changes and its layout does not. */
#define LAB_INSPECT_VERSION 1

/* Written by the constructor. */
struct lab_inspect_start {
	_Atomic uint64_t ms;  /* lab_os.clock_ms (CLOCK_MONOTONIC); 0: not yet, or unknown */
	_Atomic uint32_t pid; /* by the process's own PID namespace: another's in a child of fork */
};

struct lab_inspect {
	uint64_t magic;
	uint64_t layout; /* LAB_INSPECT_LAYOUT */
	char release[24];
	uint32_t asserts, guard; /* 1: built so */

	_Atomic(struct lab_space *) *space;
	_Atomic uint64_t *owners;
	_Atomic uint32_t *heaps;
	_Atomic(struct lab_huge_part *) *huge_parts;
	struct lab_reserve *reserve;
	struct lab_share_table *shares;
	struct lab_counts *counts;
	struct lab_setting_now *settings;
	char (*texts)[LAB_VALUE_MAX + 1];
	_Atomic size_t *limit, *waits;
	_Atomic(const struct lab_objects *) *objects;
	struct lab_inspect_start *start;
};
extern const struct lab_inspect lab_inspect LAB_HIDDEN;

/* By the constructor. */
void lab_inspect_start(void);

/* ---- the layout, as a number ----------------------------------------------------------------------------------- */

#define LAB_MIX_(hash, value)          (((uint64_t)(hash) ^ (uint64_t)(value)) * UINT64_C(0x9e3779b97f4a7c15))
#define LAB_MIX_SIZE_(hash, s)         LAB_MIX_(hash, sizeof(struct s))
#define LAB_MIX_PLACE_(hash, s, field) LAB_MIX_(hash, offsetof(struct s, field))

enum { LAB_LAYOUT_CLASSES_ = LAB_CLASS_COUNT + LAB_HEAP_IDLE * 256 + LAB_HEAP_FROZEN * 4096 };
#define LAB_LAYOUT_BLOCK_                                                                                              \
	LAB_MIX_SIZE_(LAB_MIX_(LAB_MIX_(LAB_INSPECT_VERSION, LAB_LAYOUT_CLASSES_), LAB_HEAP_MAX), lab_inspect)
#define LAB_LAYOUT_SPACE_                                                                                              \
	LAB_MIX_PLACE_(LAB_MIX_PLACE_(LAB_MIX_SIZE_(LAB_LAYOUT_BLOCK_, lab_space), lab_space, units), lab_space, bits)
#define LAB_LAYOUT_UNIT_                                                                                               \
	LAB_MIX_PLACE_(LAB_MIX_PLACE_(LAB_MIX_SIZE_(LAB_LAYOUT_SPACE_, lab_unit), lab_unit, kind), lab_unit, carved)
#define LAB_LAYOUT_SEGMENT_                                                                                            \
	LAB_MIX_PLACE_(LAB_MIX_PLACE_(LAB_MIX_PLACE_(LAB_LAYOUT_UNIT_, lab_segment, base), lab_segment, taken),        \
	               lab_segment, runs)
#define LAB_LAYOUT_HEAP_                                                                                               \
	LAB_MIX_PLACE_(LAB_MIX_PLACE_(LAB_MIX_SIZE_(LAB_LAYOUT_SEGMENT_, lab_heap), lab_heap, reentrant), lab_heap,    \
	               remote)
#define LAB_LAYOUT_HUGE_                                                                                               \
	LAB_MIX_PLACE_(LAB_MIX_SIZE_(LAB_MIX_SIZE_(LAB_LAYOUT_HEAP_, lab_huge), lab_huge_part), lab_huge, dirty)
#define LAB_LAYOUT_RESERVE_                                                                                            \
	LAB_MIX_PLACE_(LAB_MIX_SIZE_(LAB_MIX_SIZE_(LAB_LAYOUT_HUGE_, lab_reserve), lab_share), lab_reserve, failures)
/* The settings, by how long their names and the words that they take are in all. LAB_INSPECT_VERSION is to be raised
 * where they change and that does not. */
enum {
	LAB_LAYOUT_SETTINGS_ = sizeof(
#define LAB_SETTING(key, kind, param, by_default, least, most, words, doc) #key words
#define LAB_PRESET(name, settings, doc)
#include "alloc/settings.def"
#undef LAB_SETTING
#undef LAB_PRESET
	        ),
};

#define LAB_INSPECT_LAYOUT                                                                                             \
	LAB_MIX_(LAB_MIX_SIZE_(LAB_MIX_SIZE_(LAB_MIX_SIZE_(LAB_LAYOUT_RESERVE_, lab_setting_now), lab_counts),         \
	                       lab_objects),                                                                           \
	         LAB_LAYOUT_SETTINGS_)

#endif
