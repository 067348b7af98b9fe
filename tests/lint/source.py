"""What the checks of sources share: which files there are, and C text without comments and literals.

A check is a generator of findings, lines "file:line: what is wrong"; none means that all is well.
"""

import re

C_FOLDERS = ("src", "include", "preload", "rcu", "tool", "bench", "tests")
C_SUFFIXES = {".c", ".h", ".cpp", ".hpp"}

TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)"""
    r"""|(?P<literal>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""",
    re.S,
)


def files(root, folders=C_FOLDERS, suffixes=frozenset(C_SUFFIXES)):
    """The files with one of the suffixes in the folders of the tree, sorted."""
    return [
        path
        for folder in folders
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in suffixes and path.is_file()
    ]


def code(text, keep_literals=False):
    """C text in which comments are blank and literals are "": every line keeps its number."""

    def blank(token):
        if token["literal"]:
            return token["literal"] if keep_literals else '""'
        return re.sub(r"[^\n]", " ", token["comment"])

    return TOKEN.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def finding(root, path, line, what):
    return f"{path.relative_to(root)}:{line}: {what}"
