/* main.c - the sub-command `labyrinth profile` as a program of its own. */
#include "cmd_profile.h"

int
main(int argc, char **argv)
{
	return cmd_profile(argc, argv);
}
