"""Form: head comments, names of types, clang-format."""

import re
import subprocess

from source import code, files, finding, line_of

SCRIPT_FOLDERS = ("bench", "tests", "tools")
SCRIPT_SUFFIXES = {".py", ".sh"}

TYPEDEF = re.compile(r"\btypedef\b([^;{]*)([;{])")
TAGGED = re.compile(r"\b(?:struct|union|enum)\b")
DEFINED = re.compile(r"\b(?:struct|union|enum)\s+(\w+_t)\s*\{")
KERNEL_NAMES = "include/labyrinth/kernel"  # types there have the kernel's names: gfp_t
POINTER = re.compile(r"\(\s*\*+\s*(\w+)")  # to a function, in a typedef
LAST_WORD = re.compile(r"(\w+)\s*(?:\[[^\]]*\]|\(.*\))?\s*$", re.S)


def check_heads(root):
    """A C file begins with a comment, a script with one or a docstring."""
    for path in files(root):
        if not path.read_text().startswith(("/*", "//")):
            yield finding(root, path, 1, "no head comment")
    for path in files(root, SCRIPT_FOLDERS, SCRIPT_SUFFIXES):
        text = re.sub(r"\A#![^\n]*\n\s*", "", path.read_text())
        if not text.startswith(("#", '"""')):
            yield finding(root, path, 1, "no head comment")


def check_types(root):
    """No typedef of a struct, union or enum, and no name of ours that ends in _t."""
    for path in files(root, ("src", "include", "preload", "rcu")):
        if root / KERNEL_NAMES in path.parents:
            continue
        text = code(path.read_text())
        for match in TYPEDEF.finditer(text):
            line = line_of(text, match.start())
            declaration, end = match.groups()
            name = POINTER.search(declaration) or LAST_WORD.search(declaration)
            if TAGGED.search(declaration) and (end == "{" or "(" not in declaration):
                yield finding(root, path, line, "typedef of a struct, union or enum")
            elif name and name[1].endswith("_t"):
                yield finding(root, path, line, f"{name[1]}: a type name that ends in _t")
        for match in DEFINED.finditer(text):
            yield finding(root, path, line_of(text, match.start()), f"{match[1]}: a type name that ends in _t")


def check_format(root):
    """The first place of each file that clang-format would change."""
    command = ["clang-format", "--dry-run", "--Werror", "--style=file"]
    result = subprocess.run(command + files(root), cwd=root, capture_output=True, text=True)
    seen = set()
    for match in re.finditer(r"^(\S+?):(\d+):\d+: error: .*", result.stderr, re.M):
        path, line = root / match[1], int(match[2])
        if path not in seen:
            seen.add(path)
            yield finding(root, path, line, "not as clang-format has it (./dev format)")
    if result.returncode and not seen:
        yield "clang-format: " + result.stderr.strip()
