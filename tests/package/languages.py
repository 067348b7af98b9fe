#!/usr/bin/env python3
"""The examples in Rust (with rustc alone) and in Python (ctypes) are built and run on an installed Labyrinth.

usage: languages.py BUILD MESON
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from tree import PROJECT, environment, install, require, run

RUSTC = "/usr/bin/rustc"  # Debian's, not what is in the caller's PATH
EXAMPLES = PROJECT / "examples"


def check_rust(scratch, libraries):
    for kind in "dylib", "static":
        program = scratch / f"allocator-{kind}"
        run([RUSTC, "--edition", "2021", "-D", "warnings", "-O", "-L", libraries, "-l", f"{kind}=labyrinth_core", "-o", program, EXAMPLES / "allocator.rs"])
        shown = run([program], env=environment(LD_LIBRARY_PATH=libraries, LABYRINTH_STATS=1))
        require("80000 words\n10 packets at once" in shown and "labyrinth: segments" in shown, shown)


def check_python(libraries):
    header = (PROJECT / "include/labyrinth/labyrinth.h").read_text()
    fields = re.findall(r"^\tsize_t (\w+);", re.search(r"^struct lab_stats \{(.*?)^\};", header, re.M | re.S)[1], re.M)
    sys.path.insert(0, str(EXAMPLES))
    import figures  # pylint: disable=import-outside-toplevel
    require(fields == list(figures.FIELDS), f"struct lab_stats has {fields}, figures.py {figures.FIELDS}")

    shown = run([sys.executable, EXAMPLES / "figures.py"], env=environment(LD_PRELOAD=libraries / "liblabyrinth.so.0", PYTHONMALLOC="malloc"))
    used = {when: float(mib) for when, mib in re.findall(r"^(\w+).* in use +([\d.]+) MiB", shown, re.M)}
    dirty = float(re.search(r"^trimmed .* dirty +([\d.]+) MiB", shown, re.M)[1])
    require(used["with"] > used["before"] + 10 > used["after"] and dirty < 1, shown)


def main(build, meson):
    with tempfile.TemporaryDirectory() as scratch:
        libraries = install(build, meson, Path(scratch) / "root")
        check_python(libraries)
        if not os.access(RUSTC, os.X_OK):
            print(f"not run: the example in Rust: there is no {RUSTC}")
            sys.exit(77)
        check_rust(Path(scratch), libraries)


if __name__ == "__main__":
    main(*sys.argv[1:])
