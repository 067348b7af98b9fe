#!/usr/bin/python3
"""Resident memory over time on a spiky load (bench/tides), for the peers as they come and for Labyrinth with several decay times.

Every run is a process of its own; all have their turn --rounds times. In the table: the mean of what is resident over what the program asked
for at that moment, in MiB, its maximum, and the processor time as a ratio to jemalloc's; medians of the rounds. With --plot, the median round
of each as curves.
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


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", default=allocators.DEFAULT_LIBRARY, metavar="FILE", help="Labyrinth's drop-in")
    parser.add_argument("--program", default=os.path.join(allocators.ROOT, "build", "release", "bench", "tides"), metavar="FILE")
    parser.add_argument("--peers", default=",".join(allocators.PEERS), metavar="NAMES", help="or none (default %(default)s)")
    parser.add_argument("--decay", default="0,250,500,1000,2000,10000,never", metavar="MS,…", help="Labyrinth's (default %(default)s)")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="another run of Labyrinth, with this setting")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--json", metavar="FILE", help="save the samples")
    parser.add_argument("--show", metavar="FILE", help="run nothing: use what --json saved")
    parser.add_argument("--plot", metavar="FILE", help="also draw the curves, as .svg or .png; needs gnuplot-nox")
    parser.add_argument("--curves", default="jemalloc,mimalloc,glibc,DECAY_MS=1000", metavar="NAMES", help="which (default %(default)s)")
    parser.add_argument("rest", nargs="*", metavar="OPTION", help="after --: options of the program")
    return parser.parse_args()


def cases(arguments, directory):
    """(name, environment) of each."""
    for peer in allocators.find_peers(arguments.peers.split(",")):
        yield peer.name, {"LD_PRELOAD": peer.path} if peer.path else {}
    library = allocators.labyrinth(arguments.lib, directory)
    settings = [f"DECAY_MS={decay}" for decay in arguments.decay.split(",")] + arguments.setting
    for setting in settings:
        pairs = (part.split("=") for part in setting.split())
        yield setting, dict({"LD_PRELOAD": library.path}, **{f"LABYRINTH_{name}": value for name, value in pairs})


def run(program, environment, rest):
    done = subprocess.run([program, *rest], env=dict(os.environ, **environment), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"tides.py: {program}: {done.stderr.strip() or done.returncode}")
    lines = [line.split() for line in done.stdout.splitlines()]
    return {"samples": [[int(figure) for figure in line[1:]] for line in lines if line[0] == "sample"],
            "cpu": next(float(line[1]) for line in lines if line[0] == "cpu")}


def excess(result):
    """The mean over time of resident minus live, MiB."""
    samples = result["samples"]
    area = sum((rss - live) * (after[0] - ms) for (ms, live, rss), after in zip(samples, samples[1:]))
    return area / (samples[-1][0] - samples[0][0]) / 1024


def peak(result):
    return max(sample[2] for sample in result["samples"]) / 1024


def settled(result):
    return result["samples"][-1][2] / 1024


def median(results, figure):
    return statistics.median(figure(result) for result in results)


def print_table(results):
    base = median(results["jemalloc"], lambda result: result["cpu"]) if "jemalloc" in results else None
    print("| | over what is in use, mean, MiB | at the end, MiB | peak, MiB | processor time |\n|---|---:|---:|---:|---:|")
    for name, rounds in results.items():
        cpu = median(rounds, lambda result: result["cpu"])
        time = f"{cpu / base:.2f}" if base else f"{cpu:.2f} s"
        print(f"| {name} | {median(rounds, excess):.1f} | {median(rounds, settled):.1f} | {median(rounds, peak):.0f} | {time} |")


def title_of(name, names):
    """Labyrinth's runs have the names of their settings: those are told apart only where there are several."""
    settings = [one for one in names if "=" in one]
    if name not in settings:
        return plot.shown(name)
    return "Labyrinth" if len(settings) == 1 else f"Labyrinth, {name}"


def draw(results, names, output):
    colours, curves, lines = ["#0072b2", "#e69f00", "#999999", "#009e73", "#56b4e9", "#d55e00"], [], []
    chosen = [name for name in names if name in results]
    for index, name in enumerate(chosen):
        middle = sorted(results[name], key=excess)[len(results[name]) // 2]
        lines += [f"$run{index} << END", *(f"{ms / 1000} {rss / 1024}" for ms, _, rss in middle["samples"]), "END"]
        curves.append(f"$run{index} with lines lw {2.5 if '=' in name else 1.5} lc rgb '{colours[index % len(colours)]}' title {plot.quoted(title_of(name, chosen))}")
    live = results[chosen[0]][0]["samples"]
    lines += ["$live << END", *(f"{ms / 1000} {kib / 1024}" for ms, kib, _ in live), "END"]
    curves.append("$live with lines dt 2 lc rgb '#000000' title 'in use'")
    head = [f"set terminal {plot.TERMINALS[output[-4:]].replace('760', '460')}", f"set output {plot.quoted(output)}", "set encoding utf8",
            "set xlabel 'seconds'", "set ylabel 'resident, MiB'", "set yrange [0:]", "set grid ytics lt 1 lc rgb '#dddddd'", "set border 3",
            "set tics nomirror out", "set key outside below center horizontal noenhanced"]
    subprocess.run(["gnuplot"], input="\n".join(head + lines + ["plot " + ", ".join(curves), ""]), text=True, check=True)


def main():
    arguments = parse_arguments()
    if arguments.show:
        with open(arguments.show, encoding="utf-8") as file:
            results = json.load(file)
    else:
        results = {}
        with tempfile.TemporaryDirectory() as directory:
            chosen = list(cases(arguments, directory))
            for _ in range(arguments.rounds):
                for name, environment in chosen:
                    results.setdefault(name, []).append(run(arguments.program, environment, arguments.rest))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file)
    print_table(results)
    if arguments.plot:
        draw(results, arguments.curves.split(","), arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
