/*
 * cxx_local.c - a C program opens a C++ library with RTLD_LOCAL: libstdc++ is then in nobody's scope but the library's,
 * and operator new must find it all the same to call the new_handler and to throw. The library's path is the first
 * argument.
 */
#include "check.h"

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	if (!CHECK(argc > 1))
		return check_end();
	CHECK(dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv") == NULL); /* no C++ runtime so far */
	for (int round = 0; round < 3; round++) {
		void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
		const char *(*test)(void);
		void *(*make_block)(void);
		const char *wrong;
		void *block;

		if (!CHECK_FOR(plugin != NULL, argv[1]))
			return check_end();
		test = (const char *(*)(void))(uintptr_t)dlsym(plugin, "plugin_test");
		make_block = (void *(*)(void))(uintptr_t)dlsym(plugin, "plugin_block");
		wrong = test();
		CHECK_FOR(wrong == NULL, wrong);
		block = make_block();
		check_fill(block, 1000, 1);
		CHECK(dlclose(plugin) == 0);
		CHECK(check_filled(block, 1000, 1));
		free(block);
	}
	return check_end();
}
