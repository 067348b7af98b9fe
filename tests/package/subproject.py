#!/usr/bin/env python3
"""A meson project that has Labyrinth as a subproject is configured, built and run: shared and static, drop-in, core and rcu.

usage: subproject.py MESON
"""

import sys
import tempfile
from pathlib import Path

from tree import PROJECT, SOURCES, environment, require, run


def main(meson):
    with tempfile.TemporaryDirectory() as scratch:
        project, build = Path(scratch) / "project", Path(scratch) / "build"
        (project / "subprojects").mkdir(parents=True)
        (project / "subprojects/labyrinth").symlink_to(PROJECT)
        (project / "meson.build").write_text((SOURCES / "subproject/user.build").read_text())
        for source in "malloc.c", "core.c", "rcu.c":
            (project / source).write_text((PROJECT / "tests/install" / source).read_text())
        # unoptimised: the compiler's time is all that this test takes
        run([meson, "setup", build, project, "--buildtype=plain"], env=environment())
        targets = run([meson, "introspect", build, "--targets"], env=environment())
        for name in "unit-base-bits", "histogram", "handler":
            require(f'"name": "{name}"' not in targets, f"{name} is built in a subproject without tests and benches")
        run([meson, "test", "-C", build, "--print-errorlogs"], env=environment())


if __name__ == "__main__":
    main(*sys.argv[1:])
