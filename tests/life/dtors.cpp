/*
 * dtors.cpp - the last things that threads do: destructors of C++ thread_local objects, which come first, of
 * thread-specific data, which come after them, and libc's own frees. All of them allocate and free, also what others
 * have made, and each kind hands blocks to the next. Static objects and atexit functions do the same at the end of the
 * process, while another thread goes on.
 *
 * Clauses: G8.1.
 */
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <locale.h>
#include <memory>
#include <netdb.h>
#include <pthread.h>
#include <string>
#include <vector>

namespace
{

constexpr int threads_max = 8, rounds = 150;
std::atomic<std::string *> shelf[16];
std::atomic<unsigned long> local_ends, key_ends, checked;
pthread_key_t key;

void
require(bool condition, const char *what)
{
	if (condition)
		return;
	std::fprintf(stderr, "life-dtors: FAILED: %s\n", what);
	std::abort();
}

std::string *
make(unsigned n)
{
	return new std::string(40 + n % 900, static_cast<char>('a' + n % 26));
}

void
check_and_delete(std::string *text)
{
	if (!text)
		return;
	for (char c : *text)
		require(c == (*text)[0] && c >= 'a' && c <= 'z', "contents changed");
	checked++;
	delete text;
}

void
use(unsigned n)
{
	check_and_delete(shelf[n % 16].exchange(make(n)));
	std::vector<std::unique_ptr<std::string>> many;
	for (unsigned i = 0; i < 20; i++)
		many.emplace_back(make(n + i));
	void *p = std::calloc(3, 100 + n % 5000);
	require(p != nullptr, "NULL from calloc");
	std::free(std::realloc(p, 20000));
}

/* The first is destroyed last. Each makes another on its way out. */
struct last {
	unsigned n = 0;
	std::string *text = nullptr;
	~last()
	{
		check_and_delete(text);
		use(n);
		pthread_setspecific(key, make(n)); /* for the destructors that come after */
		local_ends++;
	}
};

struct first {
	std::vector<std::string> texts;
	~first()
	{
		use(static_cast<unsigned>(texts.size()));
		local_ends++;
	}
};

thread_local last local_last;
thread_local first local_first;
thread_local std::string late; /* used first by a destructor of thread-specific data, where the library lets it */

void
end_key(void *value)
{
	static thread_local int round;

	check_and_delete(static_cast<std::string *>(value));
	use(static_cast<unsigned>(round));
	key_ends++;
	if (++round < 3)
		pthread_setspecific(key, make(static_cast<unsigned>(round)));
}

void *
live(void *number)
{
	unsigned n = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(number));

	local_last.n = n;
	local_last.text = make(n);
	local_first.texts.assign(n % 50, std::string(100, 'x'));
	late.assign(200, 'y');
	/* what libc keeps for each thread, and frees after all destructors */
	(void)strerror(9999);
	locale_t locale = newlocale(LC_ALL_MASK, "C", nullptr);
	uselocale(locale);
	(void)gethostbyname("127.0.0.1");
	uselocale(LC_GLOBAL_LOCALE);
	freelocale(locale);
	use(n);
	return nullptr;
}

void *
go_on_for_ever(void *)
{
	for (unsigned n = 0;; n++)
		use(n);
}

struct at_the_end {
	std::string *text = make(7);
	~at_the_end()
	{
		check_and_delete(text);
		for (unsigned n = 0; n < 200; n++)
			use(n);
	}
} end_of_process;

void
at_exit()
{
	for (unsigned n = 0; n < 200; n++)
		use(n);
}

} // namespace

int
main(int argc, char **argv)
{
	unsigned scale =
	        argc > 2 && std::strcmp(argv[1], "--scale") == 0 ? static_cast<unsigned>(std::atoi(argv[2])) : 1;
	pthread_t threads[threads_max];

	require(std::atexit(at_exit) == 0, "atexit");
	require(pthread_key_create(&key, end_key) == 0, "pthread_key_create");
	for (unsigned round = 0; round < rounds * scale; round++) {
		for (unsigned i = 0; i < threads_max; i++)
			require(pthread_create(&threads[i], nullptr, live,
			                       reinterpret_cast<void *>(std::uintptr_t{round * 8 + i})) == 0,
			        "pthread_create");
		for (pthread_t thread : threads)
			require(pthread_join(thread, nullptr) == 0, "pthread_join");
	}
	unsigned long lives = static_cast<unsigned long>(rounds) * scale * threads_max;
	require(local_ends == 2 * lives, "destructors of thread_local objects");
	require(key_ends >= 3 * lives, "destructors of thread-specific data");
	require(pthread_create(&threads[0], nullptr, go_on_for_ever, nullptr) == 0, "pthread_create");
	std::printf("life-dtors: %lu threads, %lu + %lu destructors, %lu blocks handed on and checked: passed\n", lives,
	            local_ends.load(), key_ends.load(), checked.load());
	return 0;
}
