#!/usr/bin/python3
"""How throughput changes with the number of threads (bench/threads): as many as there are processors, fewer, and many more.

Every run does the same work in all, split among its threads. All allocators have their turn in each round; the table has the medians of the
operations a second, in millions. With more threads than processors a good allocator stays level.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import allocators
import plot
import run


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", metavar="FILE", default=allocators.DEFAULT_LIBRARY, help="Labyrinth's drop-in")
    parser.add_argument("--programs", metavar="DIR", default=os.path.join(allocators.ROOT, "build", "release", "bench"))
    parser.add_argument("--peers", metavar="NAMES", default=",".join(allocators.PEERS), help="or none (default %(default)s)")
    parser.add_argument("--threads", metavar="N,…", default="1,2,4,8,16,64", help="(default %(default)s)")
    parser.add_argument("--ops", type=int, default=8000000, metavar="N", help="blocks to replace in all (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--timeout", type=int, default=60, metavar="SECONDS", help="longest run (default 60)")
    parser.add_argument("--json", metavar="FILE", help="save the samples")
    parser.add_argument("--plot", metavar="FILE", help="also draw the curves, as .svg or .png; needs gnuplot-nox")
    arguments = parser.parse_args()
    if arguments.plot and arguments.plot[-4:] not in plot.TERMINALS:
        parser.error("the picture's name must end in .svg or .png")
    arguments.threads = [int(count) for count in arguments.threads.split(",")]
    return arguments


def measure(arguments):
    """{allocator: {threads: [operations a second]}}; a run that fails has 0."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="labyrinth-scaling-") as programs:
        arguments.only = ["threads"]
        run.copy_programs(arguments, programs)
        found = allocators.find_peers(arguments.peers.split(",")) + [allocators.labyrinth(arguments.lib, programs)]
        found = [allocator for allocator in found if run.has_effect(allocator, programs)]
        for turn in range(arguments.rounds):
            for threads in arguments.threads:
                for allocator in found[turn % len(found):] + found[:turn % len(found)]:
                    command = [os.path.join(programs, "measure"), "--timeout", str(arguments.timeout), "--preload", allocator.path or "-", "--",
                               os.path.join(programs, "threads"), "--threads", str(threads), "--ops", str(max(arguments.ops // threads, 1)),
                               "--live", "500"]
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    measured = run.MEASURED.search(done.stdout)
                    good = measured and measured[4] == "0"
                    results.setdefault(allocator.name, {}).setdefault(str(threads), []).append(
                        arguments.ops / (int(measured[1]) / 1e9) if good else 0.0)
    return {name: results[name] for name in [allocator.name for allocator in found]}


def medians(results):
    return {name: {int(threads): statistics.median(values) for threads, values in row.items()} for name, row in results.items()}


def table(results):
    rows = medians(results)
    counts = list(next(iter(rows.values())))
    yield "| threads | " + " | ".join(map(str, counts)) + " |"
    yield "|---|" + "---:|" * len(counts)
    for name, row in rows.items():
        yield f"| {name} | " + " | ".join(f"{row[count] / 1e6:.1f}" if row[count] else "FAILED" for count in counts) + " |"


def draw(results, output):
    lines, curves = [], []
    for index, (name, row) in enumerate(medians(results).items()):
        lines += [f"$run{index} << END", *(f"{count} {value / 1e6}" for count, value in row.items() if value), "END"]
        curves.append(f"$run{index} with linespoints pt 7 ps 0.6 lw {3 if name == 'labyrinth' else 1.5} "
                      f"lc rgb {plot.quoted(plot.COLOURS.get(name, '#000000'))} title {plot.quoted(plot.shown(name))}")
    head = [f"set terminal {plot.TERMINALS[output[-4:]].replace('760', '420')}", f"set output {plot.quoted(output)}", "set encoding utf8",
            "set logscale x 2", "set xlabel 'threads'", "set ylabel 'million operations a second'", "set yrange [0:*]",
            "set grid ytics lt 1 lc rgb '#dddddd'", "set border 3", "set tics nomirror out", "set key outside below center horizontal noenhanced"]
    subprocess.run(["gnuplot"], input="\n".join(head + lines + ["plot " + ", ".join(curves), ""]), text=True, check=True)


def main():
    arguments = parse_arguments()
    results = measure(arguments)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file)
    print("\n".join(table(results)))
    if arguments.plot:
        draw(results, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
