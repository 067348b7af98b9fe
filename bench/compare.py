#!/usr/bin/python3
"""Compares two builds of an allocator: is the second slower, or larger, than the first?

Both run every workload in interleaved rounds. For each figure the ratio after / before is taken within a round, and their median is printed with
a 95 % confidence interval (percentile bootstrap over the rounds, 10,000 resamples with a fixed seed). A workload is worse only if the whole
interval lies above --limit: then the exit status is 1. Fewer than 5 rounds give no interval worth the name.
"""

import argparse
import math
import os
import random
import statistics
import sys
import tempfile

import allocators
import run
import samples

RESAMPLES = 10000
SEED = 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="a library that can be preloaded")
    parser.add_argument("after", help="another, or the same one again: that shows the noise")
    parser.add_argument("--only", metavar="NAMES", help="workloads, separated by commas (default: all that are in the mean)")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="rounds that count, after one warm-up (default 9)")
    parser.add_argument("--limit", type=float, default=1.03, metavar="RATIO", help="what is worse than this fails (default 1.03)")
    parser.add_argument("--programs", metavar="DIR", default=os.path.join(allocators.ROOT, "build", "release", "bench"))
    parser.add_argument("--timeout", type=int, default=60, metavar="SECONDS", help="longest run (default 60)")
    parser.add_argument("--quick", action="store_true", help="tiny runs: tests the script, measures nothing, and fails for no ratio")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",") if arguments.only else [n for n, w in run.WORKLOADS.items() if w.in_mean]
    for name in arguments.only:
        if name not in run.WORKLOADS:
            parser.error(f"no such benchmark: {name}")
    for path in (arguments.before, arguments.after):
        if not os.path.exists(path):
            parser.error(f"there is no {path}")
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def ratios(collected, benchmark, figure):
    """after / before in each round that counts; [] if a run failed."""
    rounds = {}
    for sample in collected:
        if sample["benchmark"] == benchmark and sample["round"] > 0:
            if sample["failure"]:
                return []
            rounds.setdefault(sample["round"], {})[sample["allocator"]] = sample[figure]
    return [pair["after"] / pair["before"] for pair in rounds.values()]


def interval(values, figure):
    """The 95 % confidence interval of figure(values)."""
    source = random.Random(SEED)
    means = sorted(figure(source.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[int(RESAMPLES * 0.025)], means[int(RESAMPLES * 0.975)]


def geometric(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def rows(collected, only, figure):
    """(workload, ratio, low, high) for each; then their geometric mean's."""
    by_round = []
    for benchmark in only:
        values = ratios(collected, benchmark, figure)
        if not values:
            yield benchmark, None, None, None
            continue
        by_round.append(values)
        yield benchmark, statistics.median(values), *interval(values, statistics.median)
    if by_round and len(by_round) == len(only):
        means = [geometric(values) for values in zip(*by_round)]
        yield "geometric mean", statistics.median(means), *interval(means, statistics.median)


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="labyrinth-compare-") as programs:
        run.copy_programs(arguments, programs)
        run.record_traces(arguments, programs)
        found = [allocators.other(name, path, programs) for name, path in (("before", arguments.before), ("after", arguments.after))]
        found = [allocator for allocator in found if run.has_effect(allocator, programs)]
        if len(found) < 2:
            return 2
        collected = run.collect(arguments, programs, found)
    worse = False
    for figure, title in samples.FIGURES.items():
        print(f"{title}: after / before, median of {arguments.rounds} rounds, 95 % confidence interval")
        for benchmark, ratio, low, high in rows(collected, arguments.only, figure):
            if ratio is None:
                reason = next(s["failure"] for s in collected if s["benchmark"] == benchmark and s["failure"])
                print(f"  {benchmark:16} FAILED: {reason}")
                worse = True
                continue
            is_worse = low > arguments.limit and not arguments.quick
            worse |= is_worse
            print(f"  {benchmark:16} {ratio:.3f}  ({low:.3f}-{high:.3f}){'  WORSE' if is_worse else ''}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
