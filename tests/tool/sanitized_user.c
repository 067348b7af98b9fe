/* sanitized_user.c - a program without a sanitizer, whose library has one: see tool.py, doctor. */
int tool_sanitized(void);

int
main(void)
{
	return tool_sanitized() - 1;
}
