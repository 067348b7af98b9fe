#!/usr/bin/env python3
"""Installs a build into a temporary folder, then builds programs against it and runs them.

Every form of linking is tried: shared, Labyrinth's archive among shared libraries, all static, static and position-independent, each
with the flags that pkg-config gives and, for the archives, with -l: and nothing else; plug-ins that a stranger opens; Rust (--rustc).
In each of them the library must start up: a constructor that the linker left out is seen by no other test.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent

# served.c and served.rs say what comes of these.
SETTINGS = {
    "LABYRINTH_RESERVE_CLASSES": "64:1000",
    "LABYRINTH_RESERVE_LOCK": "0",
    "LABYRINTH_BACKGROUND_THREAD": "1",
    "LABYRINTH_STATS": "1",
}
FIGURES = "labyrinth:   class size "

# What lone.c is compiled with. The first two have no name of the library's start-up code in them.
LONE_CALLS = {
    "labyrinth_core": ["lab_alloc(64, LAB_GFP_ATOMIC)", "lab_alloc_pages(LAB_GFP_ATOMIC, 0)", "lab_malloc(1)", "lab_reserve_balance() || 1"],
    "labyrinth": ["lab_alloc(64, LAB_GFP_ATOMIC)", "lab_owns(strdup(\"by libc\"))", "lab_owns(malloc(1))", "lab_owns(valloc(1))"],
}

LINKINGS = {
    "shared": [],
    "archive": [],  # Labyrinth's is static, all else is not
    "static": ["-static"],
    "static-pie": ["-static-pie"],
}


class Installed:
    """The installation, and the programs built with it."""

    def __init__(self, options, folder):
        self.folder = folder
        self.root = folder / "root"
        self.compilers = {".c": options.cc.split(), ".cpp": options.cxx.split()}
        self.built = 0
        run([options.meson, "install", "--no-rebuild", "--quiet", "-C", options.build, "--destdir", self.root])
        self.libraries = self.only("liblabyrinth_core.so").parent
        self.environment = dict(
            os.environ,
            PKG_CONFIG_PATH=str(self.only("labyrinth.pc").parent),
            PKG_CONFIG_SYSROOT_DIR=str(self.root),
            PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1",
            PKG_CONFIG_ALLOW_SYSTEM_LIBS="1",
        )

    def only(self, name, folder="*"):
        """The one installed file of that name, in a folder of that name."""
        found = list(self.root.rglob(f"{folder}/{name}"))
        return found[0] if len(found) == 1 else sys.exit(f"installed as {name}: {found or 'nothing'}")

    def pkg_config(self, *arguments):
        return run(["pkg-config", *arguments], env=self.environment).split()

    def libraries_of(self, package, linking, by_hand=False):
        """What the linker is told: what pkg-config says, or `by_hand` no more than the archive's name."""
        if by_hand:
            return [f"-L{self.libraries}", f"-l:lib{package}.a"]
        libraries = self.pkg_config("--libs", *(["--static"] if linking != "shared" else []), package)
        if linking == "archive":
            libraries = [f"-l:lib{package}.a" if library == f"-l{package}" else library for library in libraries]
        return libraries

    def build(self, source, package, linking, *more, by_hand=False):
        """`linking`: a key of LINKINGS; `more`: flags of the compiler."""
        flags = [*self.pkg_config("--cflags", package), *LINKINGS[linking], *more]
        defines = ["-fno-builtin", f'-DVERSION="{self.pkg_config("--modversion", package)[0]}"']
        return self.link(source, [*defines, *flags], self.libraries_of(package, linking, by_hand), linking)

    def link(self, source, flags, libraries, name="shared"):
        self.built += 1
        program = self.folder / f"{Path(source).stem}-{self.built}-{name}"
        compiler = self.compilers[Path(source).suffix]
        run([*compiler, "-Wall", "-Wextra", "-Werror", *flags, "-o", program, SOURCES / source, *libraries])
        return program

    def run(self, program, *arguments, shared=False, preload=None, settings=None):
        environment = dict(os.environ, **(settings or {}))
        environment.pop("LD_LIBRARY_PATH", None)  # meson's: the build folder
        if shared:
            environment["LD_LIBRARY_PATH"] = str(self.libraries)
        if preload:
            environment["LD_PRELOAD"] = str(preload)
        return run([program, *arguments], env=environment)

    def run_served(self, program, *arguments, shared=False):
        output = self.run(program, *arguments, shared=shared, settings=SETTINGS)
        if FIGURES not in output:
            sys.exit(f"{program}: LABYRINTH_STATS=1 printed no figures, but:\n{output}")


def run(command, **options):
    """The output of a command; ends the test if it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode:
        sys.exit(f"status {result.returncode}: {' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def forms():
    """Every (linking, by_hand)."""
    yield from ((linking, False) for linking in LINKINGS)
    yield from ((linking, True) for linking in LINKINGS if linking != "shared")


def check_served(installed):
    """Settings, reserve, fork and figures in each form of linking, and calls that stand alone."""
    host = installed.folder / "host"
    run([*installed.compilers[".c"], "-o", host, SOURCES / "host.c", "-ldl"])
    for package in LONE_CALLS:
        for linking, by_hand in forms():
            shared = linking == "shared"
            installed.run_served(installed.build("served.c", package, linking, by_hand=by_hand), shared=shared)
        for call in LONE_CALLS[package]:
            # strdup is no name of the archive's: to look for malloc all the same is pkg-config's to say
            for linking, by_hand in ("archive", False), ("static", "strdup" not in call):
                installed.run(installed.build("lone.c", package, linking, f"-DCALL={call}", by_hand=by_hand))
        for linking in "shared", "archive":
            plug_in = installed.build("served.c", package, linking, "-shared", "-fPIC", "-DPLUG_IN")
            installed.run_served(host, plug_in, shared=linking == "shared")
    # as-needed is some systems' default
    call = "lab_owns(strdup(\"by libc\"))"
    installed.run(installed.build("lone.c", "labyrinth", "shared", "-Wl,--as-needed", f"-DCALL={call}"), shared=True)


def check_rust(installed, rustc):
    """A GlobalAlloc over each library: its shared form, its archive, and all of the program static."""
    for package in LONE_CALLS:
        for kind, crt in ("dylib", "-"), ("static", "-"), ("static", "+"):
            program = installed.folder / f"rust-{package}-{kind}{crt}"
            run([*rustc.split(), "--edition", "2021", "-D", "warnings", "-O", "-C", f"target-feature={crt}crt-static",
                 "-L", installed.libraries, "-l", f"{kind}={package}", "-o", program, SOURCES / "served.rs"])
            installed.run_served(program, shared=kind == "dylib")


def check_rcu(installed):
    """liblabyrinth_rcu with either heap, named before or after it, and under the drop-in: there is one."""
    flags = installed.pkg_config("--cflags", "--libs", "liburcu-memb", "liburcu-cds")
    kernel = f"-I{installed.only('rcupdate.h').parent.parent}"
    for packages in ["labyrinth_core"], ["labyrinth"], ["labyrinth_rcu", "labyrinth_core"], ["labyrinth_rcu", "labyrinth"]:
        rcu = [] if "labyrinth_rcu" in packages else ["labyrinth_rcu"]
        libraries = installed.pkg_config("--cflags", "--libs", *packages, *rcu)
        for source in "rcu.c", "rcu.cpp":
            program = installed.link(source, [kernel], [*libraries, *flags])
            installed.run(program, "one-heap" if "labyrinth" in packages else "two-heaps", shared=True)
            installed.run(program, "one-heap", shared=True, preload=installed.only("liblabyrinth.so"))
    for heap in "labyrinth_core", "labyrinth":
        libraries = installed.pkg_config("--cflags", "--libs", "--static", heap, "labyrinth_rcu", "liburcu-memb")
        program = installed.link("rcu.c", [kernel, "-static"], libraries, "static")
        installed.run(program, "one-heap" if heap == "labyrinth" else "two-heaps")
    store = installed.link("../../examples/kvstore.c", [], [*installed.pkg_config("--cflags", "--libs", "labyrinth_core", "labyrinth_rcu"), *flags])
    installed.run(store, "20000", shared=True)


def check_installed(installed, options):
    for source in "malloc.c", "operators.cpp":
        for linking in LINKINGS:
            installed.run(installed.build(source, "labyrinth", linking), shared=linking == "shared")

    core = installed.build("core.c", "labyrinth_core", "shared")
    installed.run(core, "two-heaps", shared=True)
    installed.run(core, "one-heap", shared=True, preload=installed.only("liblabyrinth.so"))
    for linking in "archive", "static":
        installed.run(installed.build("core.c", "labyrinth_core", linking), "two-heaps")

    for linking in LINKINGS:
        installed.run(installed.build("kernel.cpp", "labyrinth_core", linking), shared=linking == "shared")
    if options.rcu:
        check_rcu(installed)
    installed.run(installed.build("../../examples/driver.c", "labyrinth_core", "shared"), "5000", shared=True)

    shim = installed.only("shrinker.h", "linux").parent.parent
    installed.run(installed.build("../shim/driver.c", "labyrinth_core", "shared", f"-I{shim}"), shared=True)

    installed.only("labyrinth.3")
    installed.only("gfp.7")
    check_tool(installed, Path(options.build))
    # A program finds the version that it was linked with.
    for name in "liblabyrinth", "liblabyrinth_core":
        link = installed.only(f"{name}.so")
        version = installed.pkg_config("--modversion", name.removeprefix("lib"))[0]
        if not link.is_symlink() or link.resolve().name != f"{name}.so.{version}":
            sys.exit(f"{link} is not a link to {name}.so.{version}")
    # A program needs the releases whose names it uses, of the library that has versions of names; the drop-in's have none, on purpose.
    if "LABYRINTH_0.1" not in run(["readelf", "-VW", core]):
        sys.exit(f"{core} does not say which release it needs")
    for name in "LICENSE", "README.md", "guarantees.md", "tides.svg":
        installed.only(name)


def check_tool(installed, build):
    """The tool, if it was built, finds the library that was installed with it."""
    if (build / "tool/labyrinth").exists():
        path = installed.only("bin/labyrinth")
        for name in "labyrinth.1", "completions/labyrinth":
            installed.only(name)
        library = installed.run(path, "run", "sh", "-c", "echo $LD_PRELOAD").strip()
        if library != str(installed.only("liblabyrinth.so").resolve()):
            sys.exit(f"{path} run: preloads {library}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in "build", "meson", "cc", "cxx":
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rcu", action="store_true", help="liblabyrinth_rcu is there")
    parser.add_argument("--rustc", help="only what is written in Rust, with this compiler")
    options = parser.parse_args()
    if options.rustc == "":
        print("not run: there is no rustc")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        installed = Installed(options, Path(folder))
        if options.rustc:
            check_rust(installed, options.rustc)
        else:
            check_installed(installed, options)
            check_served(installed)


if __name__ == "__main__":
    main()
