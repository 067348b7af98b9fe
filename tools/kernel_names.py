#!/usr/bin/env python3
"""Makes the index of docs/gfp.md: each of the kernel's names that a header of labyrinth/kernel, or labyrinth/rcu.h, defines.

usage: tools/kernel_names.py            writes the index
       tools/kernel_names.py --check    fails if the index is not what it would write
"""

import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/gfp.md"
HEADING = "## All names\n"
NAME = re.compile(r"^#ifndef (\w+)$", re.M)  # each name is guarded: a program's own macro of that name stands
OURS = re.compile(r"LAB_|LABYRINTH_|__cplusplus$")


def names_of(header):
    return sorted({name for name in NAME.findall(header.read_text()) if not OURS.match(name)}, key=lambda name: (name.strip("_").lower(), name))


def index():
    lines = [HEADING, "Made from the headers by `tools/kernel_names.py`; a test looks that it is current. What is said above of a name holds for its forms.\n"]
    for header in [*sorted((ROOT / "include/labyrinth/kernel").glob("*.h")), ROOT / "include/labyrinth/rcu.h"]:
        names = names_of(header)
        if names:
            text = ", ".join(f"`{name}`" for name in names)
            lines.append(f"**{header.relative_to(ROOT / 'include')}** ({len(names)}):\n" + textwrap.fill(text, 160, break_long_words=False) + "\n")
    return "\n".join(lines)


def main():
    text = PAGE.read_text()
    wanted = text.split("\n" + HEADING)[0] + "\n" + index()
    if sys.argv[1:] == ["--check"]:
        return 0 if text == wanted else print("docs/gfp.md does not list the names of the headers: run tools/kernel_names.py") or 1
    if sys.argv[1:]:
        sys.exit(__doc__)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
