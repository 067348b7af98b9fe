#!/usr/bin/env python3
"""A CMake project is configured, built and run against an installed tree, which is then moved, and once more.

usage: cmake.py BUILD MESON CC [rcu]
"""

import sys
import tempfile
from pathlib import Path

from tree import PROJECT, SOURCES, environment, install, need, only, require, run, subprocess

TARGETS = {"labyrinth": "malloc.c", "labyrinth_static": "malloc.c", "core": "core.c", "core_static": "core.c"}


def configure(build, prefix, compiler, *definitions):
    return ["cmake", "-S", SOURCES / "cmake", "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_COMPILER={compiler}",
            f"-DINSTALL_TESTS={PROJECT}/tests/install", *definitions]


def build_and_run(folder, prefix, compiler, rcu):
    folder.mkdir()
    run(configure(folder, prefix, compiler, f"-DRCU={len(rcu)}"), env=environment())
    run(["cmake", "--build", folder], env=environment())
    for target, source in {**TARGETS, **{name + form: "rcu.c" for name in rcu for form in ("", "_static")}}.items():
        run([folder / target, *(["two-heaps"] if source != "malloc.c" else [])], env=environment())
    return folder


def main(build, meson, compiler, *rcu):
    need("cmake")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        install(build, meson, scratch / "root")
        package = only(scratch / "root", "LabyrinthConfig.cmake")
        prefix = next(folder for folder in package.parents if (folder / "include").is_dir())
        moved = scratch / "moved"
        built = build_and_run(scratch / "build", prefix, compiler, rcu)
        # a program that was linked with core has one heap under the drop-in, whose names have no versions
        run([built / "core", "one-heap"], env=environment(LD_PRELOAD=only(prefix, "liblabyrinth.so")))
        prefix.rename(moved)
        build_and_run(scratch / "again", moved, compiler, rcu)
        for definition, reason in ("-DWANTED=99.0", "compatible with requested version"), ("-DCOMPONENT=nonsense", "no target nonsense"):
            command = list(map(str, configure(scratch / definition, moved, compiler, definition)))
            refused = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
            require(refused.returncode != 0 and reason in refused.stderr, f"{definition}: {refused.stderr}")


if __name__ == "__main__":
    main(*sys.argv[1:])
