#!/usr/bin/env python3
"""Every lab_ and LAB_ name, field of lab_stats and labyrinth:: name in the documents is one of the public headers, or at least of the code; and each
function of labyrinth.h and rcu.h is in a manual page.

usage: names.py ROOT
"""

import re
import sys
from pathlib import Path

WORD = re.compile(r"(?<![\w/.-])(lab_[a-z0-9_]+|LAB_[A-Z0-9_]+)\b(?![*/]|\.[ch]\b)")
FIELD = re.compile(r"\blab_stats\.(\w+)")
FUNCTION = re.compile(r"^(?!static|typedef)\w[^\n(;{]*?\b(lab_\w+)\(", re.M)
CXX = re.compile(r"\blabyrinth::(\w+)")


def check(root):
    headers = {path.name: path.read_text() for path in (root / "include/labyrinth").iterdir() if path.is_file()}
    code = "".join(path.read_text() for folder in ("include", "src", "preload", "rcu", "tool", "tests") for path in (root / folder).rglob("*.[ch]"))
    code += "".join(path.read_text() for path in [*root.rglob("src/meson.build"), root / "meson.build"])
    known = set(re.findall(r"\w+", code))
    fields = set(re.findall(r"^\t\w+ (\w+);", re.search(r"^struct lab_stats \{(.*?)^\};", headers["labyrinth.h"], re.M | re.S)[1], re.M))
    cxx = set(re.findall(r"\w+", headers["labyrinth.hpp"]))
    pages = {path.name: path.read_text() for path in (root / "docs/man").glob("*.3")}
    for header in "labyrinth.h", "rcu.h":
        for name in FUNCTION.findall(headers[header]):
            if not any(re.search(rf"^\.Fn {name}\b", page, re.M) for page in pages.values()):
                yield f"docs/man: {header}'s {name} is in no page"
    for path in [*root.glob("*.md"), *(root / "docs").glob("*.md")]:
        if path.name == "CHANGELOG.md":  # what was
            continue
        text = path.read_text()
        for pattern, names in (WORD, known), (FIELD, fields), (CXX, cxx):
            for name in sorted(set(pattern.findall(text)) - names):
                if not name.endswith("_"):
                    yield f"{path.relative_to(root)}: there is no {name}"


if __name__ == "__main__":
    wrong = list(check(Path(sys.argv[1]).resolve()))
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)
