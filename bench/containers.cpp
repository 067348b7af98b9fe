/*
 * containers.cpp - C++ containers, as a program that is written with them uses the allocator: by operator new.
 *
 * A red-black tree of strings, a hash table of vectors, a list and a deque live side by side; elements come and go at
 * random. `checksum` depends on the options only.
 */
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace
{

/* splitmix64, as in bench.h, which is C. */
uint64_t
random_number(uint64_t &state)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

struct containers {
	std::map<std::string, std::string> tree;
	std::unordered_map<uint64_t, std::vector<uint64_t>> table;
	std::list<uint64_t> list;
	std::deque<std::string> queue;
};

/* One step. Gives what it adds to the checksum. */
uint64_t
step(containers &all, uint64_t &state)
{
	uint64_t random = random_number(state), key = random % 20000;
	std::string name = "key:" + std::to_string(key * 2654435761) + std::string(key % 40, 'x');
	switch (random >> 32 & 7) {
	case 0:
	case 1:
		all.tree[name] = std::string(random >> 40 & 127, 'v');
		return all.tree.size();
	case 2:
		return all.tree.erase(name);
	case 3: {
		std::vector<uint64_t> &values = all.table[key % 5000];
		values.push_back(random);
		return values.size();
	}
	case 4:
		return all.table.erase(key % 5000);
	case 5:
		all.list.push_front(random);
		if (all.list.size() > 5000)
			all.list.pop_back();
		return all.list.size();
	case 6:
		all.queue.push_back(name);
		return all.queue.size();
	default:
		if (all.queue.empty())
			return 0;
		uint64_t length = all.queue.front().size();
		all.queue.pop_front();
		return length;
	}
}

} // namespace

int
main(int argc, char **argv)
{
	uint64_t ops = 4000000;
	for (int i = 1; i < argc; i++) {
		if (std::strcmp(argv[i], "--quick") == 0) {
			ops = 100000;
		} else if (std::strcmp(argv[i], "--ops") == 0 && i + 1 < argc) {
			ops = std::strtoull(argv[++i], nullptr, 10);
		} else {
			std::printf("containers: C++ containers; --ops N (default 4000000), --quick\n");
			return std::strcmp(argv[i], "--help") == 0 ? 0 : 2;
		}
	}
	uint64_t state = 1, sum = 0;
	{
		containers all;
		for (uint64_t op = 0; op < ops; op++)
			sum += step(all, state);
	}
	std::printf("checksum %016" PRIx64 "\nops %" PRIu64 " seconds 0\n", sum, ops);
	return 0;
}
