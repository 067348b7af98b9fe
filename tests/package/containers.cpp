// containers.cpp - labyrinth.hpp with real containers: whose memory they have, how they move, how they fail. See
// cpp.py.
#include <labyrinth/labyrinth.hpp>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			std::fprintf(stderr, "containers.cpp:%d: failed: %s\n", __LINE__, #condition);                 \
			std::exit(1);                                                                                  \
		}                                                                                                      \
	} while (0)

template <typename T>
using kernel = labyrinth::allocator<T>;
template <typename T>
using atomic = labyrinth::atomic_allocator<T>;

struct alignas(64) line {
	char bytes[64];
};

static std::size_t
reserve_used()
{
	struct lab_reserve_info info;

	lab_reserve_info(&info);
	return info.used;
}

/* Each container grows, shrinks and ends; nothing of it is left. */
template <template <typename> class A>
static void
fill()
{
	std::vector<int, A<int>> numbers;
	std::deque<long, A<long>> queue;
	std::list<short, A<short>> list;
	std::map<int, int, std::less<int>, A<std::pair<const int, int>>> map;
	std::unordered_map<int, int, std::hash<int>, std::equal_to<int>, A<std::pair<const int, int>>> table;
	std::basic_string<char, std::char_traits<char>, A<char>> text;
	std::vector<line, A<line>> lines;

	for (int i = 0; i < 20; i++) {
		numbers.push_back(i);
		queue.push_front(i);
		list.push_back(static_cast<short>(i));
		map[i] = table[i] = i * i;
		text += "some text";
		lines.emplace_back();
		REQUIRE(reinterpret_cast<std::uintptr_t>(lines.data()) % alignof(line) == 0);
	}
	REQUIRE(lab_owns(numbers.data()) && lab_owns(text.data()) && lab_owns(lines.data()) &&
	        lab_owns(&list.front() - 8));
	auto *place = numbers.data();
	auto moved = std::move(numbers);
	REQUIRE(moved.data() == place && moved[19] == 19 && map.at(19) == 361 && table.at(9) == 81 &&
	        queue.back() == 0);
	std::vector<int, A<int>> assigned(3);
	assigned = std::move(moved);
	REQUIRE(assigned.data() == place);
}

static void
check_allocators()
{
	std::size_t before = reserve_used();

	fill<kernel>();
	REQUIRE(reserve_used() == before);
	{
		std::vector<int, atomic<int>> numbers(100);
		REQUIRE(reserve_used() > before);
	}
	fill<atomic>();
	REQUIRE(reserve_used() == before);
	static_assert(std::is_nothrow_move_assignable<std::vector<int, kernel<int>>>::value, "moves do not allocate");
	static_assert(std::allocator_traits<atomic<int>>::is_always_equal::value, "stateless");
	static_assert(std::is_empty<kernel<int>>::value, "no bytes in a container");
	REQUIRE(kernel<int>() == kernel<int>() && !(kernel<int>() != kernel<int>(kernel<long>())));
}

static int handler_calls;

static void
handle_no_memory()
{
	if (++handler_calls == 3)
		std::set_new_handler(nullptr);
}

/* What is thrown, and how often the new_handler was asked before. */
template <typename Exception, typename Allocate>
static void
require_failure(Allocate allocate, int calls)
{
	bool caught = false;

	handler_calls = 0;
	std::set_new_handler(handle_no_memory);
	try {
		allocate();
	} catch (const Exception &) {
		caught = true;
	}
	std::set_new_handler(nullptr);
	REQUIRE(caught && handler_calls == calls);
}

static void
check_failure()
{
	const std::size_t too_large = LAB_SIZE_MAX / sizeof(long);

	require_failure<std::bad_alloc>([=] { (void)kernel<long>().allocate(too_large); }, 3);
	require_failure<std::bad_alloc>([=] { (void)atomic<long>().allocate(1 << 20); }, 0);
	require_failure<std::bad_alloc>([=] { (void)labyrinth::nowait_allocator<long>().allocate(too_large); }, 0);
	require_failure<std::bad_array_new_length>([=] { (void)kernel<long>().allocate(too_large + 1); }, 0);

	/* A container that does not grow stays as it was. */
	std::vector<long, atomic<long>> numbers(10, 7);
	require_failure<std::bad_alloc>([&] { numbers.resize(1 << 20); }, 0);
	REQUIRE(numbers.size() == 10 && numbers[9] == 7);
}

#if defined(LABYRINTH_HAS_MEMORY_RESOURCE)
static std::pmr::memory_resource *const found_at_start = labyrinth::atomic_resource();

struct late {
	~late()
	{
		std::pmr::vector<int> numbers(50, 1, labyrinth::atomic_resource());
		REQUIRE(lab_owns(numbers.data()));
	}
} destroyed_last;

static void
handle_signal(int)
{
	std::pmr::vector<int> numbers(labyrinth::resource<LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC>());
	numbers.assign(100, 1);
	REQUIRE(lab_owns(numbers.data()));
}

static void
check_resource(std::pmr::memory_resource *resource, bool from_reserve)
{
	std::size_t before = reserve_used();
	{
		std::pmr::map<int, std::pmr::string> map(resource);
		for (int i = 0; i < 20; i++)
			map.emplace(i, "a string that is too long to lie in the object itself");
		REQUIRE(map.at(7).get_allocator().resource() == resource);
		REQUIRE((reserve_used() > before) == from_reserve);
		std::pmr::vector<line> lines(5, resource);
		REQUIRE(reinterpret_cast<std::uintptr_t>(lines.data()) % alignof(line) == 0 && lab_owns(lines.data()));
		void *large = resource->allocate(1 << 15, 4096);
		REQUIRE(reinterpret_cast<std::uintptr_t>(large) % 4096 == 0);
		resource->deallocate(large, 1 << 15, 4096);
		std::pmr::monotonic_buffer_resource buffer(resource);
		std::pmr::list<int> list(20, 3, &buffer);
		REQUIRE(list.size() == 20);
	}
	REQUIRE(reserve_used() == before);
}

static void
check_resources()
{
	REQUIRE(found_at_start == labyrinth::atomic_resource() && *found_at_start == *labyrinth::atomic_resource());
	REQUIRE(!labyrinth::kernel_resource()->is_equal(*labyrinth::atomic_resource()));
	check_resource(labyrinth::kernel_resource(), false);
	check_resource(labyrinth::nowait_resource(), false);
	check_resource(labyrinth::atomic_resource(), true);
	check_resource(labyrinth::exclusive_resource(), false);
	check_resource(labyrinth::locked_resource(), false);

	/* Secrets do not take over memory that others share. */
	std::pmr::vector<char> secret(labyrinth::exclusive_resource()), open(100, 'x', labyrinth::kernel_resource());
	auto *place = open.data();
	secret = std::move(open);
	REQUIRE(secret.data() != place && secret[99] == 'x');

	require_failure<std::bad_alloc>([] { (void)labyrinth::atomic_resource()->allocate(1 << 20); }, 0);
	require_failure<std::bad_alloc>([] { (void)labyrinth::kernel_resource()->allocate(LAB_SIZE_MAX); }, 3);
	labyrinth::memory_resource own(LAB_GFP_KERNEL | LAB_GFP_ZERO);
	char *zeroed = static_cast<char *>(own.allocate(100));
	REQUIRE(own.gfp() == LAB_GFP_ZERO && zeroed[99] == 0);
	own.deallocate(zeroed, 100);

	std::signal(SIGUSR1, handle_signal);
	std::raise(SIGUSR1);
}
#else
static void
check_resources()
{
}
#endif

int
main()
{
	/* nowait draws on what the heap holds */
	for (int size = 16; size <= 1 << 16; size += size / 4)
		lab_free(lab_malloc(static_cast<std::size_t>(size)));
	void *kept = lab_malloc(1 << 16);

	check_allocators();
	check_failure();
	check_resources();
	lab_free(kept);
	return 0;
}
