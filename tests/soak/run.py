#!/usr/bin/python3
"""Runs the soak for a time under the drop-in and judges its samples: nothing may drift, and all must come back.

The load goes through the same phases again and again. Samples of the same point of each cycle are compared, after a quarter of them for
warming up: the growth over the run is the Theil-Sen slope (the median of the slopes of all pairs) times the number of cycles, so that
neither a single peak nor where the run ends decides. Nothing that is judged is a time.

    run.py --minutes 30 --picture soak.svg     prints the summary, writes soak.csv and a picture (Debian package gnuplot-nox)
"""

import argparse
import csv
import itertools
import os
import pathlib
import statistics
import subprocess
import sys
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "bench"))
sys.dont_write_bytecode = True

MIB = 1 << 20
DECAY_MS = 200
WARM_UP = 4  # the first of so many parts of the run
# (point, figure): by how much the figure of that point of the cycle may grow over the run, and by how much more for each call that was cut
# off by a jump or a thread's end: it may lose the block in hand, which keeps its span, and its segment.
GROWTH = {
    ("rest", "rss"): (20 * MIB, 8192),
    ("churn", "rss"): (40 * MIB, 8192),
    ("rest", "vsz"): (64 * MIB, 0),
    ("rest", "maps"): (60, 0.5),
    ("rest", "threads"): (0, 0),
    ("rest", "heaps"): (20, 0),
    ("rest", "free_in_spans"): (20 * MIB, 8192),
    ("rest", "reserve_used"): (64 << 10, 0),
    ("settle", "rss"): (16 * MIB, 8192),
    ("settle", "segments"): (32, 1),
    ("settle", "lost_blocks"): (80, 1),
    ("settle", "lost"): (192 << 10, 256),
}
# What may be there at a point, at most: the median of the cycles; and, again, for each cut.
LEVELS = {
    ("rest", "resident beyond live"): (96 * MIB, 8192),
    ("rest", "heaps"): (48, 0),
    ("settle", "lost"): (MIB, 256),
    ("end", "in_use"): (256 << 10, 256),
    ("end", "rss"): (32 * MIB, 8192),
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=None)
    length.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cycles", type=int, default=12, help="at least so many, however long they take")
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock; printed")
    parser.add_argument("--mib", type=int, default=120, help="what is live at the peak")
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--lib", type=pathlib.Path, default=PROJECT / "build/release/preload/liblabyrinth.so")
    parser.add_argument("--program", type=pathlib.Path, default=PROJECT / "build/release/tests/soak/soak")
    parser.add_argument("--csv", type=pathlib.Path, default=pathlib.Path("soak.csv"), help="where the samples go")
    parser.add_argument("--judge", action="store_true", help="run nothing; judge the samples that are there")
    parser.add_argument("--picture", metavar="FILE", help="draw the samples, as .svg or .png")
    return parser.parse_args()


def run(arguments):
    """One run of the program. It ends itself; a hang is found out by its own watchdog."""
    seconds = arguments.minutes * 60 if arguments.minutes else arguments.seconds
    seed = arguments.seed or int(time.time()) % 100000 + 1
    numbers = [max(1, round(seconds)), seed, arguments.mib, arguments.workers, arguments.cycles]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LABYRINTH_")}
    environment = kept | {"LD_PRELOAD": str(arguments.lib.resolve()), "LABYRINTH_DECAY_MS": str(DECAY_MS), "MALLOC_PERTURB_": "0"}
    command = [arguments.program.resolve(), arguments.csv, *map(str, numbers)]
    print(" ".join(map(str, command)), flush=True)
    status = subprocess.run(command, env=environment).returncode
    if status:
        sys.exit(f"run.py: the soak ended with status {status} (seed {seed})")


def read(path):
    """The samples, numbers as numbers, with what follows from them."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [{name: text if name == "point" else int(text) for name, text in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        row["lost"] = row["in_use"] - row["live"]
        row["lost_blocks"] = row["blocks"] - row["live_blocks"]
        row["resident beyond live"] = row["rss"] - row["live"]
    return rows


def slope(points):
    """Theil and Sen's: the median of the slopes of all pairs."""
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.combinations(points, 2))


def at(rows, point):
    """The samples of a point of the cycle, without those of the warm-up."""
    chosen = [row for row in rows if row["point"] == point]
    return chosen if point == "end" else chosen[len(chosen) // WARM_UP:]


def growth(samples, figure):
    points = [(row["cycle"], row[figure]) for row in samples]
    return slope(points) * (points[-1][0] - points[0][0])


def shown(figure, value):
    counts = ("maps", "threads", "heaps", "segments", "lost_blocks")
    return f"{value:.1f}" if figure in counts else f"{value / MIB:.2f} MiB"


def print_line(point, figure, values, bound, word):
    """One line of the table; whether its last value is beyond the bound."""
    broken = values[-1] > bound
    texts = [value if isinstance(value, str) else shown(figure, value) for value in [*values, bound]]
    print(f"{point:7} {figure:21}" + "".join(f"{text:>14}" for text in texts) + f"  {word}" * broken)
    return broken


def judge(rows):
    """Prints a line a bound. Returns how many were broken."""
    broken = 0
    print(f"{'point':7} {'figure':21}" + "".join(f"{text:>14}" for text in ("first", "last", "growth", "at most")))
    for (point, figure), (most, a_cut) in GROWTH.items():
        samples = at(rows, point)
        if len(samples) < 3:
            sys.exit(f"run.py: {len(samples)} samples of {point} are too few")
        bound = most + a_cut * (samples[-1]["cuts"] - samples[0]["cuts"])
        broken += print_line(point, figure, [samples[0][figure], samples[-1][figure], growth(samples, figure)], bound, "DRIFT")
    for (point, figure), (most, a_cut) in LEVELS.items():
        value = statistics.median(row[figure] for row in at(rows, point))
        broken += print_line(point, figure, ["", "median", value], most + a_cut * rows[-1]["cuts"], "TOO MUCH")
    return broken


# point, figure, title, colour
CURVES = {
    "MiB": [("churn", "rss", "resident under load", "#0072b2"), ("churn", "live", "live blocks under load", "#009e73"),
            ("rest", "rss", "resident at rest, free pages given back", "#e69f00"), ("settle", "rss", "the same after lab_trim in each thread", "#d55e00"),
            ("rest", "live", "live blocks at rest", "#56b4e9")],
    "number": [("rest", "maps", "mappings", "#999999"), ("settle", "segments", "segments in use, of 4 MiB of addresses", "#e69f00"),
               ("rest", "heaps", "heaps made", "#0072b2")],
}


def chart(rows, unit):
    """gnuplot's commands for the curves of a unit, over the time."""
    lines, plots = [f"set ylabel '{unit}'"], []
    for index, (point, figure, title, colour) in enumerate(CURVES[unit]):
        block = f"${unit}{index}"
        divisor = MIB if unit == "MiB" else 1
        values = [f"{row['ms'] / 60000:.4f} {row[figure] / divisor:.2f}" for row in rows if row["point"] == point]
        lines += [f"{block} << END", *values, "END"]
        plots.append(f"{block} using 1:2 with lines lc rgb '{colour}' title '{title}'")
    return lines + ["plot " + ", ".join(plots)]


def draw(rows, output):
    """The same points of all cycles, as .svg or .png."""
    import plot

    end = rows[-1]
    caption = (f"{end['cycle']} cycles, {end['operations']:,} allocations that were checked, {end['births']:,} threads, {end['forks']:,} forks, "
               f"{end['handlers']:,} handlers, {end['jumps']:,} jumps")
    commands = [f"set terminal {plot.TERMINALS[output[-4:]]}", f"set output {plot.quoted(output)}", "set encoding utf8",
                "set grid lt 1 lc rgb '#dddddd'", "set border 3", "set tics nomirror out", "set xlabel 'minutes'", "set yrange [0:*]",
                "set key outside below center horizontal Left reverse samplen 1 noenhanced",
                f"set multiplot layout 2,1 title {plot.quoted(caption)} noenhanced font ',10'",
                *chart(rows, "MiB"), *chart(rows, "number"), "unset multiplot", ""]
    try:
        subprocess.run(["gnuplot"], input="\n".join(commands), text=True, check=True)
    except FileNotFoundError:
        sys.exit("run.py: gnuplot is not installed (Debian package gnuplot-nox)")


def main():
    arguments = parse_arguments()
    if arguments.picture and arguments.picture[-4:] not in (".svg", ".png"):
        sys.exit("run.py: the picture must end in .svg or .png")
    if not arguments.judge:
        run(arguments)
    rows = read(arguments.csv)
    broken = judge(rows)
    if arguments.picture:
        draw(rows, arguments.picture)
    print(f"run.py: {rows[-1]['cycle']} cycles, {rows[-1]['operations']} allocations: " + (f"{broken} bounds broken" if broken else "no drift"))
    sys.exit(1 if broken else 0)


main()
