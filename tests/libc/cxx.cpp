/*
 * cxx.cpp - every operator new and delete: what they return, the new_handler's loop, std::bad_alloc, nothrow,
 * alignment. They are called by name, since a compiler may leave out a new-expression with its delete.
 *
 * Clauses: G1.1.
 */
#include "check.h"

#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

namespace
{

using std::align_val_t;
using std::nothrow;

const std::size_t impossible[] = {
        (std::size_t)1 << 47,
        (std::size_t)PTRDIFF_MAX - 4096,
        (std::size_t)PTRDIFF_MAX,
        (std::size_t)PTRDIFF_MAX + 1,
        SIZE_MAX - 4095,
        SIZE_MAX - 15,
        SIZE_MAX,
};

/* Each form, brought to one signature. Those without an alignment ignore it. */
struct form {
	const char *name;
	void *(*allocate)(std::size_t, align_val_t);
	void (*release)(void *, std::size_t, align_val_t);
	bool throws;
	bool aligned;
};

const form forms[] = {
        {"new", [](std::size_t n, align_val_t) { return ::operator new(n); },
         [](void *p, std::size_t, align_val_t) { ::operator delete(p); }, true, false},
        {"new, sized delete", [](std::size_t n, align_val_t) { return ::operator new(n); },
         [](void *p, std::size_t n, align_val_t) { ::operator delete(p, n); }, true, false},
        {"new[]", [](std::size_t n, align_val_t) { return ::operator new[](n); },
         [](void *p, std::size_t, align_val_t) { ::operator delete[](p); }, true, false},
        {"new[], sized delete", [](std::size_t n, align_val_t) { return ::operator new[](n); },
         [](void *p, std::size_t n, align_val_t) { ::operator delete[](p, n); }, true, false},
        {"new nothrow", [](std::size_t n, align_val_t) { return ::operator new(n, nothrow); },
         [](void *p, std::size_t, align_val_t) { ::operator delete(p, nothrow); }, false, false},
        {"new[] nothrow", [](std::size_t n, align_val_t) { return ::operator new[](n, nothrow); },
         [](void *p, std::size_t, align_val_t) { ::operator delete[](p, nothrow); }, false, false},
        {"aligned new", [](std::size_t n, align_val_t a) { return ::operator new(n, a); },
         [](void *p, std::size_t, align_val_t a) { ::operator delete(p, a); }, true, true},
        {"aligned new, sized delete", [](std::size_t n, align_val_t a) { return ::operator new(n, a); },
         [](void *p, std::size_t n, align_val_t a) { ::operator delete(p, n, a); }, true, true},
        {"aligned new[]", [](std::size_t n, align_val_t a) { return ::operator new[](n, a); },
         [](void *p, std::size_t, align_val_t a) { ::operator delete[](p, a); }, true, true},
        {"aligned new[], sized delete", [](std::size_t n, align_val_t a) { return ::operator new[](n, a); },
         [](void *p, std::size_t n, align_val_t a) { ::operator delete[](p, n, a); }, true, true},
        {"aligned new nothrow", [](std::size_t n, align_val_t a) { return ::operator new(n, a, nothrow); },
         [](void *p, std::size_t, align_val_t a) { ::operator delete(p, a, nothrow); }, false, true},
        {"aligned new[] nothrow", [](std::size_t n, align_val_t a) { return ::operator new[](n, a, nothrow); },
         [](void *p, std::size_t, align_val_t a) { ::operator delete[](p, a, nothrow); }, false, true},
};

enum outcome { MEMORY, NOTHING, BAD_ALLOC, OTHER };

/* What a call of the form ends with. */
outcome
outcome_of(const form &f, std::size_t size, align_val_t alignment = align_val_t(64))
{
	try {
		void *block = f.allocate(size, alignment);

		if (!block)
			return NOTHING;
		f.release(block, size, alignment);
		return MEMORY;
	} catch (const std::bad_alloc &) {
		return BAD_ALLOC;
	} catch (...) {
		return OTHER;
	}
}

/* How a form that cannot have memory ends. */
outcome
failure_of(const form &f)
{
	return f.throws ? BAD_ALLOC : NOTHING;
}

/* ---- success --------------------------------------------------------------------------------------------------- */

void
test_success()
{
	for (const form &f : forms)
		for (std::size_t size = 0; size < (std::size_t)8 << 20; size = size * 5 / 2 + 1)
			for (std::size_t alignment = 1; alignment <= (f.aligned ? 1u << 21 : 1u); alignment *= 8) {
				void *block = f.allocate(size, align_val_t(alignment));
				void *other = f.allocate(size, align_val_t(alignment));

				CHECK_FOR(block && other && block != other, f.name);
				CHECK_FOR(check_aligned(block, alignment), f.name);
				CHECK_FOR(f.aligned || check_aligned(block, 16), f.name);
				check_fill(block, size, 1);
				check_fill(other, size, 2);
				CHECK_FOR(check_filled(block, size, 1), f.name);
				f.release(block, size, align_val_t(alignment));
				f.release(other, size, align_val_t(alignment));
			}
}

void
test_delete_null()
{
	for (const form &f : forms)
		f.release(nullptr, 10, align_val_t(64));
	CHECK(true);
}

/* What the language makes of the operators: over-aligned types, arrays, containers, exceptions, thread_local. */
struct alignas(256) wide {
	std::string text;
};

struct unlucky {
	std::string text = std::string(1000, 'x');

	unlucky()
	{
		throw std::runtime_error(std::string(500, 'y'));
	}
};

void
test_language()
{
	std::map<int, std::unique_ptr<wide>> wides;
	std::vector<std::string> strings;

	for (int i = 0; i < 1000; i++) {
		wides[i].reset(new wide{std::string((std::size_t)i, 'a')});
		CHECK(check_aligned(wides[i].get(), 256));
		strings.push_back(std::to_string(i) + std::string(100, 'b'));
	}
	CHECK(wides[999]->text.size() == 999 && strings[77] == "77" + std::string(100, 'b'));
	for (int i = 0; i < 100; i++)
		try {
			std::unique_ptr<unlucky[]> never(new unlucky[3]);

			CHECK(!"a constructor threw");
		} catch (const std::runtime_error &e) {
			CHECK(std::string(e.what()).size() == 500);
		}
}

thread_local std::vector<std::string> of_thread;

void
test_thread_local()
{
	for (int i = 0; i < 20; i++)
		std::thread([] {
			for (int j = 0; j < 100; j++)
				of_thread.push_back(std::string((std::size_t)j * 20, 'c'));
		}).join();
	of_thread.assign(10, std::string(300, 'd')); /* the main thread's is destroyed in exit */
}

/* ---- failure --------------------------------------------------------------------------------------------------- */

void
test_failure()
{
	for (const form &f : forms)
		for (std::size_t size : impossible) {
			if (check_glibc && f.aligned && size > (std::size_t)PTRDIFF_MAX)
				continue; /* libstdc++ 12 rounds up, wraps around, and returns a small block */
			CHECK_FOR(outcome_of(f, size) == failure_of(f), f.name);
			CHECK_FOR(outcome_of(f, 100) == MEMORY, f.name);
		}
}

void
test_bad_alignment()
{
	for (const form &f : forms)
		if (f.aligned)
			for (std::size_t alignment :
			     {(std::size_t)0, (std::size_t)3, (std::size_t)24, (std::size_t)1000, SIZE_MAX})
				CHECK_FOR(outcome_of(f, 100, align_val_t(alignment)) == failure_of(f), f.name);
}

/* ---- the new_handler ------------------------------------------------------------------------------------------- */

int calls;

struct special_bad_alloc : std::bad_alloc {
	const char *
	what() const noexcept override
	{
		return "special";
	}
};

/* The handler is called until it gives up its place: then the failure is final. */
void
handler_that_resigns()
{
	if (++calls == 3)
		std::set_new_handler(nullptr);
}

void
handler_that_throws()
{
	calls++;
	throw special_bad_alloc();
}

void
handler_that_throws_a_number()
{
	calls++;
	throw 42;
}

void
test_handler_resigns()
{
	for (const form &f : forms) {
		calls = 0;
		std::set_new_handler(handler_that_resigns);
		CHECK_FOR(outcome_of(f, PTRDIFF_MAX) == failure_of(f), f.name);
		CHECK_FOR(calls == 3, f.name);
		CHECK(std::get_new_handler() == nullptr);
	}
}

/* What the handler throws comes out of the throwing forms as it is, and out of no nothrow form. */
void
test_handler_throws()
{
	for (const form &f : forms) {
		bool special = false;

		calls = 0;
		std::set_new_handler(handler_that_throws);
		try {
			CHECK_FOR(f.allocate(PTRDIFF_MAX, align_val_t(64)) == nullptr, f.name);
		} catch (const special_bad_alloc &e) {
			special = std::string(e.what()) == "special";
		}
		CHECK_FOR(special == f.throws, f.name);
		CHECK_FOR(calls == 1, f.name);

		calls = 0;
		std::set_new_handler(handler_that_throws_a_number);
		CHECK_FOR(outcome_of(f, PTRDIFF_MAX) == (f.throws ? OTHER : NOTHING), f.name);
		CHECK_FOR(calls == 1, f.name);
	}
	std::set_new_handler(nullptr);
}

/* A bad alignment is no lack of memory: the handler is not asked. */
void
test_handler_and_bad_alignment()
{
	for (const form &f : forms)
		if (f.aligned) {
			calls = 0;
			std::set_new_handler(handler_that_throws_a_number);
			CHECK_FOR(outcome_of(f, 100, align_val_t(24)) == failure_of(f), f.name);
			CHECK_FOR(calls == 0, f.name);
		}
	std::set_new_handler(nullptr);
}

rlimit before;

void
handler_that_makes_room()
{
	calls++;
	setrlimit(RLIMIT_DATA, &before);
}

/* The handler finds memory: the operator then returns it. Each block is larger than all before: none can be one kept
 * for reuse. */
void
test_handler_makes_room()
{
	std::size_t size = (std::size_t)512 << 20;

	getrlimit(RLIMIT_DATA, &before);
	for (const form &f : forms) {
		rlimit tight = {(rlim_t)16 << 20, before.rlim_max};

		calls = 0;
		std::set_new_handler(handler_that_makes_room);
		setrlimit(RLIMIT_DATA, &tight);
		CHECK_FOR(outcome_of(f, size += (std::size_t)32 << 20) == MEMORY, f.name);
		setrlimit(RLIMIT_DATA, &before);
		CHECK_FOR(calls == 1, f.name);
	}
	std::set_new_handler(nullptr);
}

} // namespace

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	CHECK(check_is_ours("_Znwm") != check_glibc && check_is_ours("_ZdlPvm") != check_glibc);
	test_success();
	test_delete_null();
	test_language();
	test_thread_local();
	test_failure();
	test_bad_alignment();
	test_handler_resigns();
	test_handler_throws();
	test_handler_and_bad_alignment();
	test_handler_makes_room();
	return check_end();
}
