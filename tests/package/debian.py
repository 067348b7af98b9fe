#!/usr/bin/env python3
"""A release is made (meson dist) and unpacked, Debian packages are built from it, looked at by lintian, installed into a scratch root, used there, and removed.

usage: debian.py BUILD MESON
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from tree import PROJECT, environment, need, only, require, run


PACKAGES = ("liblabyrinth0", "liblabyrinth-dev", "labyrinth")


def make_release(build, meson, folder):
    """Unpacks what is committed, as a release; returns its folder."""
    if run(["git", "-C", PROJECT, "status", "--porcelain", "--untracked-files=no"]):
        print("what is not committed is not in the release that is tried here")
    run([meson, "dist", "-C", build, "--no-tests", "--allow-dirty", "--formats", "xztar"], env=environment())
    made = max((Path(build) / "meson-dist").glob("labyrinth-*.tar.xz"), key=lambda path: path.stat().st_mtime)
    version = re.fullmatch(r"labyrinth-(.*)\.tar\.xz", made.name)[1]
    shutil.copy(made, folder / f"labyrinth_{version}.orig.tar.xz")
    run(["tar", "-C", folder, "-xf", made])
    return folder / f"labyrinth-{version}"


def build_packages(source):
    """Source and binary packages; returns the folder that they are in."""
    upstream = re.search(r"version: '(.*?)'", (source / "meson.build").read_text())[1]
    packaged = run(["dpkg-parsechangelog", "-l", source / "debian/changelog", "-S", "Version"]).strip()
    require(packaged.rpartition("-")[0] == upstream, f"debian/changelog has {packaged}, meson.build {upstream}")
    run(["dpkg-buildpackage", "-us", "-uc"], cwd=source, env=environment(DEB_BUILD_OPTIONS="parallel=2"))
    # Nobody asked Debian for it by a report of a bug, and a release has debian/ in it.
    accepted = "initial-upload-closes-no-bugs,no-debian-changes"
    run(["lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", accepted, only(source.parent, "*.changes")], env=environment())
    return source.parent


class ScratchRoot:
    """A file system of its own for dpkg, without a libc in it, so that a package's dependencies are not looked for."""

    def __init__(self, folder):
        self.folder = folder
        for name in "info", "updates", "triggers":
            (folder / "var/lib/dpkg" / name).mkdir(parents=True)
        (folder / "var/lib/dpkg/status").touch()

    def dpkg(self, *arguments):
        run(["dpkg", f"--root={self.folder}", "--force-depends", "--force-not-root", "--force-script-chrootless", "--no-triggers",
             f"--log={self.folder}/log", *arguments], env=environment(PATH="/usr/sbin:/usr/bin:/sbin:/bin"))

    def files(self):
        return sorted(path for path in (self.folder / "usr").rglob("*") if not path.is_dir() or path.is_symlink())


def use(root, folder):
    """A program that exists, preloaded; a program that is built with what is in -dev; the tool, with what lies beside it."""
    dropin = only(root, "liblabyrinth.so.0")
    shown = run(["sort", "/etc/passwd"], env=environment(LD_PRELOAD=dropin, LABYRINTH_STATS=1))
    require("labyrinth: segments" in shown, f"sort did not run on the library:\n{shown}")
    packages = environment(PKG_CONFIG_PATH=only(root, "labyrinth.pc").parent, PKG_CONFIG_SYSROOT_DIR=root, PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1,
                           PKG_CONFIG_ALLOW_SYSTEM_LIBS=1)
    flags = run(["pkg-config", "--cflags", "--libs", "labyrinth"], env=packages).split()
    run(["cc", "-fno-builtin", PROJECT / "tests/install/malloc.c", "-o", folder / "linked", *flags])
    run([folder / "linked"], env=environment(LD_LIBRARY_PATH=dropin.parent))
    tool, trace = root / "usr/bin/labyrinth", folder / "sort.trace"
    run([tool, "trace", "-o", trace, "sort", "/etc/passwd"], env=environment())
    replayed = run([tool, "replay", "--rounds", "1", trace], env=environment())
    require(re.search(r"^labyrinth +\d", replayed, re.M) and re.search(r"^libc +\d", replayed, re.M), f"the trace was not replayed:\n{replayed}")
    run([tool, "bench", "run", "--quick", "--only", "pair", "--rounds", "1", "--peers", "none"], env=environment())


def main(build, meson):
    need("git", "dh", "dpkg-buildpackage", "lintian")
    if not (PROJECT / ".git").exists():
        print("not run: releases are made in a git repository")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        packages = build_packages(make_release(build, meson, scratch))
        (scratch / "root").mkdir()
        root = ScratchRoot(scratch / "root")
        root.dpkg("--install", *(only(packages, f"{name}_*.deb") for name in PACKAGES))
        use(root.folder, scratch)
        root.dpkg("--purge", *reversed(PACKAGES))
        require(not root.files(), f"left behind: {root.files()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
