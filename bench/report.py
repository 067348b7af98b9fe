#!/usr/bin/python3
"""Makes one page of all that the benchmarks say: report.html in a folder, complete in itself, with the raw samples beside it.

report.py FOLDER runs run.py, latency.py, tides.py and scaling.py, each of which saves what it measured in FOLDER, and draws the page.
report.py FOLDER --show draws it anew from what is there. The page loads nothing: pictures are SVG by gnuplot, set into it.
"""

import argparse
import html
import json
import os
import re
import subprocess
import sys
import tempfile

import allocators
import latency
import plot
import samples
import scaling
import tides

HERE = os.path.dirname(os.path.abspath(__file__))

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
p, li { max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; text-align: right; white-space: nowrap; border: 1px solid #fff; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
th { border-bottom: 2px solid #888; }
tr.mean td { font-weight: 600; border-top: 2px solid #888; }
td.failed { background: #222; color: #fff; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; min-width: 30rem; }
figcaption, .machine { font-size: .85rem; color: #444; }
code { background: #f0f0f0; padding: .1rem .3rem; border-radius: .2rem; }
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="where the samples and report.html go; made if it is not there")
    parser.add_argument("--show", action="store_true", help="run nothing: draw the page from what is in the folder")
    parser.add_argument("--quick", action="store_true", help="about 3 minutes: tiny runs, whose figures say little")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of run.py (default: its own)")
    parser.add_argument("--peers", metavar="NAMES", help="allocators to compare with, or none (default: all that are installed)")
    parser.add_argument("--alloc", metavar="NAME=FILE", action="append", default=[], help="another one; for run.py alone")
    parser.add_argument("--only", metavar="NAMES", help="workloads of run.py (default: all)")
    parser.add_argument("--lib", metavar="FILE", help="Labyrinth's drop-in")
    parser.add_argument("--programs", metavar="DIR", help="where the benchmark programs are")
    return parser.parse_args()


def commands(arguments):
    """{name of the part: its command line}, for what is run and for the captions."""
    common = [f"--{name}={getattr(arguments, name)}" for name in ("peers", "lib") if getattr(arguments, name)]
    programs = [f"--programs={arguments.programs}"] if arguments.programs else []
    tides_program = [f"--program={os.path.join(arguments.programs, 'tides')}"] if arguments.programs else []
    quick, folder = arguments.quick, arguments.folder
    run_options = [f"--rounds={arguments.rounds or 1}"] if arguments.rounds or quick else []
    run_options += [f"--only={arguments.only}"] if arguments.only else []
    run_options += [f"--alloc={one}" for one in arguments.alloc] + ["--quick", "--timeout=20"] * quick
    return {
        "run": ["run.py", *common, *programs, *run_options, f"--json={folder}/run.json", f"--csv={folder}/run.csv"],
        "latency": ["latency.py", *common, *programs, *["--calls=20000"] * quick, f"--json={folder}/latency.json"],
        "tides": ["tides.py", *common, *tides_program, "--decay=1000", "--rounds=1" if quick else "--rounds=3", f"--json={folder}/tides.json",
                  *["--", "--quick"] * quick],
        "scaling": ["scaling.py", *common, *programs, *["--ops=200000", "--rounds=1"] * quick, f"--json={folder}/scaling.json"],
    }


def run_all(arguments):
    """Runs the parts. What a part prints goes to FOLDER/NAME.txt. One that fails is said, and its part of the page is missing."""
    good = True
    for name, command in commands(arguments).items():
        print(f"report.py: {' '.join(command)}", file=sys.stderr, flush=True)
        with open(os.path.join(arguments.folder, name + ".txt"), "w", encoding="utf-8") as file:
            status = subprocess.run([sys.executable, "-B", os.path.join(HERE, command[0]), *command[1:]], stdout=file, check=False).returncode
        if status:
            print(f"report.py: {command[0]} ended with {status}", file=sys.stderr)
            good = False
    return good


def load(arguments, name):
    path = os.path.join(arguments.folder, name + ".json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


# ---- parts of the page ----


def picture(draw, number):
    """What draw(path) puts into an SVG file, fit to be set into a page: ids are made different from those of other pictures."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.svg")
        draw(path)
        with open(path, encoding="utf-8") as file:
            text = file.read()
    text = text[text.index("<svg"):]
    text = re.sub(r"<title>Gnuplot</title>\s*|<desc>Produced by GNUPLOT[^<]*</desc>\s*", "", text)
    for name in set(re.findall(r'\bid="([^"]+)"', text)):
        text = re.sub(rf'(id="|href=[\'"]#|url\(#){re.escape(name)}(?=[\'")])', rf"\g<1>p{number}-{name}", text)
    return text


def figure(draw, number, caption, command):
    return (f'<figure class="scroll">{picture(draw, number)}<figcaption>{html.escape(caption)} '
            f'<code>bench/{html.escape(" ".join(command))}</code></figcaption></figure>')


def colour(ratio):
    """Green below 1, white at 1, red above; on a logarithmic scale to a factor of 2."""
    depth = max(-1.0, min(1.0, (ratio - 1) if ratio < 1 else (1 - 1 / ratio)))
    depth = depth * 2 if abs(depth) < 0.5 else (1 if depth > 0 else -1)
    tint = (0, 158, 115) if depth < 0 else (213, 94, 0)
    return "#%02x%02x%02x" % tuple(round(255 + (part - 255) * abs(depth) * 0.75) for part in tint)


def heat_table(document, name):
    rows, means = samples.table(document, name)
    unit = (lambda c: f"{c.median:.2f} s") if name == "wall_s" else (lambda c: f"{c.median / 1024:.0f} MiB")
    base = document["baseline"]
    lines = ["<tr><th>workload</th>" + "".join(f"<th>{html.escape(plot.shown(a))}</th>" for a in means) + f"<th>{html.escape(base)} is</th></tr>"]
    outside = document.get("outside_mean", [])
    for benchmark, row in ((name, row) for name, row in rows.items() if name not in outside):
        cells = []
        for cell in row.values():
            if cell.failure:
                cells.append(f'<td class="failed" title="{html.escape(cell.failure)}">failed</td>')
            elif cell.ratio is None:
                cells.append("<td>-</td>")
            else:
                cells.append(f'<td style="background:{colour(cell.ratio)}" title="{cell.low:.2f} to {cell.high:.2f}">{cell.ratio:.2f}</td>')
        absolute = unit(row[base]) if base in row and row[base].median is not None else "-"
        lines.append(f"<tr><td>{html.escape(benchmark)}</td>{''.join(cells)}<td>{absolute}</td></tr>")
    cells = "".join("<td>-</td>" if mean is None else f'<td style="background:{colour(mean)}">{mean:.2f}</td>' for mean in means.values())
    lines.append(f'<tr class="mean"><td>geometric mean</td>{cells}<td></td></tr>')
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def draw_means(document):
    """Two bars an allocator: time and peak RSS, geometric means over the workloads that all of them survive."""
    def draw(path):
        names = samples.names(document, "allocator")
        means = {figure: common_means(document, figure) for figure in samples.FIGURES}
        order = sorted((name for name in names if means["wall_s"].get(name)), key=lambda name: means["wall_s"][name])
        lines = ["$means << END"] + [f'{plot.quoted(plot.shown(n)).replace(chr(39), chr(34))} {means["wall_s"][n]:.4f} {means["maxrss_kib"][n]:.4f}'
                                     for n in order] + ["END"]
        head = [f"set terminal {plot.TERMINALS['.svg'].replace('760', '330')}", f"set output {plot.quoted(path)}", "set encoding utf8",
                "set style data histograms", "set style histogram clustered gap 1", "set style fill solid noborder", "set yrange [0:*]",
                "set grid ytics lt 1 lc rgb '#dddddd'", "set border 3", "set tics nomirror out", "set xtics noenhanced",
                "set key outside below center horizontal", f"set ylabel {plot.quoted('ratio to ' + document['baseline'] + ', less is better')}"]
        commands_ = ["plot $means using 2:xtic(1) lc rgb '#0072b2' title 'wall time', '' using 3 lc rgb '#e69f00' title 'peak memory', "
                     "'' using 0:2:(sprintf('%.2f', $2)) with labels offset -2.2,0.6 font ',10' notitle, "
                     "'' using 0:3:(sprintf('%.2f', $3)) with labels offset 2.2,0.6 font ',10' notitle, 1 lc rgb '#222222' dt 2 notitle"]
        subprocess.run(["gnuplot"], input="\n".join(head + lines + commands_ + [""]), text=True, check=True)
    return draw


def common_means(document, figure_name):
    """{allocator: geometric mean over the workloads that no allocator failed}: a mean that one failure took away would hide the others."""
    rows, _ = samples.table(document, figure_name)
    outside = document.get("outside_mean", [])
    good = [row for name, row in rows.items() if name not in outside and all(cell.ratio is not None for cell in row.values())]
    return {name: samples.geometric_mean([row[name] for row in good]) for name in samples.names(document, "allocator")}


def survivors(document):
    """What became of each allocator in the workloads that are there to show who survives."""
    lines = []
    for benchmark in document.get("outside_mean", []):
        for name in samples.names(document, "allocator"):
            runs = samples.of(document, benchmark, name)
            if not runs:
                continue
            failure = samples.failure_of(runs)
            seconds = samples.cell(document, benchmark, name, "wall_s").median
            end = html.escape(failure) if failure else f"lives: {seconds:.2f} s" if seconds else "lives"
            lines.append(f'<tr><td>{html.escape(plot.shown(name))}</td><td style="text-align:left">{end}</td></tr>')
    return f'<div class="scroll"><table><tr><th>allocator</th><th style="text-align:left">what became of it</th></tr>{"".join(lines)}</table></div>'


def sections(arguments):
    """The page's parts, in order; those of which there are no samples are left out."""
    how = commands(arguments)
    document = load(arguments, "run")
    if document:
        machine = "; ".join(f"{name}: {value}" for name, value in document["machine"].items())
        yield f'<p class="machine">{html.escape(machine)}. {document["rounds"]} rounds after a warm-up{", quick: tiny runs" if document["quick"] else ""}.</p>'
        yield "<h2>In ten seconds</h2>" + figure(draw_means(document), 1, "Geometric means over the workloads that every allocator survives.", how["run"])
        yield "<h2>Wall time by workload</h2><p>Ratios to " + html.escape(document["baseline"]) + ": green is faster, orange slower; point at a cell for its extremes.</p>"
        yield heat_table(document, "wall_s")
        yield "<h2>Peak memory by workload</h2>" + heat_table(document, "maxrss_kib")
        if any(s["benchmark"] in document.get("outside_mean", []) for s in document["samples"]):
            yield ("<h2>Who survives a signal handler that allocates</h2><p>A handler that runs 10,000 times a second replaces blocks while the thread "
                   "that it interrupts does.</p>" + survivors(document))
    found = load(arguments, "latency")
    if found:
        series, _ = latency.read_runs(found)
        yield "<h2>Single calls</h2>" + figure(lambda path: latency.draw(found, series, path), 2,
                                                "Calls that took so long or longer; both axes are logarithmic.", how["latency"])
    found = load(arguments, "tides")
    if found:
        chosen = [name for name in found if not name.startswith("DECAY")] + [name for name in found if name.startswith("DECAY")]
        yield "<h2>Memory over time</h2>" + figure(lambda path: tides.draw(found, chosen, path), 3, "Spikes of 256 MiB, light use between.", how["tides"])
    found = load(arguments, "scaling")
    if found:
        yield "<h2>Threads</h2>" + figure(lambda path: scaling.draw(found, path), 4, "The same work, split among so many threads.", how["scaling"])
    if document:
        items = "".join(f"<li>{html.escape(plot.shown(a['name']))}: {html.escape(a['version'])}</li>" for a in document["allocators"])
        yield f"<h2>Versions</h2><ul>{items}</ul>"


def main():
    arguments = parse_arguments()
    os.makedirs(arguments.folder, exist_ok=True)
    good = arguments.show or run_all(arguments)
    body = "\n".join(sections(arguments))
    if not body:
        sys.exit(f"report.py: there are no samples in {arguments.folder}")
    page = ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>Allocator benchmarks</title><style>{STYLE}</style></head><body>\n<h1>Allocator benchmarks</h1>\n{body}\n</body></html>\n")
    path = os.path.join(arguments.folder, "report.html")
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)
    print(path)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
