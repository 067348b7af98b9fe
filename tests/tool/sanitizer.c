/* sanitizer.c - a library with the name of AddressSanitizer's, for sanitized.c. */
int tool_sanitizer(void);

int
tool_sanitizer(void)
{
	return 1;
}
