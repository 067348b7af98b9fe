"""Every clause of docs/guarantees.md names tests that are built and that carry its id; every id in a test is a clause.

A clause is a row of a table: `| G2.1 | what is promised | path of a test under tests/, … |`."""

import re

from source import files, finding, line_of

DOCUMENT = "docs/guarantees.md"
CLAUSE = re.compile(r"^\| (G\d+\.\d+) \|.*\|([^|]*)\|$", re.M)
MENTION = re.compile(r"\bG\d+\.\d+\b")
PATH = re.compile(r"`([^`]+)`")


def is_built(root, path):
    """Whether a meson.build, at the test or above it, names the program."""
    folder = path.parent
    while folder != root:
        build = folder / "meson.build"
        if build.exists() and re.search(rf"\b{re.escape(path.stem)}\b", build.read_text()):
            return True
        folder = folder.parent
    return False


def problem(root, name, test):
    path = root / "tests" / test
    if not path.is_file():
        return f"{name}: there is no tests/{test}"
    if not is_built(root, path):
        return f"{name}: no meson.build names tests/{test}"
    if name not in MENTION.findall(path.read_text()):
        return f"{name}: tests/{test} does not carry the id"
    return None


def check(root):
    document = root / DOCUMENT
    text = document.read_text() if document.exists() else ""
    clauses = {}
    for match in CLAUSE.finditer(text):
        name, line = match[1], line_of(text, match.start(1))
        if name in clauses:
            yield finding(root, document, line, f"{name} is there twice")
        clauses[name] = line
        tests = PATH.findall(match[2])
        if not tests:
            yield finding(root, document, line, f"{name} has no test")
        for test in tests:
            if wrong := problem(root, name, test):
                yield finding(root, document, line, wrong)
    for path in files(root, ("tests",)):
        source = path.read_text()
        for match in MENTION.finditer(source):
            if match[0] not in clauses:
                yield finding(root, path, line_of(source, match.start()), f"{match[0]} is no clause of {DOCUMENT}")
