/*
 * labyrinth.hpp - the tiers of Labyrinth for C++ containers: an allocator for those that take one as a type, and a
 * std::pmr::memory_resource for those that take one as a value.
 *
 *   std::vector<int, labyrinth::allocator<int>> a;                                 // C++11
 *   std::pmr::vector<int> b(labyrinth::atomic_resource());                         // C++17
 *   std::map<int, int, std::less<>, labyrinth::atomic_allocator<std::pair<const int, int>>> c;
 *
 * Memory that a tier does not have is std::bad_alloc, as the standard says; a size that overflows is
 * std::bad_array_new_length. KERNEL calls the new_handler before, as operator new does; NOWAIT and ATOMIC, which may
 * not wait, do not. Without exceptions the program aborts. Nothing here that is noexcept allocates.
 *
 * Success is as async-signal-safe as lab_alloc with these flags. Failure is not: it throws. A handler that may find the
 * reserve empty reserves the capacity before, or asks lab_alloc itself.
 *
 * EXCLUSIVE memory belongs to the thread that allocated: the container is freed and grows in that thread alone.
 */
#ifndef LABYRINTH_LABYRINTH_HPP
#define LABYRINTH_LABYRINTH_HPP

#include <labyrinth/labyrinth.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <type_traits>

#if __cplusplus >= 201703L && defined(__has_include)
#if __has_include(<memory_resource>)
#include <memory_resource>
#define LABYRINTH_HAS_MEMORY_RESOURCE 1
#endif
#endif

namespace labyrinth
{

namespace detail
{

/* What malloc gives without being asked. */
constexpr std::size_t malloc_alignment = 16;

[[noreturn]] inline void
fail_bad_alloc()
{
#if defined(__cpp_exceptions)
	throw std::bad_alloc();
#else
	std::abort();
#endif
}

[[noreturn]] inline void
fail_length()
{
#if defined(__cpp_exceptions)
	throw std::bad_array_new_length();
#else
	std::abort();
#endif
}

constexpr bool
may_wait(unsigned gfp)
{
	return (gfp & (LAB_GFP_NOWAIT | (LAB_GFP_ATOMIC & ~LAB_GFP_HIGH))) == 0;
}

inline void *
allocate(std::size_t size, std::size_t alignment, unsigned gfp)
{
	for (;;) {
		void *block =
		        alignment <= malloc_alignment ? lab_alloc(size, gfp) : lab_alloc_aligned(alignment, size, gfp);
		if (block)
			return block;
		std::new_handler handler = may_wait(gfp) ? std::get_new_handler() : nullptr;
		if (!handler)
			fail_bad_alloc();
		handler();
	}
}

inline void
release(void *block, std::size_t size, std::size_t alignment) noexcept
{
	if (alignment <= malloc_alignment)
		lab_free_sized(block, size);
	else
		lab_free_aligned_sized(block, alignment, size);
}

} // namespace detail

/* Stateless: all allocators of the same flags are equal, so that moves and swaps of containers never copy elements. */
template <typename T, unsigned gfp = LAB_GFP_KERNEL>
class allocator
{
      public:
	using value_type = T;
	using size_type = std::size_t;
	using difference_type = std::ptrdiff_t;
	using is_always_equal = std::true_type;
	using propagate_on_container_move_assignment = std::true_type;
	template <typename U>
	struct rebind {
		using other = allocator<U, gfp>;
	};

	constexpr allocator() noexcept = default;
	template <typename U>
	constexpr allocator(const allocator<U, gfp> &) noexcept
	{
	}

	/* Memory for `count` elements; bad_alloc or bad_array_new_length. */
	T *
	allocate(std::size_t count)
	{
		if (count > LAB_SIZE_MAX / sizeof(T))
			detail::fail_length();
		return static_cast<T *>(detail::allocate(count * sizeof(T), alignof(T), gfp));
	}

	/* `count` as it was asked for. */
	void
	deallocate(T *block, std::size_t count) noexcept
	{
		detail::release(block, count * sizeof(T), alignof(T));
	}

	friend constexpr bool
	operator==(const allocator &, const allocator &) noexcept
	{
		return true;
	}

	friend constexpr bool
	operator!=(const allocator &, const allocator &) noexcept
	{
		return false;
	}
};

template <typename T>
using nowait_allocator = allocator<T, LAB_GFP_NOWAIT>;
template <typename T>
using atomic_allocator = allocator<T, LAB_GFP_ATOMIC>;
template <typename T>
using exclusive_allocator = allocator<T, LAB_GFP_EXCLUSIVE>;

#if defined(LABYRINTH_HAS_MEMORY_RESOURCE)

/*
 * Resources of different flags are unequal, though each could free what another gave: memory of the one tier does not
 * get into a container of the other by a move. So are two that a program makes of the same flags; resource<gfp>() is
 * always the same one.
 */
class memory_resource final : public std::pmr::memory_resource
{
      public:
	/* `gfp`: flags of lab_alloc. */
	constexpr explicit memory_resource(unsigned gfp) noexcept : flags(gfp)
	{
	}

	unsigned
	gfp() const noexcept
	{
		return flags;
	}

      private:
	void *
	do_allocate(std::size_t size, std::size_t alignment) override
	{
		return detail::allocate(size, alignment, flags);
	}

	void
	do_deallocate(void *block, std::size_t size, std::size_t alignment) noexcept override
	{
		detail::release(block, size, alignment);
	}

	bool
	do_is_equal(const std::pmr::memory_resource &other) const noexcept override
	{
		return this == &other;
	}

	unsigned flags;
};

namespace detail
{

/* Made at compile time, so that the first use may be in a signal handler, and never destroyed, so that the last may be
 * in another object's destructor. */
template <unsigned gfp>
union lasting {
	memory_resource resource;

	constexpr lasting() noexcept : resource(gfp)
	{
	}
	~lasting()
	{
	}
};

#if defined(__cpp_constinit)
template <unsigned gfp>
constinit inline lasting<gfp> the;
#else
template <unsigned gfp>
inline lasting<gfp> the;
#endif

} // namespace detail

/* The one resource of these flags. Any context; never null. */
template <unsigned gfp>
std::pmr::memory_resource *
resource() noexcept
{
	return &detail::the<gfp>.resource;
}

/* What malloc gives. */
inline std::pmr::memory_resource *
kernel_resource() noexcept
{
	return resource<LAB_GFP_KERNEL>();
}

/* From what the thread's heap holds now: no system call. */
inline std::pmr::memory_resource *
nowait_resource() noexcept
{
	return resource<LAB_GFP_NOWAIT>();
}

/* From the reserve: no lock, system call or page fault; at most 64 KiB a block. */
inline std::pmr::memory_resource *
atomic_resource() noexcept
{
	return resource<LAB_GFP_ATOMIC>();
}

/* Pages that hold nothing else, which this thread alone may free. */
inline std::pmr::memory_resource *
exclusive_resource() noexcept
{
	return resource<LAB_GFP_EXCLUSIVE>();
}

/* The same, never written to swap: for keys and passwords. (They are not wiped; LAB_GFP_NOFORK hides them from
 * children.) */
inline std::pmr::memory_resource *
locked_resource() noexcept
{
	return resource<LAB_GFP_LOCKED>();
}

#endif

} // namespace labyrinth
#endif
