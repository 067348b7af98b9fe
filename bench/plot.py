#!/usr/bin/python3
"""Draws the ratios of a JSON file from run.py as bar charts, wall time above and peak RSS below, with gnuplot.

One bar for each allocator at each benchmark, with a line from minimum to maximum. The axis begins at 0, as the length of a bar is
its meaning. Bars longer than --cap are cut, and their ratio is written on them; a missing bar is a failed run.
"""

import argparse
import json
import subprocess
import sys

import samples

COLOURS = {"glibc": "#999999", "jemalloc": "#0072b2", "mimalloc": "#e69f00", "tcmalloc": "#56b4e9", "tbb": "#cc79a7", "scudo": "#8c6d31",
           "labyrinth": "#009e73"}
TERMINALS = {
    ".svg": "svg name 'Labyrinth' size 1000,760 dynamic font 'sans,12' background '#ffffff'",
    ".png": "pngcairo size 1000,760 font 'sans,11'",
}


def shown(name):
    """An allocator's name as readers know it."""
    return {"labyrinth": "Labyrinth", "tbb": "TBB"}.get(name, name)


def quoted(text):
    return "'" + str(text).replace("'", "''") + "'"


def data_block(name, rows, allocator, place, cap):
    """A gnuplot data block: x, ratio, low, high; without a line for a benchmark that failed."""
    lines = [f"${name} << END"]
    for x, row in enumerate(rows):
        cell = row[allocator]
        if cell.ratio is not None:
            lines.append(f"{x + place:.3f} {min(cell.ratio, cap):.4f} {min(cell.low, cap):.4f} {min(cell.high, cap):.4f}")
    return lines + ["-1 NaN NaN NaN", "END"]


FIT_FLAT = 12 # so many names of benchmarks fit below the bars without being turned


def cut_labels(rows, allocator, place, cap):
    """The ratios of the bars that are cut, upright in their bars."""
    for x, row in enumerate(rows):
        if row[allocator].ratio is not None and row[allocator].ratio > cap:
            yield f"set label '{row[allocator].ratio:.1f}' at {x + place:.3f},{cap * 0.98:.3f} rotate by 90 right front font ',9'"


def chart(document, figure, cap):
    """The commands for one chart."""
    table, means = samples.table(document, figure)
    table = {name: row for name, row in table.items() if row[document["baseline"]].ratio is not None} # else there is nothing to compare with
    rows, width = list(table.values()), 0.84 / len(means)
    plots, lines = [], ["unset label"]
    for index, (name, mean) in enumerate(means.items()):
        place = (index - (len(means) - 1) / 2) * width
        block, colour = f"{figure}{index}", quoted(COLOURS.get(name, "#000000"))
        title = quoted(f"{shown(name)}, geometric mean {mean:.2f}" if mean else f"{shown(name)}, no mean")
        lines += data_block(block, rows, name, place, cap)
        lines += cut_labels(rows, name, place, cap)
        plots += [f"${block} using 1:2:({width:.4f}) with boxes fill solid noborder lc rgb {colour} title {title}",
                  f"${block} using 1:3:(0):($4-$3) with vectors nohead lw 1.5 lc rgb '#222222' notitle"]
    tics = ", ".join(f"{quoted(name)} {x}" for x, name in enumerate(table))
    lines += [f"set title {quoted(samples.FIGURES[figure] + ' as a ratio to ' + document['baseline'] + ', less is better')}",
              f"set xtics ({tics}) noenhanced" + (" rotate by 45 right" if len(rows) > FIT_FLAT else ""), f"set xrange [-0.6:{len(rows) - 0.4}]", f"set yrange [0:{cap}]",
              "plot " + ", ".join(plots + ["1 lc rgb '#222222' dt 2 notitle"])]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", help="what run.py --json wrote")
    parser.add_argument("output", help="a name that ends in .svg or .png")
    parser.add_argument("--cap", type=float, default=3.0, help="the longest bar, as a ratio (default 3)")
    parser.add_argument("--commands", action="store_true", help="print the gnuplot commands instead of running gnuplot")
    arguments = parser.parse_args()
    terminal = TERMINALS.get(arguments.output[-4:])
    if not terminal:
        parser.error("the output must end in .svg or .png")
    with open(arguments.json, encoding="utf-8") as file:
        document = json.load(file)
    machine = document["machine"]
    caption = f"{machine['cpu']}, {machine['cores']} cores, {machine['libc']}, {document['rounds']} rounds"
    commands = [f"set terminal {terminal}", f"set output {quoted(arguments.output)}", "set encoding utf8",
                "set grid ytics lt 1 lc rgb '#dddddd'", "set border 3", "set tics nomirror out",
                "set key outside below center horizontal Left reverse samplen 1",
                f"set multiplot layout 2,1 title {quoted(caption)} noenhanced font ',10'"]
    for figure in samples.FIGURES:
        commands += chart(document, figure, arguments.cap)
    script = "\n".join(commands + ["unset multiplot", ""])
    if arguments.commands:
        print(script, end="")
        return 0
    try:
        return subprocess.run(["gnuplot"], input=script, text=True, check=False).returncode
    except FileNotFoundError:
        sys.exit("plot.py: gnuplot is not installed (Debian package gnuplot-nox)")


if __name__ == "__main__":
    sys.exit(main())
