"""Limits: columns of a line, lines of a file, lines of a function, conditionals of the preprocessor."""

import re

from source import code, files, finding, line_of

COLUMNS = 120  # clang-format keeps code to them, and leaves comments alone
TAB = 8
FILE_LINES = 400
FUNCTION_LINES = 60
CONDITIONALS = 8  # in 1000 lines

CONDITIONAL = re.compile(r"^[ \t]*#[ \t]*(?:if|ifdef|ifndef|elif)\b.*", re.M)
GUARD = re.compile(r"#ifndef (\w+)\n#define \1\n")


def check_lines(root):
    for path in files(root):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            width = len(line.expandtabs(TAB))
            if width > COLUMNS:
                yield finding(root, path, number, f"{width} columns in a line; at most {COLUMNS}")


def check_files(root):
    for path in files(root, ("src", "preload", "rcu", "tool")):
        lines = len(path.read_text().splitlines())
        if lines > FILE_LINES:
            yield finding(root, path, lines, f"{lines} lines in a file; at most {FILE_LINES}")


def check_functions(root):
    for path in files(root, ("src", "preload", "rcu", "tool")):
        for line, length in functions(code(path.read_text())):
            if length is None:
                yield finding(root, path, line, "braces do not match: functions cannot be measured")
            elif length > FUNCTION_LINES:
                yield finding(root, path, line, f"{length} lines in a function; at most {FUNCTION_LINES}")


def functions(text):
    """(line, lines) of each body, braces included: outermost braces after a ')'. Lines are None where braces do not match."""
    depth = start = 0
    line = 1
    before = ""
    for character in text:
        if character == "\n":
            line += 1
        elif character == "{":
            depth += 1
            if depth == 1:
                start = line if before == ")" else 0
        elif character == "}":
            depth -= 1
            if depth == 0 and start:
                yield start, line - start + 1
        if not character.isspace():
            before = character
    if depth != 0:
        yield line, None


def check_conditionals(root):
    """Include guards are not counted: they choose nothing."""
    lines = 0
    found = []
    for path in files(root, ("src",)):
        text = code(path.read_text())
        lines += len(text.splitlines())
        for match in CONDITIONAL.finditer(text):
            if not GUARD.match(text, match.start()):
                found.append((path, line_of(text, match.start()), match[0].strip()))
    if len(found) * 1000 > CONDITIONALS * lines:
        for path, line, text in found:
            yield finding(root, path, line, f"{text}: one of {len(found)} conditionals in {lines} lines of src;"
                          f" at most {CONDITIONALS} in 1000")
