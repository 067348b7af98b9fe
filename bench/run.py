#!/usr/bin/python3
"""Runs the benchmark programs under glibc, jemalloc, mimalloc, tcmalloc, TBB's malloc, scudo and Labyrinth, and prints how they compare.

Each benchmark is run in rounds; in a round each allocator has its turn, and another one begins each time, so that a
drift of the machine's speed hits all alike. One more round goes first and does not count. Every run is a process of
its own, measured by build/.../bench/measure (see measure.c: a child of Python would show Python's peak RSS). The
tables give medians as ratios to jemalloc, with the extremes; below 1 is better. What failed once has no figures.
"""

import argparse
import collections
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import allocators
import samples
import traces

# A workload: a program with options, under a name of its own. in_mean: its ratio is part of the geometric mean. Those that are not are
# there to show who survives, so that a peer's failure is a result. limit: seconds after which a run counts as hung; None: --timeout.
# trace: the name of a program in traces.py whose trace is recorded first, and played.
Workload = collections.namedtuple("Workload", "program options in_mean limit trace", defaults=((), True, None, None))
WORKLOADS = {name: Workload(name) for name in (
    "churn", "lifetimes", "handover", "prodcons", "threads", "large", "realloc", "calloc", "cache", "spike", "pair", "batches", "lists", "aligned",
    "shift", "births", "containers", "rcu")}
WORKLOADS |= {
    "replace": Workload("churn", ("--live", "48k", "--ops", "12m")),
    "fan_in": Workload("fan", ("--producers", "3", "--consumers", "1")),
    "fan_out": Workload("fan", ("--producers", "1", "--consumers", "3")),
    "sharing": Workload("sharing"),
    "sharing_passive": Workload("sharing", ("--passive", "1")),
    "crowd": Workload("threads", ("--threads", "64", "--ops", "60k", "--live", "500")),
    **{f"trace_{name}": Workload("play", ("--repeat", "3"), trace=name) for name in traces.PROGRAMS},
    "storm": Workload("storm", (), False, 15),
}
BENCHMARKS = list(WORKLOADS)
HUNG = 14  # SIGALRM, by which `measure` ends a run
MEASURED = re.compile(r"^measured \S+ wall_ns (\d+) cpu_us (\d+) maxrss_kib (\d+) exit (-?\d+) signal (\d+)$", re.MULTILINE)
NO_FIGURES = {"wall_s": None, "cpu_s": None, "maxrss_kib": None, "ops": None, "checksum": None}


class Parser(argparse.ArgumentParser):
    """What is wrong with the arguments is said in one line."""

    def error(self, message):
        self.exit(2, f"run.py: {message} (try --help)\n")


def parse_arguments():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAMES",
                        help="benchmarks to run, separated by commas; default: all, " + ",".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds that count, after one warm-up (default 5)")
    parser.add_argument("--lib", metavar="FILE", help="Labyrinth's drop-in (default build/release/preload/liblabyrinth.so)")
    parser.add_argument("--peers", metavar="NAMES", default=",".join(allocators.PEERS),
                        help="allocators to compare with, separated by commas, or none (default %(default)s)")
    parser.add_argument("--alloc", metavar="NAME=FILE", action="append", default=[],
                        help="another allocator to compare with: the library FILE, under this name; as often as you like")
    parser.add_argument("--baseline", default="jemalloc", metavar="NAME", help="what the ratios are to (default jemalloc)")
    parser.add_argument("--programs", metavar="DIR", default=os.path.join(allocators.ROOT, "build", "release", "bench"),
                        help="where the programs are (default build/release/bench)")
    parser.add_argument("--timeout", type=int, default=60, metavar="SECONDS", help="longest run (default 60)")
    parser.add_argument("--quick", action="store_true", help="tiny runs: tests the runner, measures nothing")
    parser.add_argument("--markdown", nargs="?", const="-", metavar="FILE", help="also write the tables as Markdown (to FILE)")
    parser.add_argument("--json", metavar="FILE", help="save the raw samples")
    parser.add_argument("--csv", metavar="FILE", help="save them as a table as well, one run a line")
    parser.add_argument("--show", metavar="FILE", help="run nothing: print the tables of saved samples")
    parser.add_argument("--check-arguments", action="store_true", help="run nothing: only say what is wrong with the arguments")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    arguments.only = arguments.only.split(",") if arguments.only else list(BENCHMARKS)
    arguments.peers = [] if arguments.peers == "none" else arguments.peers.split(",")
    for name in arguments.only:
        if name not in BENCHMARKS:
            parser.error(f"no such benchmark: {name}")
    for name in arguments.peers:
        if name not in allocators.PEERS:
            parser.error(f"no such peer: {name}")
    arguments.alloc = [tuple(text.partition("=")[::2]) for text in arguments.alloc]
    for name, path in arguments.alloc:
        if not path or not re.fullmatch(r"[\w.+-]+", name):
            parser.error(f"--alloc wants NAME=FILE, not {name}{'=' if path else ''}{path}")
        if not os.path.exists(path):
            parser.error(f"there is no {path}")
        if name in [*allocators.PEERS, "labyrinth"]:
            parser.error(f"{name} is taken: give it another name")
    if arguments.check_arguments:
        sys.exit(0)
    return arguments


def note(text):
    print(text, file=sys.stderr, flush=True)


def find_allocators(arguments, programs):
    """Peers and Labyrinth, in this order. What is missing, or has no effect, is said and left out."""
    found = allocators.find_peers(arguments.peers)
    found += [allocators.other(name, path, programs) for name, path in arguments.alloc]
    library = arguments.lib or allocators.DEFAULT_LIBRARY
    if os.path.exists(library):
        found.append(allocators.labyrinth(library, programs))
    elif arguments.lib:
        sys.exit(f"run.py: there is no {library}")
    else:
        note(f"labyrinth: left out, there is no {os.path.relpath(library)}")
    return [a for a in found if has_effect(a, programs)]


def has_effect(allocator, programs):
    """False if the loader goes on without the library. One that crashes stays in: its runs will be reported as failed."""
    if allocator.path is None:
        return True
    source = allocators.malloc_comes_from(os.path.join(programs, "pair"), allocator.path)
    if source and not os.path.samefile(source, allocator.path):
        note(f"{allocator.name}: left out, malloc comes from {source} when {allocator.path} is preloaded")
        return False
    return True


def copy_programs(arguments, directory):
    """Copies what will be run, so that a build meanwhile does not change what is measured."""
    names = [WORKLOADS[name].program for name in arguments.only] + ["measure", "pair"]
    names += ["librecord.so"] * any(WORKLOADS[name].trace for name in arguments.only)
    for name in dict.fromkeys(names):
        path = os.path.join(arguments.programs, name)
        if not os.access(path, os.X_OK):
            sys.exit(f"run.py: there is no program {name} in {arguments.programs}: build it, or give --programs")
        shutil.copy(path, directory)


def record_traces(arguments, programs):
    """Leaves out what cannot be recorded here, and says so."""
    for name in [name for name in arguments.only if WORKLOADS[name].trace]:
        trace = WORKLOADS[name].trace
        failure = traces.record(trace, os.path.join(programs, "librecord.so"), os.path.join(programs, trace + ".trace"), arguments.quick)
        if failure:
            note(f"{name}: left out: {failure}")
            arguments.only.remove(name)


def quick_options(workload):
    """The options that say how many threads of which kind there are; not those that say how much is done."""
    pairs = zip(workload.options[::2], workload.options[1::2])
    return [word for name, value in pairs if name in ("--producers", "--consumers", "--passive") for word in (name, value)]


def run_once(arguments, programs, benchmark, allocator):
    """One run: its figures, and `failure`, which is None if it ended well."""
    limit = min(arguments.timeout, WORKLOADS[benchmark].limit or arguments.timeout)
    command = [os.path.join(programs, "measure"), "--timeout", str(limit), "--preload", allocator.path or "-",
               "--", os.path.join(programs, WORKLOADS[benchmark].program), *WORKLOADS[benchmark].options]
    if WORKLOADS[benchmark].trace:
        command.insert(command.index("--") + 2, os.path.join(programs, WORKLOADS[benchmark].trace + ".trace"))
    elif arguments.quick:  # the sizes of a quick run, and only those options that say what kind of run it is
        command = command[:command.index("--") + 2] + ["--quick", *quick_options(WORKLOADS[benchmark])]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    measured = MEASURED.search(done.stdout)
    result = dict(re.findall(r"^(\w+) ([0-9a-f]+)\b", done.stdout, re.MULTILINE))
    if not measured:
        return dict(NO_FIGURES, failure=f"measure ended with {done.returncode}: {done.stderr.strip()}")
    wall, cpu, rss, status, signal = map(int, measured.groups())
    figures = {"wall_s": wall / 1e9, "cpu_s": cpu / 1e6, "maxrss_kib": rss, "ops": int(result.get("ops", 0)),
               "checksum": result.get("checksum"), "failure": None}
    if "settled_rss_kib" in result:
        figures["settled_rss_kib"] = int(result["settled_rss_kib"])
    message = " ".join(done.stderr.split())[:200]
    if signal == HUNG:
        figures["failure"] = f"hung: ended after {limit} s"
    elif signal:
        figures["failure"] = f"signal {signal} {message}".strip()
    elif status:
        figures["failure"] = f"exit {status} {message}".strip()
    elif "cannot be preloaded" in message:
        figures["failure"] = "the library was not loaded"
    elif not result.get("ops"):
        figures["failure"] = "no result was printed"
    return figures


def collect(arguments, programs, found):
    """Runs everything. Gives the list of samples."""
    collected = []
    for benchmark in arguments.only:
        for turn in range(arguments.rounds + 1):
            first = turn % len(found)
            note(f"[{arguments.only.index(benchmark) + 1} of {len(arguments.only)}] {benchmark}: "
                 f"{'round ' + str(turn) + ' of ' + str(arguments.rounds) if turn else 'warm-up'}")
            for allocator in found[first:] + found[:first]:
                sample = {"benchmark": benchmark, "allocator": allocator.name, "round": turn}
                collected.append(dict(sample, **run_once(arguments, programs, benchmark, allocator)))
        slowest = max((s["wall_s"] or 0 for s in collected if s["benchmark"] == benchmark), default=0)
        note(f"{benchmark}: {arguments.rounds} rounds and a warm-up, slowest run {slowest:.2f} s")
    samples.mark_wrong_checksums(collected)
    order = {allocator.name: place for place, allocator in enumerate(found)}
    return sorted(collected, key=lambda s: (arguments.only.index(s["benchmark"]), order[s["allocator"]], s["round"]))


def cell_text(cell):
    if cell.failure:
        return "FAILED"
    if cell.ratio is None:
        return "no baseline"
    return f"{cell.ratio:.2f} ({cell.low:.2f}-{cell.high:.2f})"


def table_rows(document, figure):
    """The table as rows of strings, head first. The last column is the baseline in its unit, for scale."""
    rows, means = samples.table(document, figure)
    names, base = list(means), document["baseline"]
    unit = (lambda c: f"{c.median:.3f} s") if figure == "wall_s" else (lambda c: f"{c.median / 1024:.1f} MiB")
    lines = [["benchmark"] + names + [f"{base} is"]]
    for benchmark, row in rows.items():
        absolute = unit(row[base]) if base in row and row[base].median is not None else "-"
        lines.append([benchmark] + [cell_text(row[name]) for name in names] + [absolute])
    lines.append(["geometric mean"] + ["-" if means[name] is None else f"{means[name]:.2f}" for name in names] + [""])
    return lines


def render_text(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines]


def render_markdown(lines):
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    return ["| " + " | ".join(line) + " |" for line in [lines[0], rule] + lines[1:]]


def failure_lines(document):
    for benchmark in samples.names(document, "benchmark"):
        for name in samples.names(document, "allocator"):
            failure = samples.failure_of(samples.of(document, benchmark, name))
            if failure:
                yield f"FAILED: {benchmark} under {name}: {failure}"


def settled_line(document):
    """What `spike` and `shift` report besides time and peak: resident memory at the end. Medians, in MiB."""
    lines = []
    for benchmark in ("spike", "shift"):
        parts = []
        for name in samples.names(document, "allocator"):
            runs = samples.of(document, benchmark, name)
            settled = sorted(s["settled_rss_kib"] for s in runs if s["round"] and "settled_rss_kib" in s)
            if settled and not samples.failure_of(runs):
                parts.append(f"{name} {settled[len(settled) // 2] / 1024:.1f}")
        lines += [f"resident after {benchmark}, at once, in MiB: " + ", ".join(parts)] if parts else []
    return "\n".join(lines)


def report(document, render, bullet):
    """The whole text: the machine and the allocators first, then the tables."""
    head = [f"{bullet}{name}: {value}" for name, value in document["machine"].items()]
    for allocator in document["allocators"]:
        head.append(f"{bullet}{allocator['name']}: {allocator['version']}, {allocator['source'] or 'no preload'}")
    quick = " (--quick: measures nothing)" if document["quick"] else ""
    text = head + [f"{bullet}rounds: {document['rounds']}, after a warm-up{quick}"]
    for figure, title in samples.FIGURES.items():
        text += ["", f"{title}: median as a ratio to {document['baseline']} (minimum-maximum); less is better", ""]
        text += render(table_rows(document, figure))
    if settled_line(document):
        text += ["", settled_line(document)]
    failures = list(failure_lines(document))
    return "\n".join(text + ([""] + [bullet + line for line in failures] if failures else [])) + "\n"


def measure(arguments):
    """Runs everything in a directory of its own. Gives the document to save and to print."""
    machine = allocators.machine()
    with tempfile.TemporaryDirectory(prefix="labyrinth-bench-") as programs:
        copy_programs(arguments, programs)
        record_traces(arguments, programs)
        found = find_allocators(arguments, programs)
        if not found:
            sys.exit("run.py: no allocator is left")
        collected = collect(arguments, programs, found)
    return {"machine": machine, "allocators": [{"name": a.name, "version": a.version, "source": a.source} for a in found],
            "baseline": arguments.baseline, "outside_mean": [name for name, workload in WORKLOADS.items() if not workload.in_mean], "rounds": arguments.rounds, "quick": arguments.quick, "samples": collected}


def save_csv(document, path):
    """One run a line, the machine above as comments."""
    columns = ["benchmark", "allocator", "round", "wall_s", "cpu_s", "maxrss_kib", "settled_rss_kib", "ops", "checksum", "failure"]
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {name}: {value}\n" for name, value in document["machine"].items())
        file.writelines(f"# {a['name']}: {a['version']}, {a['source'] or 'no preload'}\n" for a in document["allocators"])
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(document["samples"])


def failed(document):
    """Whether a run failed that should not have: in what is there to show who survives, only ours."""
    outside = document.get("outside_mean", [])
    return any(s["failure"] and (s["benchmark"] not in outside or s["allocator"] == "labyrinth") for s in document["samples"])


def main():
    arguments = parse_arguments()
    if arguments.show:
        with open(arguments.show, encoding="utf-8") as file:
            document = json.load(file)
    else:
        document = measure(arguments)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
    if arguments.csv:
        save_csv(document, arguments.csv)
    print(report(document, render_text, ""), end="")
    if arguments.markdown == "-":
        print("\n" + report(document, render_markdown, "- "), end="")
    elif arguments.markdown:
        with open(arguments.markdown, "w", encoding="utf-8") as file:
            file.write(report(document, render_markdown, "- "))
    return 1 if failed(document) else 0


if __name__ == "__main__":
    sys.exit(main())
