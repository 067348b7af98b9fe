#!/usr/bin/python3
"""What real programs take under the peers and under Labyrinth: memory of all their processes, and processor time. Prints a table.

The programs and their work are tests/programs/cases (python3, node, java, ruby, postgres, redis, nginx, …). Each run is in a fresh folder; all have their
turn --rounds times. In the table, medians: the peak of the sum of the proportional set sizes of all processes (PSS: a page that n processes share counts
1/n in each), in MiB, and user plus system time of all of them, in seconds; that of clients (wrk, redis-benchmark) is in it.
"""

import argparse
import contextlib
import importlib
import os
import pathlib
import re
import shutil
import statistics
import sys
import tempfile
import threading

import allocators

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(allocators.ROOT, "tests", "programs"))

from harness import Box, find_command, session_members  # noqa: E402  (needs the path above)

PROGRAMS = "python3,node,java,ruby,postgres,redis,nginx"
# Settings of Labyrinth's beside the default.
VARIANTS = {"labyrinth RESERVE=0": {"LABYRINTH_RESERVE": "0"}}


class Measured(Box):
    """A box that knows the sessions of what it has started."""

    def __init__(self, folder, library, settings, timeout):
        super().__init__(folder, folder.parent, library, "", "", timeout)
        self.env.update(settings)
        self.leaders = []

    def _start(self, argv, env, **streams):
        process = super()._start(argv, env, **streams)
        self.leaders.append(process.pid)
        return process


def pss_kib(pid):
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss: +(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        return int(found[1]) if found else 0
    return 0


def sample(box, ended, peak):
    """Until `ended`: peak[0] is the most KiB that all processes had together."""
    while not ended.wait(0.02):
        pids = [pid for leader in list(box.leaders) if pathlib.Path(f"/proc/{leader}").exists() for pid in session_members(leader)]
        peak[0] = max(peak[0], sum(map(pss_kib, pids)))


def run(case, library, settings):
    """(peak MiB, seconds of the processor) of one run."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        scratch.chmod(0o755)  # servers drop root's rights
        if library:
            library = shutil.copy(library, scratch)
        (scratch / "work").mkdir()
        box = Measured(scratch / "work", library, settings, case.TIMEOUT * 5)
        ended, peak, before = threading.Event(), [0], os.times()
        sampler = threading.Thread(target=sample, args=(box, ended, peak))
        sampler.start()
        try:
            case.run(box)
        finally:
            ended.set()
            sampler.join()
        after = os.times()
        return peak[0] / 1024, after.children_user - before.children_user + after.children_system - before.children_system


def chosen(arguments, directory):
    """[(name, path, settings)]"""
    ours = allocators.labyrinth(arguments.lib, directory)
    yield from ((one.name, one.path, {}) for one in allocators.find_peers(arguments.peers.split(",")))
    yield ours.name, ours.path, {}
    if not arguments.no_variants:
        yield from ((name, ours.path, settings) for name, settings in VARIANTS.items())


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", default=allocators.DEFAULT_LIBRARY, metavar="FILE", help="Labyrinth's drop-in")
    parser.add_argument("--only", default=PROGRAMS, metavar="NAMES", help="default %(default)s")
    parser.add_argument("--peers", default="glibc,jemalloc,mimalloc", metavar="NAMES", help="or none (default %(default)s)")
    parser.add_argument("--no-variants", action="store_true", help="Labyrinth as it comes alone")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as directory:
        columns = list(chosen(arguments, directory))
        print("| program | " + " | ".join(name for name, _, _ in columns) + " |\n|---|" + "---:|" * len(columns))
        for program in arguments.only.split(","):
            case = importlib.import_module(f"cases.{program}")
            missing = [command for command in case.COMMANDS if not find_command(command)]
            if missing:
                print(f"{program}: left out, there is no {missing[0]} (Debian packages {' '.join(case.PACKAGES)})", file=sys.stderr)
                continue
            rounds = {name: [] for name, _, _ in columns}
            for _ in range(arguments.rounds):
                for name, path, settings in columns:
                    rounds[name].append(run(case, path, settings))
            cells = (tuple(map(statistics.median, zip(*rounds[name]))) for name, _, _ in columns)
            print(f"| {program} | " + " | ".join(f"{peak:.1f} MiB, {seconds:.1f} s" for peak, seconds in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
