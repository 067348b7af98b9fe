/* cmd_profile.h - the sub-command `labyrinth profile`. */
#ifndef LAB_TOOL_PROFILE_CMD_PROFILE_H
#define LAB_TOOL_PROFILE_CMD_PROFILE_H

/* argv[0] is "labyrinth profile". The result is an exit code: 0; 1 if the file cannot be read, or the picture not be
 * written; 2 for wrong arguments. */
int cmd_profile(int argc, char **argv);

#endif
