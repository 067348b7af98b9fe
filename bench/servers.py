#!/usr/bin/python3
"""Ten patterns of long-running programs (bench/servers), for the peers as they come and for Labyrinth.

Every run is a process of its own; all have their turn --rounds times. In the table, medians of the rounds: what is resident at the end and the
peak, in MiB, the longest single call in ms, and the time of the work, light use and sleep not counted.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

import allocators

PATTERNS = ["burst, light use", "burst, fast calls only", "burst, silence", "burst, 1 % survives", "freed by another thread",
            "40 threads that end", "sessions, 10 % go on", "cache, drifting sizes", "blocks of 0.3 to 4 MB", "resized buffers"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", default=allocators.DEFAULT_LIBRARY, metavar="FILE", help="Labyrinth's drop-in")
    parser.add_argument("--programs", default=os.path.join(allocators.ROOT, "build", "release", "bench"), metavar="FOLDER",
                        help="where the program is")
    parser.add_argument("--peers", default=",".join(allocators.PEERS), metavar="NAMES", help="or none (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("rest", nargs="*", metavar="OPTION", help="after --: options of the program")
    return parser.parse_args()


def run(arguments, number, library):
    environment = {name: value for name, value in os.environ.items() if not allocators.TUNING.match(name)}
    if library:
        environment["LD_PRELOAD"] = library
    command = [os.path.join(arguments.programs, "servers"), "--pattern", str(number), *arguments.rest]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"servers.py: pattern {number} under {library or 'libc'} ended with {process.returncode}")
    figures = {name: float(value) for name, value in re.findall(r"^(\w+_(?:kib|us)) (\d+)$", output, re.M)}
    return {"live": figures["live_kib"] / 1024, "end": figures["resident_kib"] / 1024, "peak": usage.ru_maxrss / 1024,
            "longest": figures["longest_us"] / 1000, "seconds": float(output.split("seconds ")[1])}


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as directory:
        chosen = [*allocators.find_peers(arguments.peers.split(",")), allocators.labyrinth(arguments.lib, directory)]
        print("Resident at the end, MiB (peak; longest call, ms; seconds)\n")
        print("| pattern | in use | " + " | ".join(one.name for one in chosen) + " |\n|---|---:|" + "---:|" * len(chosen))
        for number, name in enumerate(PATTERNS, 1):
            rounds = {one: [] for one in chosen}
            for _ in range(arguments.rounds):
                for one in chosen:
                    rounds[one].append(run(arguments, number, one.path))
            cells = []
            for one in chosen:
                middle = {key: statistics.median(result[key] for result in rounds[one]) for key in rounds[one][0]}
                cells.append(f"{middle['end']:.0f} ({middle['peak']:.0f}; {middle['longest']:.1f}; {middle['seconds']:.2f})")
            print(f"| {name} | {rounds[chosen[0]][0]['live']:.0f} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
