/* inspect.c - see inspect.h. Constants, but for the start: a process that nobody looks at pays nothing. */
#include "alloc/inspect.h"
#include "alloc/limit.h"
#include "labyrinth/labyrinth.h"
#include "os/os.h"

#define TEXT_(number) #number
#define TEXT(number)  TEXT_(number)

static struct lab_inspect_start started;

const struct lab_inspect lab_inspect = {
        .magic = LAB_INSPECT_MAGIC,
        .layout = LAB_INSPECT_LAYOUT,
        .release = LAB_VERSION_TEXT,
        .asserts = LAB_ASSERTS,
        .guard = LAB_GUARD,
        .space = &lab_space_published,
        .owners = lab_registry_owners,
        .heaps = &lab_registry_end,
        .huge_parts = lab_huge_parts,
        .reserve = &lab_reserve,
        .shares = &lab_share_table,
        .counts = &lab_counts,
        .settings = lab_setting_now,
        .texts = lab_setting_texts,
        .limit = &lab_charge_limit,
        .waits = &lab_limit_wait_count,
        .objects = &lab_objects,
        .start = &started,
};

/* A note is in the memory of every process, whatever was stripped, and is found by its program header. */
__asm__(".pushsection .note.labyrinth, \"a\", %note\n"
        ".balign 4\n"
        ".long 10, 8, " TEXT(LAB_INSPECT_NOTE) "\n"
                                               ".asciz \"Labyrinth\"\n"
                                               ".balign 4\n"
                                               ".quad lab_inspect - .\n"
                                               ".popsection\n");

void
lab_inspect_start(void)
{
	lab_store_rlx(&started.pid, lab_os_pid());
	lab_store_rlx(&started.ms, lab_os.clock_ms());
}
