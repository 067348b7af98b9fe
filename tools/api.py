#!/usr/bin/env python3
"""Makes docs/api.md from the public headers: their sections, and in each the declarations with what the comment above them says.

usage: tools/api.py            writes docs/api.md
       tools/api.py --check    fails if docs/api.md is not what it would write
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/api.md"
HEADERS = {
    "labyrinth/labyrinth.h": "The interface of both libraries.",
    "labyrinth/gfp.h": "The Linux kernel's names for it; what they do is what the kernel's documentation says, but for what is said here.",
    "labyrinth/rcu.h": "Frees after a grace period of liburcu: the interface of liblabyrinth_rcu ([rcu.md](rcu.md)).",
}
HEAD = """# API

Made from the headers by `tools/api.py`; a test looks that it is current. For C++ there is [labyrinth/labyrinth.hpp](../include/labyrinth/labyrinth.hpp) (see
[integration.md](integration.md)); settings are in [tuning.md](tuning.md), promises in [guarantees.md](guarantees.md).
"""
TOKEN = re.compile(r"(?P<section>/\* ---- (?P<title>.*?) -+ \*/)|(?P<comment>/\*.*?\*/)|(?P<blank>\n[ \t]*\n)|(?P<directive>#(?:[^\n]*\\\n)*[^\n]*)|(?P<code>\S)|\s", re.S)
CONDITIONAL = re.compile(r"#\s*(?:if|ifdef|ifndef|else|elif|endif|pragma|include|undef)\b")
NAME = re.compile(r"#\s*define\s+(\w+)|^(?:struct|enum)\s+(\w+)\s*[{;]|(\w+)\s*\((?![^()]*\)\s*\()|typedef [^;]*?(\w+);$|^extern [^;()]*?(\w+)(?:\[\])?;$", re.S)


def statement_end(text, start):
    """Behind the `;` of a declaration, with a comment on its line, or behind the body of a function; and where the body begins."""
    depth = 0
    for match in re.compile(r"/\*.*?\*/|[{};()]", re.S).finditer(text, start):
        mark = match[0]
        if mark == "{" and depth == 0 and text[start:match.start()].rstrip().endswith(")"):
            return re.compile(r"^\}$", re.M).search(text, match.start()).end(), match.start()
        depth += (mark in "{(") - (mark in "})") if len(mark) == 1 else 0
        if mark == ";" and depth == 0:
            return re.compile(r";(?:[ \t]*/\*.*?\*/)?", re.S).match(text, match.start()).end(), None
    sys.exit(f"api.py: no end: {text[start:start + 80]}")


def code_of(text, start):
    """(a declaration as it is shown, where it ends): of a function that is defined, its prototype."""
    end, body = statement_end(text, start)
    if body is None:
        return text[start:end], end
    prototype = re.sub(r"^static inline\s+", "", text[start:body].strip())
    return re.sub(r"([\w*])\n(\w)", lambda match: match[1] + ("" if match[1] == "*" else " ") + match[2], prototype, count=1) + ";", end


def prose(comment):
    """The text of a comment; what is indented in it stays as it stands."""
    text = re.sub(r"^/\*+\s?|\s*\*/$", "", comment)
    lines = [re.sub(r"^\s*\* ?", "", line).rstrip() for line in text.strip("\n").splitlines()]
    paragraphs = "\n".join(lines).strip("\n").split("\n\n")
    return "\n\n".join(f"```text\n{part}\n```" if re.search(r"^ {2,}\S", part, re.M) else escape(part) for part in paragraphs)


def escape(text):
    return re.sub(r"(?<![`\w])(\*|_)(?=\w)|(?<=\w)\*(?!\w)", lambda match: "\\" + match[0], text)


def groups(text):
    """(title, None, None) of a section; (None, comments, declarations) of what stands together."""
    comments, code, position = [], [], 0
    while position < len(text):
        token = TOKEN.match(text, position)
        position = token.end()
        if token["section"] or token["blank"]:
            if code:
                yield None, comments, code
                comments, code = [], []
            if token["section"]:
                comments = []
                yield token["title"], None, None
        elif token["comment"]:
            if code and text[:token.start()].rpartition("\n")[2].strip():
                code[-1] += " " + token["comment"]  # behind a declaration
            elif code:
                yield None, comments, code
                comments, code = [token["comment"]], []
            else:
                comments.append(token["comment"])
        elif token["directive"]:
            if not CONDITIONAL.match(token["directive"]):
                code.append(token["directive"])
        elif token["code"]:
            declaration, position = code_of(text, token.start())
            code.append(declaration)
    if code:
        yield None, comments, code


def without_frame(text):
    """A header without its guard and its C++ brackets; its head comment apart."""
    head = re.match(r"/\*.*?\*/", text, re.S)
    body = text[head.end():]
    body = re.sub(r'^#ifdef __cplusplus\n.*?^#endif\n?', "", body, flags=re.M | re.S)
    return head[0], re.sub(r"^#define LABYRINTH_\w+_H\n", "", body, flags=re.M)


def names(code):
    found = (next(filter(None, match.groups()), None) for part in code for match in [NAME.search(re.sub(r"/\*.*?\*/", "", part, flags=re.S))] if match)
    return ", ".join(f"`{name}`" for name in dict.fromkeys(found))


def page():
    yield HEAD
    for header, what in HEADERS.items():
        head, body = without_frame((ROOT / "include" / header).read_text())
        yield f"# {header}\n\n{what}\n\n{prose(head)}\n"
        for title, comments, code in groups(body):
            if title:
                yield f"## {title[0].upper()}{title[1:]}\n"
                continue
            text = "\n\n".join(map(prose, comments))
            yield f"### {names(code)}\n\n{text}\n\n```c\n" + "\n".join(code) + "\n```\n"


def main():
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(page()))
    if sys.argv[1:] == ["--check"]:
        return 0 if PAGE.read_text() == text else print("docs/api.md is not what the headers say: run tools/api.py") or 1
    if sys.argv[1:]:
        sys.exit(__doc__)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
