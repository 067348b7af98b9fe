#!/usr/bin/env python3
"""Installs a build into a temporary folder, then builds programs against it through pkg-config and runs them.

Static programs are built twice: against glibc's shared libraries, and with -static.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent

# liblabyrinth.a must be looked into although only libraries may call malloc: preload/meson.build.
PULL_MALLOC = ["-Wl,-u,malloc"]


class Installed:
    """The installation, and the programs built with it."""

    def __init__(self, options, folder):
        self.folder = folder
        self.root = folder / "root"
        self.compilers = {".c": options.cc.split(), ".cpp": options.cxx.split()}
        run([options.meson, "install", "--no-rebuild", "--quiet", "-C", options.build, "--destdir", self.root])
        self.libraries = self.only("liblabyrinth_core.so").parent
        self.environment = dict(
            os.environ,
            PKG_CONFIG_PATH=str(self.only("labyrinth.pc").parent),
            PKG_CONFIG_SYSROOT_DIR=str(self.root),
            PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1",
            PKG_CONFIG_ALLOW_SYSTEM_LIBS="1",
        )

    def only(self, name):
        """The one installed file of that name."""
        found = list(self.root.rglob(name))
        return found[0] if len(found) == 1 else sys.exit(f"installed as {name}: {found or 'nothing'}")

    def pkg_config(self, *arguments):
        return run(["pkg-config", *arguments], env=self.environment).split()

    def build(self, source, package, linking):
        """`linking`: "shared", "archive" (Labyrinth's is static, all else is not) or "static"."""
        program = self.folder / f"{Path(source).stem}-{linking}"
        flags = self.pkg_config("--cflags", package)
        libraries = self.pkg_config("--libs", *(["--static"] if linking != "shared" else []), package)
        if linking == "archive":
            libraries = [f"-l:lib{package}.a" if library == f"-l{package}" else library for library in libraries]
        elif linking == "static":
            libraries.insert(0, "-static")
        if linking != "shared" and package == "labyrinth":
            libraries = PULL_MALLOC + libraries
        defines = ["-fno-builtin", f'-DVERSION="{self.pkg_config("--modversion", package)[0]}"']
        compiler = self.compilers[Path(source).suffix]
        run([*compiler, "-Wall", "-Wextra", "-Werror", *defines, *flags, "-o", program, SOURCES / source, *libraries])
        return program

    def run(self, program, *arguments, shared=False, preload=None):
        environment = dict(os.environ)
        environment.pop("LD_LIBRARY_PATH", None)  # meson's: the build folder
        if shared:
            environment["LD_LIBRARY_PATH"] = str(self.libraries)
        if preload:
            environment["LD_PRELOAD"] = str(preload)
        run([program, *arguments], env=environment)


def run(command, **options):
    """The output of a command; ends the test if it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode:
        sys.exit(f"status {result.returncode}: {' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def check(installed):
    for source in "malloc.c", "operators.cpp":
        installed.run(installed.build(source, "labyrinth", "shared"), shared=True)
        for linking in "archive", "static":
            installed.run(installed.build(source, "labyrinth", linking))

    core = installed.build("core.c", "labyrinth_core", "shared")
    installed.run(core, "two-heaps", shared=True)
    installed.run(core, "one-heap", shared=True, preload=installed.only("liblabyrinth.so"))
    for linking in "archive", "static":
        installed.run(installed.build("core.c", "labyrinth_core", linking), "two-heaps")

    installed.run(installed.build("kernel.cpp", "labyrinth_core", "shared"), shared=True)
    installed.run(installed.build("../../examples/driver.c", "labyrinth_core", "shared"), "5000", shared=True)

    installed.only("labyrinth.3")
    # A program finds the version that it was linked with.
    for name in "liblabyrinth", "liblabyrinth_core":
        link = installed.only(f"{name}.so")
        if not link.is_symlink() or not link.resolve().name.startswith(f"{name}.so."):
            sys.exit(f"{link} is not a link to a versioned library")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in "build", "meson", "cc", "cxx":
        parser.add_argument(f"--{name}", required=True)
    with tempfile.TemporaryDirectory() as folder:
        check(Installed(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
