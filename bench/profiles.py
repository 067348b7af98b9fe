#!/usr/bin/python3
"""What the profiles `secure` and `debug` cost in programs that do something: wall time as a ratio to the default. Prints a table.

sort, a C compiler, Perl, Python and SQLite, each on input that is made on the spot; all profiles have their turn in each round. Medians.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import allocators

PROFILES = ("default", "secure", "debug")
JSON = 'import json; d = [{"a": i, "b": [str(i)] * 3} for i in range(%d)]; json.loads(json.dumps(d))'
SQLITE = ('import sqlite3; c = sqlite3.connect(":memory:"); c.execute("create table t(a, b)"); '
          'c.executemany("insert into t values(?, ?)", [(i, str(i)) for i in range(%d)]); '
          'c.execute("select count(*) from t x join t y on x.a = y.a + 1").fetchall()')
PERL = "my %%h; for my $round (1..4) { for my $i (1..%d) { $h{$i} = [1..5, $i]; } }"


def function(i):
    before = f"f{i - 1}" if i else "(int)"
    return f"int f{i}(int x) {{ int s = 0; for (int i = 0; i < x; i++) s += i * {i} ^ x; return s > {i} ? s : {before}(x - 1); }}\n"


def commands(folder, scale):
    """[(name, command)] of what is installed."""
    numbers, source = folder / "numbers", folder / "functions.c"
    generator = random.Random(1)
    numbers.write_text("".join(f"{generator.random()}\n" for _ in range(300000 // scale)))
    source.write_text("".join(function(i) for i in range(800 // scale)))
    cc1 = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True, check=False).stdout.strip() if shutil.which("gcc") else ""
    listed = [
        ("sort, 300,000 lines", ["sort", numbers, "-o", os.devnull]),
        ("cc1 -O1, 800 functions", [cc1, "-quiet", "-O1", source, "-o", os.devnull]),
        ("Perl, a hash of 60,000 lists", ["perl", "-e", PERL % (60000 // scale)]),
        ("Python, JSON of 60,000 objects", ["/usr/bin/python3", "-c", JSON % (60000 // scale)]),
        ("SQLite, 200,000 rows", ["/usr/bin/python3", "-c", SQLITE % (200000 // scale)]),
    ]
    return [(name, list(map(str, command))) for name, command in listed if command[0] and shutil.which(str(command[0]))]


def seconds(command, library, profile):
    clean = {name: value for name, value in os.environ.items() if not allocators.TUNING.match(name)}
    start = time.perf_counter()
    subprocess.run(command, env={**clean, "LD_PRELOAD": library, "LABYRINTH_PROFILE": profile, "LABYRINTH_LEAKS": "0"}, check=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", default=allocators.ROOT + "/build/release/preload/liblabyrinth.so", help="Labyrinth's drop-in")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="tiny runs: tests the script, measures nothing")
    options = parser.parse_args()
    library = os.path.abspath(options.lib)
    if not os.path.exists(library):
        sys.exit(f"profiles.py: there is no {library}")
    print("| program | default | " + " | ".join(PROFILES[1:]) + " |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="labyrinth-profiles-") as folder:
        for name, command in commands(Path(folder), 50 if options.quick else 1):
            times = {profile: [] for profile in PROFILES}
            for _ in range(options.rounds):
                for profile, taken in times.items():
                    taken.append(seconds(command, library, profile))
            median = {profile: statistics.median(taken) for profile, taken in times.items()}
            ratios = " | ".join(f"{median[profile] / median['default']:.2f}" for profile in PROFILES[1:])
            print(f"| {name} | {median['default']:.2f} s | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
