/* known.h - allocators and sanitizers by the names of their libraries and symbols. */
#ifndef LAB_TOOL_KNOWN_H
#define LAB_TOOL_KNOWN_H

/* The allocator or sanitizer whose library has this name (without a path), or NULL. */
const char *allocator_of_library(const char *name);
const char *sanitizer_of_library(const char *name);

/* The one that defines this symbol, as only it does, or NULL. */
const char *allocator_of_symbol(const char *name);
const char *sanitizer_of_symbol(const char *name);

#endif
