/*
 * kinds.cpp - programs with one misuse each: misuse-kinds NAME makes the mistake NAME, goes on for a while as programs
 * do, and ends with status 0 if nobody has seen anything. Status 77: the allocator has not what it takes. Without a
 * name, the list. It knows no allocator; run.py says who sees what.
 *
 * Clauses: G9.8, G9.9.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <initializer_list>
#include <malloc.h>
#include <new>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "labyrinth/labyrinth.h"

namespace
{

constexpr size_t SMALL = 100, RUN = 100 << 10, HUGE = 20 << 20;
enum { UNUSED = 77, CAUGHT = 78 };

/* What the compiler cannot see through. */
template <typename T>
T
opaque(T value)
{
	__asm__ volatile("" : "+r"(value) : : "memory");
	return value;
}

char *
block(size_t size)
{
	return opaque(static_cast<char *>(std::malloc(size)));
}

/* The function that a library may have, by its name. */
template <typename F>
F
find(const char *name)
{
	F function = reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));

	if (!function)
		_exit(UNUSED);
	return function;
}

void
use_heap(int rounds)
{
	static void *held[200];
	unsigned seed = 1;

	for (int i = 0; i < rounds; i++) {
		seed = seed * 1664525 + 1013904223;
		void *&slot = held[seed >> 8 & 127];
		std::free(slot);
		slot = std::malloc(seed % 4 == 0 ? 16 + (seed >> 20) : 90 + (seed >> 28));
		if (slot)
			std::memset(slot, 0x11, 16);
	}
	for (void *&slot : held) {
		std::free(slot);
		slot = nullptr;
	}
}

/* Others of the size, so that no span is empty and neighbours are used. */
void
surround(size_t size)
{
	if (size > SMALL)
		return;
	for (int i = 0; i < 5; i++)
		std::memset(block(size), 0x22, size);
}

/* ---- freed twice ------------------------------------------------------------------------------------------------ */

void
free_twice(size_t size)
{
	surround(size);
	char *p = block(size), *q = opaque(p);
	std::free(p);
	std::free(q);
}

void
free_twice_with_others_between(size_t size)
{
	surround(size);
	char *p = block(size), *q = opaque(p), *other = block(size), *third = block(size);
	std::free(p);
	std::free(other);
	std::free(third);
	std::free(q);
}

void
free_twice_long_after(size_t size)
{
	surround(size);
	char *p = block(size), *q = opaque(p);
	std::free(p);
	for (int i = 0; i < 20000; i++) { /* of another size: nobody else gets the block */
		char *other = block(1000);
		std::free(other);
	}
	std::free(q);
}

/* It was somebody else's meanwhile, perhaps, who frees it in good faith. */
void
free_of_new_owner(size_t size)
{
	surround(size);
	char *p = block(size), *stale = opaque(p);
	std::free(p);
	char *owner = block(size);
	std::free(stale);
	std::free(owner);
}

void *
free_it(void *p)
{
	std::free(p);
	return nullptr;
}

void
free_in_two_threads(size_t size)
{
	pthread_t thread;

	surround(size);
	char *p = block(size), *q = opaque(p);
	std::free(p);
	char *other = block(size + 300);
	std::free(other);
	pthread_create(&thread, nullptr, free_it, q);
	pthread_join(thread, nullptr);
	use_heap(20000);
}

void
free_again_in_child(size_t size)
{
	int status = 0;

	surround(size);
	char *p = block(size), *other = block(size), *q = opaque(p);
	std::free(p);
	std::free(other);
	pid_t child = fork();
	if (child == 0) {
		std::free(q);
		use_heap(3000);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status))
		kill(getpid(), WTERMSIG(status));
}

/* ---- freed, and no block ---------------------------------------------------------------------------------------- */

void
free_interior(size_t size)
{
	surround(size);
	char *p = block(size);
	std::free(p + (size > SMALL ? 8192 : 16));
}

void
free_stack(size_t)
{
	alignas(16) char local[64] = "";

	std::free(opaque(local));
}

void
free_static(size_t)
{
	alignas(16) static char object[64];

	std::free(opaque(object + 16));
}

void
free_misaligned(size_t size)
{
	std::free(block(size) + 1);
}

/* A pointer that nobody has set: whatever was in the block before. */
void
free_uninitialised(size_t)
{
	struct node {
		char name[24];
		void *next;
	};
	for (int i = 0; i < 10; i++) {
		node *old = reinterpret_cast<node *>(block(sizeof *old));
		old->next = opaque(&free_uninitialised) ? reinterpret_cast<char *>(old) + 8 : nullptr;
		std::free(old);
	}
	node *fresh = reinterpret_cast<node *>(block(sizeof *fresh));
	std::free(opaque(fresh->next));
}

/* ---- written, or read, where nothing is ------------------------------------------------------------------------- */

void
write_one_behind(size_t size)
{
	surround(size);
	char *p = block(size);
	surround(size);
	opaque(p)[size] = 0; /* the NUL of a string, mostly */
	std::free(p);
}

/* Of sizes that are an allocator's own, too. */
void
write_one_behind_full(size_t)
{
	surround(64);
	char *p = block(64);
	opaque(p)[64] = 1;
	std::free(p);
}

void
write_before(size_t size)
{
	surround(size);
	char *p = block(size);
	opaque(p)[-1] = 7;
	std::free(p);
}

void
write_far_behind(size_t size)
{
	char *blocks[20];

	for (char *&p : blocks)
		p = block(size);
	std::memset(opaque(blocks[10]), 0x41, size + 300);
	for (char *p : blocks)
		std::free(p);
}

void
read_behind(size_t size)
{
	char *p = block(size);
	volatile char sum = 0;

	for (size_t i = 0; i < 64; i++)
		sum = static_cast<char>(sum + opaque(p)[size + i]);
	std::free(p);
}

void
write_behind_large(size_t size)
{
	char *p = block(size);

	std::memset(opaque(p) + size, 0, 8000);
	std::free(p);
}

void
overflow_in_realloc(size_t size)
{
	char *p = block(size), *q;

	q = opaque(static_cast<char *>(std::realloc(p, size + 77)));
	q[size + 77] = 1;
	q = opaque(static_cast<char *>(std::realloc(q, 3 * size)));
	std::free(q);
}

/* ---- used after it was freed ------------------------------------------------------------------------------------ */

void
write_freed(size_t size)
{
	surround(size);
	char *p = block(size), *q = opaque(p);
	std::free(p);
	std::memset(q + size / 2, 0x33, 8);
}

/* As the member of a list, at its start. */
void
write_freed_start(size_t size)
{
	surround(size);
	char *p = block(size), *q = opaque(p), *other = block(size);
	std::free(p);
	std::memcpy(q, &other, sizeof other);
	std::free(other);
}

void
read_freed(size_t size)
{
	char *p = block(size), *q = opaque(p);
	volatile char got;

	std::memset(p, 1, size);
	std::free(p);
	got = q[size / 2];
	(void)got;
}

void
realloc_freed(size_t size)
{
	surround(size);
	char *p = block(size), *q = opaque(p), *other = block(size);
	std::free(p);
	std::free(other);
	q = opaque(static_cast<char *>(std::realloc(q, 2 * size)));
}

void
realloc_interior(size_t size)
{
	char *p = block(size);

	p = opaque(static_cast<char *>(std::realloc(p + 16, 2 * size)));
}

void
size_of_freed(size_t size)
{
	surround(size);
	char *p = block(size), *q = opaque(p), *other = block(size);
	std::free(p);
	std::free(other);
	(void)opaque(malloc_usable_size(q));
}

/* ---- freed by another function than belongs to it --------------------------------------------------------------- */

void
free_of_new(size_t size)
{
	std::free(opaque(::operator new(size)));
}

void
delete_of_malloc(size_t size)
{
	::operator delete(block(size));
}

void
delete_of_new_array(size_t size)
{
	::operator delete(opaque(::operator new[](size)));
}

void
delete_array_of_new(size_t size)
{
	::operator delete[](opaque(::operator new(size)));
}

void
delete_with_wrong_size(size_t size)
{
	::operator delete(opaque(::operator new(size)), size + 60);
}

void
delete_with_smaller_size(size_t size)
{
	::operator delete(opaque(::operator new(size)), size / 2);
}

void
free_of_aligned_new(size_t size)
{
	std::free(opaque(::operator new(size, std::align_val_t(64))));
}

void
free_with_wrong_size(size_t size)
{
	find<void (*)(void *, size_t)>("free_sized")(block(size), 5 * size);
}

/* ---- others ----------------------------------------------------------------------------------------------------- */

void
leak(size_t size)
{
	for (int i = 0; i < 3; i++)
		std::memset(block(size), 1, size);
}

void
overflow_in_calloc(size_t)
{
	if (!opaque(std::calloc(opaque(SIZE_MAX / 2), 3)))
		_exit(CAUGHT);
}

typedef void *alloc_function(size_t size, unsigned gfp);
constexpr unsigned ATOMIC = 0x12, EXCLUSIVE = 0x100;

void
free_slot_twice(size_t size)
{
	void *p = find<alloc_function *>("lab_alloc")(size, ATOMIC), *q = opaque(p);

	std::free(p);
	std::free(q);
}

void
free_inside_slot(size_t size)
{
	std::free(static_cast<char *>(find<alloc_function *>("lab_alloc")(size, ATOMIC)) + 16);
}

void
free_object_twice(size_t size)
{
	auto create = find<void *(*)(const char *, size_t, size_t, void (*)(void *))>("lab_cache_create");
	auto alloc = find<void *(*)(void *, unsigned)>("lab_cache_alloc");
	auto release = find<void (*)(void *, void *)>("lab_cache_free");
	void *cache = create("things", size, 0, nullptr), *beside = alloc(cache, 0), *p = alloc(cache, 0);

	(void)opaque(beside);
	release(cache, p);
	release(cache, opaque(p));
}

void
free_foreign_exclusive(size_t size)
{
	pthread_t thread;
	void *p = find<alloc_function *>("lab_alloc")(size, EXCLUSIVE);

	pthread_create(&thread, nullptr, free_it, p);
	pthread_join(thread, nullptr);
}

struct kind {
	const char *name;
	void (*make)(size_t size);
	size_t size;
	bool ours; /* only Labyrinth has what it takes */
};

/* No free comes to it: it is found when the program ends. */
void
write_behind_kept(size_t size)
{
	static char *volatile kept;

	kept = block(size);
	kept[size] = 0x55;
}

void
check_by_call(size_t size)
{
	auto check = find<void (*)(const void *)>("lab_check");
	char *p = block(size);

	check(nullptr);
	opaque(p)[size] = 1;
	check(nullptr);
	_exit(0);
}

/* The text is there, and so is the heap. */
void
be_told(const lab_misuse *misuse)
{
	void *p = std::malloc(100);
	bool right = p && std::strcmp(misuse->call, "free") == 0 && misuse->frames > 0 && misuse->thread == gettid() &&
	             std::strstr(misuse->text, misuse->reason);

	std::free(p);
	_exit(right ? CAUGHT : 0);
}

void
tell_the_program(size_t size)
{
	find<void (*)(lab_misuse_callback *)>("lab_on_misuse")(be_told);
	free_interior(size);
}

/* `p`, if it is a block with an address that `alignment` divides. */
void *
aligned_block(void *p, size_t alignment)
{
	if (!p || reinterpret_cast<uintptr_t>(p) % alignment != 0)
		std::abort();
	return std::memset(p, 0x33, 16);
}

/* Right use, of what looks at blocks in a way of its own: nothing of it may be reported. */
void
use_pages()
{
	using allocate = void *(*)(size_t, unsigned);
	using allocate_pages = void *(*)(unsigned, unsigned);
	allocate_pages pages = reinterpret_cast<allocate_pages>(dlsym(RTLD_DEFAULT, "lab_alloc_pages"));

	if (!pages) /* another allocator */
		return;
	auto free_pages = find<void (*)(void *, unsigned)>("lab_free_pages");
	auto get = find<bool (*)(void *)>("lab_page_get"), put = find<bool (*)(void *)>("lab_page_put");
	auto put_order = find<bool (*)(void *, unsigned)>("lab_page_put_order");
	auto split = find<bool (*)(void *, unsigned)>("lab_page_split");
	auto sure = find<allocate>("lab_alloc");

	for (unsigned order = 0; order <= LAB_ORDER_MAX_ALLOC; order++)
		free_pages(aligned_block(pages(LAB_GFP_KERNEL, order), size_t{4096} << order), order);
	char *held = static_cast<char *>(aligned_block(pages(LAB_GFP_KERNEL, 2), 16384));
	if (!get(held) || put(held) || !put_order(held, 2))
		std::abort();
	held = static_cast<char *>(aligned_block(pages(LAB_GFP_KERNEL, 2), 16384));
	if (!split(held, 2))
		std::abort();
	for (int i = 3; i >= 0; i--)
		if (!put_order(held + size_t{4096} * i, 0))
			std::abort();
	for (size_t size : {SMALL, RUN, HUGE})
		std::free(aligned_block(sure(size, LAB_GFP_KERNEL | LAB_GFP_NOFAIL), 16));
}

void
nothing(size_t size)
{
	std::free(block(size));
	use_pages();
	for (size_t alignment = 16; alignment <= size_t{1} << 20; alignment *= 2)
		std::free(aligned_block(std::aligned_alloc(alignment, 3 * alignment), alignment));
	std::free(aligned_block(std::realloc(aligned_block(std::calloc(size, 3), 16), RUN), 16));
}

const kind kinds[] = {
        {"none", nothing, SMALL, false},
        {"double-free", free_twice, SMALL, false},
        {"double-free-run", free_twice, RUN, false},
        {"double-free-huge", free_twice, HUGE, false},
        {"double-free-others-between", free_twice_with_others_between, SMALL, false},
        {"double-free-long-after", free_twice_long_after, SMALL, false},
        {"double-free-of-new-owner", free_of_new_owner, SMALL, false},
        {"double-free-two-threads", free_in_two_threads, SMALL, false},
        {"double-free-in-child", free_again_in_child, SMALL, false},
        {"free-interior", free_interior, SMALL, false},
        {"free-interior-run", free_interior, RUN, false},
        {"free-interior-huge", free_interior, HUGE, false},
        {"free-stack", free_stack, 0, false},
        {"free-static", free_static, 0, false},
        {"free-misaligned", free_misaligned, SMALL, false},
        {"free-uninitialised", free_uninitialised, 0, false},
        {"write-one-behind", write_one_behind, SMALL, false},
        {"write-one-behind-full", write_one_behind_full, 64, false},
        {"write-one-behind-run", write_one_behind, RUN - 3, false},
        {"write-one-behind-huge", write_one_behind, HUGE - 3, false},
        {"write-one-behind-realloc", overflow_in_realloc, SMALL, false},
        {"write-before", write_before, SMALL, false},
        {"write-before-run", write_before, RUN, false},
        {"write-far-behind", write_far_behind, SMALL, false},
        {"write-far-behind-run", write_behind_large, RUN, false},
        {"write-far-behind-huge", write_behind_large, HUGE, false},
        {"read-behind-run", read_behind, RUN, false},
        {"read-behind-huge", read_behind, HUGE, false},
        {"write-freed", write_freed, SMALL, false},
        {"write-freed-start", write_freed_start, SMALL, false},
        {"write-freed-run", write_freed, RUN, false},
        {"write-freed-huge", write_freed, HUGE, false},
        {"read-freed-run", read_freed, RUN, false},
        {"realloc-freed", realloc_freed, SMALL, false},
        {"realloc-interior", realloc_interior, SMALL, false},
        {"size-of-freed", size_of_freed, SMALL, false},
        {"free-of-new", free_of_new, SMALL, false},
        {"delete-of-malloc", delete_of_malloc, SMALL, false},
        {"delete-of-new-array", delete_of_new_array, SMALL, false},
        {"delete-array-of-new", delete_array_of_new, SMALL, false},
        {"delete-larger-size", delete_with_wrong_size, SMALL, false},
        {"delete-smaller-size", delete_with_smaller_size, SMALL, false},
        {"free-of-aligned-new", free_of_aligned_new, SMALL, false},
        {"leak", leak, 4321, false},
        {"calloc-overflow", overflow_in_calloc, 0, false},
        {"free-wrong-size", free_with_wrong_size, SMALL, true},
        {"double-free-slot", free_slot_twice, 200, true},
        {"free-interior-slot", free_inside_slot, 200, true},
        {"double-free-object", free_object_twice, SMALL, true},
        {"told", tell_the_program, SMALL, true},
        {"write-one-behind-check", check_by_call, SMALL, true},
        {"write-one-behind-kept", write_behind_kept, SMALL - 3, true},
        {"free-foreign-exclusive", free_foreign_exclusive, 10000, true},
};

} /* namespace */

int
main(int argc, char **argv)
{
	const struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	for (const kind &k : kinds) {
		if (argc < 2)
			std::printf("%s%s\n", k.name, k.ours ? " ours" : "");
		else if (std::strcmp(argv[1], k.name) == 0) {
			use_heap(100);
			k.make(k.size);
			use_heap(argc > 2 ? std::atoi(argv[2]) : 40000);
			return 0;
		}
	}
	return argc < 2 ? 0 : 2;
}
