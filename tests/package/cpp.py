#!/usr/bin/env python3
"""labyrinth.hpp: containers.cpp is compiled by each compiler as each C++ that it serves, linked with the installed core, and run.

usage: cpp.py BUILD MESON
"""

import sys
import tempfile
from pathlib import Path

from tree import SOURCES, environment, install, need, run

COMPILERS = ("g++", "clang++")
# The last one is what embedded and game code is compiled with.
STANDARDS = ("c++11", "c++17", "c++20")
WITHOUT = ["-std=c++17", "-fno-exceptions", "-fno-rtti", "-fsyntax-only", "-x", "c++"]
USE = "#include <labyrinth/labyrinth.hpp>\nint *f() { return labyrinth::allocator<int>().allocate(9); }\n" \
      "void *g() { return labyrinth::atomic_resource()->allocate(9); }\n"


def main(build, meson):
    need(*COMPILERS)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        libraries = install(build, meson, scratch / "root")
        include = next((scratch / "root").rglob("labyrinth.hpp")).parents[1]
        (scratch / "use.cpp").write_text(USE)
        for compiler in COMPILERS:
            warnings = [compiler, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", f"-I{include}"]
            for standard in STANDARDS:
                program = scratch / f"{compiler}-{standard}"
                run([*warnings, f"-std={standard}", "-O1", "-o", program, SOURCES / "containers.cpp", f"-L{libraries}", "-llabyrinth_core"])
                run([program], env=environment(LD_LIBRARY_PATH=libraries))
            run([*warnings, *WITHOUT, scratch / "use.cpp"])


if __name__ == "__main__":
    main(*sys.argv[1:])
