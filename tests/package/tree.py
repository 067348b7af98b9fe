"""What the tests of packages share: a build that is installed into a scratch folder, and commands that end the test if they fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
PROJECT = SOURCES.parents[1]
SKIPPED = 77  # meson's status for it


def run(command, **options):
    """The output of a command; ends the test if it fails."""
    result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                            errors="replace", check=False, **options)
    if result.returncode:
        sys.exit(f"status {result.returncode}: {' '.join(map(str, command))}\n{result.stdout[-6000:]}")
    return result.stdout


def need(*commands):
    """Ends the test as skipped if one of the commands is missing."""
    for command in commands:
        if not shutil.which(command):
            print(f"not run: there is no {command}")
            sys.exit(SKIPPED)


def environment(**more):
    """The caller's, without what meson adds for its tests, and with `more`."""
    clean = {name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_PERTURB_")}
    return dict(clean, **{name: str(value) for name, value in more.items()})


def require(condition, what):
    if not condition:
        sys.exit(f"failed: {what}")


def install(build, meson, root):
    """Installs a build under `root`, as a packager does; returns the folder of the libraries."""
    run([meson, "install", "--no-rebuild", "--quiet", "-C", build, "--destdir", root])
    return only(root, "liblabyrinth_core.so").parent


def only(root, name):
    """The one file of that name."""
    found = list(Path(root).rglob(name))
    return found[0] if len(found) == 1 else sys.exit(f"installed as {name}: {found or 'nothing'}")
