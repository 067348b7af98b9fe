"""From raw samples to ratios: the arithmetic behind the tables and the plots, and nothing else.

A document is what run.py saves as JSON: the machine, the allocators, the name of the baseline, and a list of samples, one
for each run of a program: {benchmark, allocator, round, wall_s, cpu_s, maxrss_kib, ops, checksum, failure}. Round 0 is the
warm-up: its figures do not count, its failures do. "outside_mean": workloads that are there to show who survives.
"""

import collections
import math
import statistics

# A figure of one benchmark under one allocator. median: in the unit of the figure; ratio, low, high: median, minimum and
# maximum, divided by the baseline's median (None without a baseline). failure: None, or why there are no figures.
Cell = collections.namedtuple("Cell", "median ratio low high failure")
FIGURES = {"wall_s": "wall time", "maxrss_kib": "peak RSS"}


def names(document, key):
    """The benchmarks or allocators that were run, in their order."""
    return list(dict.fromkeys(sample[key] for sample in document["samples"]))


def of(document, benchmark, allocator):
    return [s for s in document["samples"] if s["benchmark"] == benchmark and s["allocator"] == allocator]


def mark_wrong_checksums(samples):
    """A run whose checksum differs from that of most good runs of the same benchmark did other work: it has failed."""
    for benchmark in {sample["benchmark"] for sample in samples}:
        good = [s for s in samples if s["benchmark"] == benchmark and not s["failure"]]
        common = collections.Counter(s["checksum"] for s in good).most_common(1)
        for sample in good:
            if sample["checksum"] != common[0][0]:
                sample["failure"] = f"checksum {sample['checksum']}, not {common[0][0]}"


def failure_of(samples):
    """None if all runs were good, else how many were not, and why the first was not."""
    reasons = [s["failure"] for s in samples if s["failure"]]
    return f"{len(reasons)} of {len(samples)} runs failed: {reasons[0]}" if reasons else None


def cell(document, benchmark, allocator, figure):
    """One failed run is enough to lose the figures: a crash must not look fast."""
    samples = of(document, benchmark, allocator)
    failure = failure_of(samples)
    values = [s[figure] for s in samples if s["round"] > 0 and not s["failure"]]
    if failure or not values:
        return Cell(None, None, None, None, failure or "not run")
    median = statistics.median(values)
    reference = of(document, benchmark, document["baseline"])
    base = [s[figure] for s in reference if s["round"] > 0]
    if failure_of(reference) or not base:
        return Cell(median, None, None, None, None)
    unit = statistics.median(base)
    return Cell(median, median / unit, min(values) / unit, max(values) / unit, None)


def geometric_mean(cells):
    """Of the ratios; None if any benchmark lacks one: a mean over the rest would not compare with the other allocators'."""
    if not cells or any(c.ratio is None for c in cells):
        return None
    return math.exp(statistics.fmean(math.log(c.ratio) for c in cells))


def table(document, figure):
    """{benchmark: {allocator: Cell}} and {allocator: geometric mean or None}."""
    allocators = names(document, "allocator")
    rows = {b: {a: cell(document, b, a, figure) for a in allocators} for b in names(document, "benchmark")}
    counted = [row for benchmark, row in rows.items() if benchmark not in document.get("outside_mean", [])]
    means = {a: geometric_mean([row[a] for row in counted]) for a in allocators}
    return rows, means
