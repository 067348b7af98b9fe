#!/usr/bin/python3
"""What the guard of the fast paths costs: the price of signal safety, as time and as instructions.

Builds the library twice from this tree, as it is and with -Dguard=false (src/alloc/fastpath.h: the fast paths then do not mark the
heap as busy; not signal-safe, for this measurement only), and runs every benchmark program under both: in each round one after the
other, and the other way round in the next, after a warm-up. For each program: the median over the rounds of the ratio with/without
within a round, so that a drift of the machine's speed cancels, with the first and third quartile. The geometric mean is that of the medians.

The two builds also differ in where the code lies, which alone moves a tight loop by some per cent in either direction. --again compares
the library with a copy of itself instead: what is then not 1 is noise. Time is wall time; --cpu takes processor time, for a busy machine.
"""

import argparse
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import allocators
import run

GOAL = 1.02
# A build without the guard is not signal-safe, so what is there to survive handlers cannot be measured; traces are the allocator's alone already.
NAMES = [name for name, workload in run.WORKLOADS.items() if workload.in_mean and not workload.trace]
BUILDS = {"with": ("release", []), "without": ("no-guard", ["-Dguard=false"])}
PAIR = re.compile(r"^labyrinth\s+([\d.]+) instructions a pair,\s+([\d.]+)", re.MULTILINE)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAMES", help="benchmarks, separated by commas; default: all, " + ",".join(NAMES))
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="rounds that count, at least 5 (default %(default)s)")
    parser.add_argument("--cpu", action="store_true", help="processor time instead of wall time")
    parser.add_argument("--again", action="store_true", help="the library against itself: shows the noise")
    parser.add_argument("--quick", action="store_true", help="tiny runs: tests the script, measures nothing")
    parser.add_argument("--builds", default=os.path.join(allocators.ROOT, "build"), metavar="DIR", help="where the two builds go")
    parser.add_argument("--no-instructions", action="store_true", help="do not count instructions (valgrind)")
    parser.add_argument("--timeout", type=int, default=120, metavar="SECONDS", help="longest run (default %(default)s)")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",") if arguments.only else NAMES
    for name in arguments.only:
        if name not in NAMES:
            parser.error(f"no such benchmark: {name}")
    if arguments.rounds < 5 and not arguments.quick:
        parser.error("--rounds must be at least 5")
    return arguments


def build(arguments, name, options):
    """Configures and builds what is needed; gives the directory."""
    folder = os.path.join(arguments.builds, name)
    programs = [f"bench/{program}" for program in dict.fromkeys([run.WORKLOADS[name].program for name in arguments.only] + ["measure", "pair"])]
    commands = [["meson", "compile", "-C", folder, "labyrinth:shared_library"], ["ninja", "-C", folder] + programs]
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        commands.insert(0, ["meson", "setup", folder, allocators.ROOT, "--buildtype=release"] + options)
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"guard.py: {' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return folder


def build_both(arguments, directory):
    """{name: Allocator}: copies of the two libraries. Stops unless each is what its name says."""
    found = {}
    for name, (folder, options) in BUILDS.items():
        folder = build(arguments, folder, options)
        library = os.path.join(folder, "preload", "liblabyrinth.so")
        has = "not signal-safe" not in version_of(library)
        if has != (name == "with"):
            sys.exit(f"guard.py: {folder} is a build {'with' if has else 'without'} guards; remove it")
        place = os.path.join(directory, name)
        os.mkdir(place)
        found[name] = allocators.labyrinth(library, place)
    arguments.programs = os.path.join(arguments.builds, BUILDS["with"][0], "bench")
    if arguments.again:
        shutil.copy(found["with"].path, found["without"].path)
    return found


def version_of(library):
    command = [sys.executable, "-c", "import ctypes, sys; f = ctypes.CDLL(sys.argv[1]).lab_version; "
               "f.restype = ctypes.c_char_p; print(f().decode())", library]
    environment = dict(os.environ, LD_PRELOAD=library) # its TLS is static: best loaded at the start
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def measure(arguments, programs, benchmark, found):
    """The ratios with/without, one a round."""
    column, ratios = "cpu_s" if arguments.cpu else "wall_s", []
    for turn in range(arguments.rounds + 1):
        times = {}
        for name in (list(found) if turn % 2 else list(found)[::-1]):
            figures = run.run_once(arguments, programs, benchmark, found[name])
            if figures["failure"]:
                sys.exit(f"guard.py: {benchmark} {name} guard: {figures['failure']}")
            times[name] = figures[column]
        if turn > 0:
            ratios.append(times["with"] / max(times["without"], 1e-9))
    return ratios


def instructions(arguments, library):
    """(a pair, of it in the calls) by instructions.sh."""
    command = [os.path.join(allocators.ROOT, "bench", "instructions.sh"), "--lib", library, "--programs", arguments.programs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    pair = PAIR.search(done.stdout)
    if not pair:
        sys.exit(f"guard.py: instructions.sh failed: {done.stdout}{done.stderr}")
    return float(pair[1]), float(pair[2])


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="labyrinth-guard-") as directory:
        found = build_both(arguments, directory)
        programs = os.path.join(directory, "programs")
        os.mkdir(programs)
        run.copy_programs(arguments, programs)
        for name, value in allocators.machine().items():
            print(f"{name}: {value}")
        print(f"library: {found['with'].version}{', against itself' if arguments.again else ''}")
        print(f"{'processor' if arguments.cpu else 'wall'} time with the guard / without, medians of {arguments.rounds} rounds"
              f"{' (--quick: measures nothing)' if arguments.quick else ''}")
        medians = []
        for benchmark in arguments.only:
            ratios = measure(arguments, programs, benchmark, found)
            low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            medians.append(statistics.median(ratios))
            print(f"{benchmark:<12} {medians[-1]:6.3f}  quartiles {low:.3f}-{high:.3f}  all {min(ratios):.3f}-{max(ratios):.3f}", flush=True)
        mean = math.exp(statistics.fmean(map(math.log, medians)))
        print(f"geometric mean {mean:.3f}, {'within' if mean <= GOAL else 'above'} the goal of {GOAL}")
        if not arguments.no_instructions:
            pairs = {name: instructions(arguments, allocator.path) for name, allocator in found.items()}
            print("instructions of malloc(32) and free: {:.1f} with, {:.1f} without, {:+.1f}".format(
                pairs["with"][1], pairs["without"][1], pairs["with"][1] - pairs["without"][1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
