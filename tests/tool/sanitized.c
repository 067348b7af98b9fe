/* sanitized.c - a library that needs what libraries with a sanitizer need, for sanitized_user.c. */
int tool_sanitizer(void);
int tool_sanitized(void);

int
tool_sanitized(void)
{
	return tool_sanitizer();
}
