"""Every invariant that the code speaks of is stated exactly once, in a comment of src or rcu: " * INV-SPAN-2  text"."""

import re
from collections import defaultdict

from source import files, finding, line_of

DEFINITION = re.compile(r"^[ \t]*\* (INV-[A-Z]+-\d+) {2,}\S", re.M)
MENTION = re.compile(r"\bINV-[A-Z]+-\d+\b")


def check(root):
    places = defaultdict(list)
    for path in files(root, ("src", "rcu")):
        text = path.read_text()
        for match in DEFINITION.finditer(text):
            places[match[1]].append((path, line_of(text, match.start(1))))

    for name, [_, *others] in sorted(places.items()):
        for path, line in others:
            yield finding(root, path, line, f"{name} is defined more than once")
    for path in files(root):
        text = path.read_text()
        for match in MENTION.finditer(text):
            if match[0] not in places:
                yield finding(root, path, line_of(text, match.start()), f"{match[0]} is not defined")
