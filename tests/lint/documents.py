"""What documents say twice, they say alike: settings, figures, the libc that is needed. And every meson.build is a part of the build."""

import re
import subprocess
import sys
from pathlib import Path

from source import files, finding, line_of

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
import settings

MANUAL = "docs/man/labyrinth.3"
GLIBC_DOCUMENTS = ("README.md", "docs/guarantees.md", MANUAL)
VARIABLE = re.compile(r"\bLABYRINTH_[A-Z_]+\b")
HEADER_GUARD = re.compile(r"_H$")
BENCHMARKS = "docs/benchmarks.md"
MEAN = re.compile(r"^\*\*(Wall time|Peak RSS)\*\*.*?^\| benchmark \|(.*?)\|\n.*?^\| geometric mean \|(.*?)\|\n", re.M | re.S)
README_ROWS = {"Wall time": "time", "Peak RSS": "peak memory"}


def text_of(path):
    return path.read_text() if path.exists() else ""


def check_variables(root):
    """The lists of settings in the documents are those of the table in the code, and no document has another variable."""
    for name in settings.stale(root):
        yield finding(root, root / name, 1, f"a list of settings is not what {settings.TABLE} says; run tools/settings.py write")
    known = set(settings.variables(root))
    for path in [root / "README.md", root / "CHANGELOG.md", *files(root, ("docs", "include"), {".md", ".3", ".h"})]:
        text = text_of(path)
        for match in VARIABLE.finditer(text):
            if match[0] not in known and not HEADER_GUARD.search(match[0]) and text[match.end():match.end() + 1] != "*":
                yield finding(root, path, line_of(text, match.start()), f"{match[0]} is no setting")


def cells(row):
    return [cell.strip(" *").lower() for cell in row.strip().strip("|").split("|")]


def check_figures(root):
    """README's means are those of the tables in benchmarks.md."""
    readme = text_of(root / "README.md")
    table = re.search(r"^\| \|(.*Labyrinth.*)\|\n\|[-:|]+\|\n((?:\|.*\n)+)", readme, re.M)
    means = MEAN.findall(text_of(root / BENCHMARKS))
    if not table or len(means) != len(README_ROWS):
        yield finding(root, root / "README.md", 1, f"no table of ratios here, or no two in {BENCHMARKS}")
        return
    columns = cells(table[1])
    rows = {row[0]: row[1:] for row in map(cells, table[2].splitlines())}
    for title, names, values in means:
        source = dict(zip(cells(names), cells(values)))
        for column, shown in zip(columns, rows.get(README_ROWS[title], [])):
            if shown != source.get(column):
                yield finding(root, root / "README.md", line_of(readme, table.start()),
                              f"{README_ROWS[title]} of {column}: {shown}; {BENCHMARKS} has {source.get(column)}")


def check_glibc(root, library):
    """The newest symbol version that the library needs is the glibc that the documents ask for."""
    versions = subprocess.run(["readelf", "-W", "-V", library], check=True, capture_output=True, text=True).stdout
    needed = max((tuple(map(int, version.split("."))) for version in re.findall(r"\bGLIBC_(\d+(?:\.\d+)+)", versions)), default=())
    for name in GLIBC_DOCUMENTS:
        text = text_of(root / name)
        stated = re.search(r"glibc\s+(\d+\.\d+)\s+or\s+newer", text)
        if not stated or tuple(map(int, stated[1].split("."))) != needed:
            yield finding(root, root / name, line_of(text, stated.start()) if stated else 1,
                          f"{library} needs glibc {'.'.join(map(str, needed))}, and here is {stated[1] if stated else 'no word of it'}")


def check_entered(root):
    """No merge and no slip leaves a folder out of the build: what has a meson.build is entered from the one above."""
    builds = [path for path in sorted(root.rglob("meson.build")) if "build" not in path.relative_to(root).parts[:-1]]
    for path in builds:
        if path.parent == root:
            continue
        above = [other.parent for other in builds if other != path and other.parent in path.parents]
        entering = max(above, key=lambda folder: len(folder.parts))
        name = path.parent.relative_to(entering).as_posix()
        if not re.search(rf"^[ \t]*subdir\('{re.escape(name)}'\)", (entering / "meson.build").read_text(), re.M):
            yield finding(root, path, 1, f"{entering.relative_to(root) / 'meson.build'} has no subdir('{name}')")
