/* failure.c - see failure.h. */
#include "alloc/failure.h"

#include <labyrinth/labyrinth.h>

#include "base/format.h"
#include "base/probe.h"
#include "os/os.h"
#include "reserve/reserve.h"

LAB_COLD void
lab_note_atomic_failure(size_t size, unsigned gfp)
{
	size_t none = 0;

	LAB_PROBE1(labyrinth, reserve_empty, size);
	if (!(gfp & LAB_GFP_NOWARN) && size < SIZE_MAX - 1)
		(void)atomic_compare_exchange_strong_explicit(&lab_reserve.first_failure, &none, size + 1,
		                                              memory_order_relaxed, memory_order_relaxed);
}

void
lab_tell_atomic_failure(void)
{
	size_t noted = atomic_exchange_explicit(&lab_reserve.first_failure, SIZE_MAX, memory_order_relaxed);
	char buffer[160];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	if (noted == SIZE_MAX) /* another thread was quicker */
		return;
	lab_text_string(&text, "labyrinth: atomic allocation of ");
	lab_text_number(&text, noted - 1);
	lab_text_string(&text, " bytes failed; the reserve had no slot for it (LABYRINTH_RESERVE)\n");
	lab_os_write(buffer, text.length);
}
