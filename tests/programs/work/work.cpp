// Purpose: a C++ program that uses operator new and delete in all their forms, from several threads, with the same
// output in every run. Compiled and run by cases/gcc.py and cases/clang.py.
#include <algorithm>
#include <array>
#include <cstdint>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <random>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct alignas(256) Aligned {
	std::array<char, 256> bytes;
};

// Build and take down containers of strings; the sum depends on every one of them.
static std::uint64_t
churn(unsigned seed)
{
	std::mt19937 random(seed);
	std::unordered_map<std::string, std::vector<std::string>> words;
	for (int i = 0; i < 20000; i++) {
		auto &list = words["key" + std::to_string(random() % 500)];
		list.emplace_back(random() % 300, static_cast<char>('a' + random() % 26));
		if (list.size() > 20)
			list.erase(list.begin(), list.begin() + 15);
	}
	std::map<std::string, std::size_t> sorted;
	for (auto &[key, list] : words)
		sorted[key] = std::accumulate(list.begin(), list.end(), std::size_t{0},
		                              [](auto sum, auto &s) { return sum + s.size(); });
	std::uint64_t sum = 0;
	for (auto &[key, size] : sorted)
		sum = sum * 31 + size + key.size();
	return sum;
}

int
main()
{
	std::vector<std::future<std::uint64_t>> results;
	for (unsigned seed = 1; seed <= 4; seed++)
		results.push_back(std::async(std::launch::async, churn, seed));
	for (auto &result : results)
		std::cout << result.get() << '\n';

	std::vector<std::unique_ptr<Aligned[]>> aligned;
	for (std::size_t i = 1; i < 50; i++)
		aligned.push_back(std::make_unique<Aligned[]>(i));
	std::cout << std::all_of(aligned.begin(), aligned.end(), [](auto &p) {
		return reinterpret_cast<std::uintptr_t>(p.get()) % 256 == 0;
	}) << '\n';

	// What one thread made, another one frees.
	std::vector<std::unique_ptr<std::string>> handed(5000);
	std::thread([&] {
		for (auto &p : handed)
			p = std::make_unique<std::string>(100, 'x');
	}).join();
	std::thread([&] { handed.clear(); }).join();

	// The size is hidden from the compiler, which may drop a `new` that it can see fail.
	volatile std::size_t impossible = SIZE_MAX / 4;
	std::cout << (new (std::nothrow) char[impossible] == nullptr) << '\n';
	try {
		std::cout << static_cast<void *>(new char[impossible]) << '\n';
	} catch (const std::bad_alloc &) {
		std::cout << "bad_alloc\n";
	}

	std::string text = "theseus 1 ariadne 22 minotaur 333 daedalus 4444";
	std::regex pattern("([a-z]+) ([0-9]+)");
	for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
		std::cout << it->str(2) << it->str(1);
	std::ostringstream out;
	for (int i = 0; i < 10000; i++)
		out << i * 0.25 << ' ';
	std::cout << '\n' << std::hash<std::string>{}(out.str()) << '\n';
}
