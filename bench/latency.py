#!/usr/bin/python3
"""Runs bench/latency under glibc, jemalloc, mimalloc, tcmalloc and Labyrinth in turn; writes a table, and a picture of the histograms.

Every run is a process of its own; with --rounds N all allocators have their turn N times, and the samples of all rounds are put together
(percentiles are taken from the sums of the buckets). No sample is dropped. One that lasted while its thread was switched
out is counted, and "longest, not switched out" is the maximum of the others: on a machine with more threads than processors the
maximum is the scheduler's. The row `timer` is the same loop around an empty function, of all runs together.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile

import allocators
import plot

PERCENTILES = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)]
CALLS = {"malloc": "malloc(64)", "free": "free", "atomic-claim": "lab_alloc(64, ATOMIC)", "atomic-release": "lab_free of it"}
TAKES, GIVES = ("malloc", "atomic-claim"), ("free", "atomic-release")
ATOMIC_COLOUR = "#d55e00"


class Series:
    """The samples of one call under one allocator. buckets: {(low, high): [count, switched]}, in ns."""

    def __init__(self):
        self.buckets = collections.defaultdict(lambda: [0, 0])
        self.max = self.max_unswitched = 0.0

    def add(self, line):
        for name in ("max", "max_unswitched"):
            found = re.search(rf"\b{name} ([\d.]+)", line)
            setattr(self, name, max(getattr(self, name), float(found[1])) if found else None)

    def add_bucket(self, low, high, count, switched):
        # Clocks are calibrated by each run: edges differ in the last digits and are rounded.
        bucket = self.buckets[(float(f"{low:.4g}"), float(f"{high:.4g}"))]
        bucket[0] += count
        bucket[1] += switched

    def total(self, column=0):
        return sum(bucket[column] for bucket in self.buckets.values())

    def percentile(self, part):
        rank, seen = self.total() * part, 0
        for (_, high), (count, _) in sorted(self.buckets.items()):
            seen += count
            if seen > rank:
                return min(high, self.max)
        return self.max


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", default=allocators.DEFAULT_LIBRARY, metavar="FILE", help="Labyrinth's drop-in")
    parser.add_argument("--programs", default=os.path.join(allocators.ROOT, "build", "release", "bench"), metavar="DIR")
    parser.add_argument("--peers", default=",".join(allocators.PEERS), metavar="NAMES", help="or none (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N")
    parser.add_argument("--calls", type=int, metavar="N", help="calls of each timing thread (default: the program's, 10^7)")
    parser.add_argument("--threads", type=int, metavar="N", help="timing threads (default: the program's, 4)")
    parser.add_argument("--load", type=int, metavar="N", help="threads of load (default: the program's, 2)")
    parser.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="longest run (default 600)")
    parser.add_argument("--markdown", metavar="FILE", help="also write the table there")
    parser.add_argument("--plot", metavar="FILE", help="also draw the histograms, as .svg or .png; needs gnuplot-nox")
    parser.add_argument("--json", metavar="FILE", help="save the output of the runs")
    parser.add_argument("--show", metavar="FILE", help="run nothing: use what --json saved")
    arguments = parser.parse_args()
    if arguments.plot and arguments.plot[-4:] not in plot.TERMINALS:
        parser.error("the picture's name must end in .svg or .png")
    return arguments


def find_allocators(arguments, directory):
    found = allocators.find_peers(arguments.peers.split(",")) + [allocators.labyrinth(arguments.lib, directory)]
    pair = os.path.join(arguments.programs, "pair")
    return [a for a in found if a.path is None or allocators.check(pair, a.path) == 0]


def run_all(arguments):
    """What --json saves: the machine, and the output of each run."""
    runs, command = [], [os.path.join(arguments.programs, "latency"), "--buckets", "1"]
    for option in ("calls", "threads", "load"):
        value = getattr(arguments, option)
        command += [f"--{option}", str(value)] if value is not None else []
    document = {"machine": allocators.machine(), "options": command[3:], "rounds": arguments.rounds, "allocators": {}, "runs": runs}
    with tempfile.TemporaryDirectory() as directory:
        found = find_allocators(arguments, directory)
        for turn in range(arguments.rounds):
            for allocator in found[turn % len(found):] + found[:turn % len(found)]:
                document["allocators"][allocator.name] = f"{allocator.version}, {allocator.source or 'no preload'}"
                environment = dict(os.environ, LD_PRELOAD=allocator.path or "")
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=arguments.timeout)
                if done.returncode != 0:
                    sys.exit(f"latency.py: {allocator.name}: status {done.returncode}: {done.stderr.strip()}")
                runs.append([allocator.name, done.stdout])
    return document


def read_runs(document):
    """{(allocator, call): Series}, in the order of the runs, and {(allocator, phase): {what: sum}}."""
    series, phases = collections.defaultdict(Series), collections.defaultdict(collections.Counter)
    for allocator, text in document["runs"]:
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            fields = rest.split()
            owner = "all" if fields and fields[0] == "timer" else allocator
            if word == "latency":
                series[(owner, fields[0])].add(rest)
            elif word == "bucket":
                series[(owner, fields[0])].add_bucket(float(fields[1]), float(fields[2]), int(fields[3]), int(fields[4]))
            elif word == "phase":
                figures = zip(fields[1::2], fields[2::2])
                phases[(owner, fields[0])].update({name: float(value) for name, value in figures if name != "seconds"})
    return series, phases


def time_text(ns):
    if ns is None:
        return "?"
    for unit, size in (("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 999.5 * size else f"{ns / size:.0f} {unit}"
    return f"{ns:.0f} ns"


def table(series, phases):
    titles = ["call", "allocator"] + [name for name, _ in PERCENTILES]
    titles += ["longest", "longest, not switched out", "switched out during", "involuntary switches", "NULLs"]
    yield "| " + " | ".join(titles) + " |"
    yield "| --- | --- |" + " ---: |" * (len(titles) - 2)
    order = {allocator: place for place, (allocator, _) in enumerate(series)}
    for call in ("timer",) + tuple(CALLS):
        for (allocator, name), one in sorted(series.items(), key=lambda item: order[item[0][0]]):
            if name != call:
                continue
            phase = phases[(allocator, {"free": "malloc"}.get(call, call.split("-")[0]))]
            cells = [CALLS.get(call, "(the clock alone)"), allocator]
            cells += [time_text(one.percentile(part)) for _, part in PERCENTILES]
            cells += [time_text(one.max), time_text(one.max_unswitched), f"{one.total(1)} of {one.total()}"]
            cells += [f"{phase['involuntary']:.0f}", f"{phase['nulls']:.0f}"]
            yield "| " + " | ".join(cells) + " |"


def at_least(one, unswitched):
    """(time, samples that took at least so long), for each bucket that holds any."""
    rows, seen = [], 0
    for (low, high), (count, switched) in sorted(one.buckets.items(), reverse=True):
        count -= switched if unswitched else 0
        if count and not rows:
            rows.append((high, 0.5)) # below the axis: the line ends at the longest
        seen += count
        if count:
            rows.append((low, seen))
    return rows[::-1]


def chart(series, calls, title):
    lines, plots = [], []
    for index, ((allocator, call), one) in enumerate(series.items()):
        if call not in calls:
            continue
        atomic = call.startswith("atomic")
        colour = ATOMIC_COLOUR if atomic else plot.COLOURS.get(allocator, "#000000")
        name = plot.quoted(f"{plot.shown(allocator)}, {CALLS[call] if atomic else call}")
        for style, unswitched in ((f"lw 2 title {name}", True), ("lw 1 dt 3 notitle", False)):
            block = f"{calls[0]}{index}{'u' * unswitched}"
            lines += [f"${block} << END"] + [f"{time:.3f} {count}" for time, count in at_least(one, unswitched)] + ["END"]
            plots.append(f"${block} using 1:2 with lines lc rgb '{colour}' {style}")
    return lines + [f"set title {plot.quoted(title)}", "plot " + ", ".join(plots)]


def draw(document, series, output):
    machine = document["machine"]
    caption = f"{machine['cpu']}, {machine['cores']} cores, {machine['libc']}; the clock's own time included; dotted: switched out meanwhile"
    tics = "'10 ns' 10, '100 ns' 100, '1 µs' 1e3, '10 µs' 1e4, '100 µs' 1e5, '1 ms' 1e6, '10 ms' 1e7, '100 ms' 1e8"
    commands = [f"set terminal {plot.TERMINALS[output[-4:]]}", f"set output {plot.quoted(output)}", "set encoding utf8",
                "set grid lt 1 lc rgb '#dddddd'", "set border 3", "set tics nomirror out", "set logscale xy",
                f"set xtics ({tics})", "set format y '10^{%L}'", "set ylabel 'calls that took so long, or longer'", "set xrange [15:2e8]", "set yrange [0.8:*]",
                "set key inside right top Left reverse samplen 1 noenhanced",
                f"set multiplot layout 2,1 title {plot.quoted(caption)} noenhanced font ',10'"]
    commands += chart(series, TAKES, "allocation of 64 bytes")
    commands += chart(series, GIVES, "free of it")
    script = "\n".join(commands + ["unset multiplot", ""])
    try:
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
    except FileNotFoundError:
        sys.exit("latency.py: gnuplot is not installed (Debian package gnuplot-nox)")


def main():
    arguments = parse_arguments()
    if arguments.show:
        with open(arguments.show, encoding="utf-8") as file:
            document = json.load(file)
    else:
        document = run_all(arguments)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
    series, phases = read_runs(document)
    head = [f"- {name}: {value}" for name, value in {**document["machine"], **document["allocators"]}.items()]
    head += [f"- options: {' '.join(document['options']) or 'the defaults'}, rounds: {document['rounds']}", ""]
    text = "\n".join(head + list(table(series, phases))) + "\n"
    print(text, end="")
    if arguments.markdown:
        with open(arguments.markdown, "w", encoding="utf-8") as file:
            file.write(text)
    if arguments.plot:
        draw(document, series, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
