/* deep_library.c - what deep_plugin.c finds by its RUNPATH and no one else does. */
extern const char *deep_library_name(void);

const char *
deep_library_name(void)
{
	return "deep library";
}
