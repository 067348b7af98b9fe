/* library.h - where liblabyrinth.so is: beside this tool, as it was built or installed. */
#ifndef LAB_TOOL_LIBRARY_H
#define LAB_TOOL_LIBRARY_H

/* Its absolute path, or NULL: it is nowhere. To be freed. */
char *library_find(void);

#endif
