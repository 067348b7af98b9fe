// operators.cpp - a C++ program linked with the drop-in: new and the containers use Labyrinth, and failure throws.
#include <labyrinth/labyrinth.h>
#include <memory>
#include <new>
#include <vector>

int
main()
{
	auto value = std::make_unique<int>(7);
	std::vector<int> many(100000, 1);
	volatile std::size_t too_large = LAB_SIZE_MAX;

	if (!lab_owns(value.get()) || !lab_owns(many.data()))
		return 1;
	try {
		char *block = static_cast<char *>(::operator new(too_large));
		return block ? 2 : 3;
	} catch (const std::bad_alloc &) {
		return 0;
	}
}
