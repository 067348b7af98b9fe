/* lone.c - one call is all that this program has of the library, and it is served. CALL is that call: see
 * install.py. */
#include <labyrinth/labyrinth.h>
#include <stdlib.h>
#include <string.h>

int
main(void)
{
	return CALL ? 0 : 1;
}
