/*
 * cxx_replaced.cpp - a program that replaces some operators only. C++ says what the others do then: they call the
 * replaced ones. Ours must too, or blocks with the program's header in front would reach our free, and the other way
 * round.
 */
#include "check.h"

#include <new>
#include <string>
#include <vector>

namespace
{

enum { HEADER = 64 };
int news, deletes, aligned_news, aligned_deletes;

void *
with_header(std::size_t size, std::size_t header)
{
	char *block = size < (std::size_t)1 << 40
	                      ? (char *)aligned_alloc(header, (size + 2 * header - 1) / header * header)
	                      : nullptr;

	if (!block)
		throw std::bad_alloc();
	memset(block, 0x77, header);
	return block + header;
}

void
without_header(void *block, std::size_t header)
{
	if (!block)
		return;
	for (std::size_t i = 1; i <= header; i++)
		CHECK(((char *)block)[-(std::ptrdiff_t)i] == 0x77);
	free((char *)block - header);
}

} // namespace

/* The compiler knows one pair only of new and delete, and warns that the sized ones are not here. That is the point. */
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wsized-deallocation"

void *
operator new(std::size_t size)
{
	news++;
	return with_header(size, HEADER);
}

void
operator delete(void *block) noexcept
{
	deletes++;
	without_header(block, HEADER);
}

void *
operator new(std::size_t size, std::align_val_t alignment)
{
	aligned_news++;
	return with_header(size, (std::size_t)alignment);
}

void
operator delete(void *block, std::align_val_t alignment) noexcept
{
	aligned_deletes++;
	without_header(block, (std::size_t)alignment);
}

namespace
{

/* Each of these forms goes through the four above exactly once. */
void
test_plain()
{
	const std::size_t size = 100;

	news = deletes = 0;
	::operator delete(::operator new(size), size);
	::operator delete(::operator new(size, std::nothrow), std::nothrow);
	::operator delete[](::operator new[](size));
	::operator delete[](::operator new[](size), size);
	::operator delete[](::operator new[](size, std::nothrow), std::nothrow);
	::operator delete[](::operator new[](size, std::nothrow));
	CHECK(news == 6);
	CHECK(deletes == 6);
}

void
test_aligned()
{
	const std::size_t size = 1000;
	const std::align_val_t alignment = std::align_val_t(128);

	aligned_news = aligned_deletes = 0;
	::operator delete(::operator new(size, alignment), size, alignment);
	::operator delete(::operator new(size, alignment, std::nothrow), alignment, std::nothrow);
	::operator delete[](::operator new[](size, alignment), alignment);
	::operator delete[](::operator new[](size, alignment), size, alignment);
	::operator delete[](::operator new[](size, alignment, std::nothrow), alignment, std::nothrow);
	CHECK(aligned_news == 5);
	CHECK(aligned_deletes == 5);
}

/* What the replaced form throws is caught by the nothrow form that is made of it. */
void
test_nothrow()
{
	CHECK(::operator new(SIZE_MAX, std::nothrow) == nullptr);
	CHECK(::operator new[](SIZE_MAX, std::nothrow) == nullptr);
	CHECK(::operator new(SIZE_MAX, std::align_val_t(64), std::nothrow) == nullptr);
	CHECK(::operator new[](SIZE_MAX, std::align_val_t(64), std::nothrow) == nullptr);
}

/* Blocks that libstdc++ itself made go through the replaced forms as well. */
void
test_library()
{
	std::vector<std::string> strings;

	news = deletes = 0;
	for (int i = 0; i < 100; i++)
		strings.push_back(std::string(200, 'x') + std::to_string(i));
	strings.clear();
	strings.shrink_to_fit();
	CHECK(news > 100 && news == deletes);
}

} // namespace

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	test_plain();
	test_aligned();
	test_nothrow();
	test_library();
	return check_end();
}
