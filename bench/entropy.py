#!/usr/bin/python3
"""How hard addresses of blocks are to guess: bits of entropy over many runs of one program, under the peers and under Labyrinth.

For each kind of block: the entropy of its address, from how often two runs have the same (log2 of the pairs over the equal pairs; "more" if none are equal), and
the same of its distance from libc, which is what is left to guess for somebody who knows one address of a library.
"""

import argparse
import collections
import math
import os
import subprocess

import allocators

KINDS = ["100 bytes", "the next one, after it", "200,000 bytes", "20 MiB"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", default=allocators.DEFAULT_LIBRARY, metavar="FILE", help="Labyrinth's drop-in")
    parser.add_argument("--program", default=os.path.join(allocators.ROOT, "build", "release", "bench", "entropy"), metavar="FILE")
    parser.add_argument("--peers", default="glibc,jemalloc,mimalloc", metavar="NAMES", help="or none (default %(default)s)")
    parser.add_argument("--runs", type=int, default=4000, metavar="N")
    return parser.parse_args()


def addresses(program, library):
    """Of one run: those of the four blocks, and libc's."""
    environment = {name: value for name, value in os.environ.items() if not allocators.TUNING.match(name)}
    if library:
        environment["LD_PRELOAD"] = library
    return [int(word, 16) for word in subprocess.run([program], env=environment, check=True, capture_output=True, text=True).stdout.split()]


def entropy(values):
    """Collision entropy in bits, as text."""
    pairs = len(values) * (len(values) - 1) / 2
    equal = sum(count * (count - 1) / 2 for count in collections.Counter(values).values())
    return f"{math.log2(pairs / equal):.1f}" if equal else f"more than {math.log2(pairs):.0f}"


def main():
    arguments = parse_arguments()
    chosen = [(peer.name, peer.path) for peer in allocators.find_peers(arguments.peers.split(","))] + [("Labyrinth", arguments.lib)]
    print("Bits of entropy of an address, and of its distance from libc\n")
    print("| block | " + " | ".join(name for name, _ in chosen) + " |\n|---|" + "---:|" * len(chosen))
    columns = []
    for _, library in chosen:
        runs = [addresses(arguments.program, library) for _ in range(arguments.runs)]
        places = [[run[0] for run in runs], [run[1] - run[0] for run in runs], [run[2] for run in runs], [run[3] for run in runs]]
        far = [[run[kind] - run[4] for run in runs] for kind in range(4)]
        columns.append([entropy(places[kind]) + ("" if kind == 1 else f", {entropy(far[kind])}") for kind in range(4)])
    for kind, name in enumerate(KINDS):
        print(f"| {name} | " + " | ".join(column[kind] for column in columns) + " |")


if __name__ == "__main__":
    main()
