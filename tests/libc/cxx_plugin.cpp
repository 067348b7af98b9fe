/* cxx_plugin.cpp - what cxx_local.c opens: C++ code in a process that knew nothing of C++ until then. */
#include <cstdint>
#include <new>
#include <string>

namespace
{

int calls;

void
handler()
{
	if (++calls == 2)
		std::set_new_handler(nullptr);
}

struct special : std::bad_alloc {
};

void
throwing_handler()
{
	throw special();
}

} // namespace

/* Returns NULL, or what went wrong. */
extern "C" const char *
plugin_test()
{
	const std::size_t impossible = PTRDIFF_MAX;
	void *block = ::operator new(100);

	::operator delete(block, 100);
	try {
		block = ::operator new(impossible);
		return "new returned";
	} catch (const std::bad_alloc &) {
	}
	try {
		block = ::operator new[](impossible, std::align_val_t(64));
		return "aligned new[] returned";
	} catch (const std::bad_alloc &) {
	}
	if (::operator new(impossible, std::nothrow) ||
	    ::operator new[](impossible, std::align_val_t(64), std::nothrow))
		return "nothrow new returned something";

	std::set_new_handler(handler);
	if (::operator new(impossible, std::nothrow) || calls != 2)
		return "nothrow new did not call the handler until it resigned";
	std::set_new_handler(throwing_handler);
	try {
		block = ::operator new(impossible);
		return "new returned, with a handler";
	} catch (const special &) {
	}
	if (::operator new[](impossible, std::nothrow))
		return "nothrow new[] returned something, with a handler";
	std::set_new_handler(nullptr);
	return nullptr;
}

/* A block that outlives the plugin. */
extern "C" void *
plugin_block()
{
	return ::operator new(1000);
}
