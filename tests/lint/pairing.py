"""Each atomic access with an order says what it pairs with: "pairs with the rel of lab_segment_give", in a comment on its
lines or directly before its statement."""

import re

from source import TOKEN, code, files, finding, line_of

ORDERED = re.compile(
    r"\blab_(?:load_acq|store_rel|or_acq_rel|and_rel|and_acq_rel|cas64)\b"
    r"|\batomic_thread_fence\b"
    r"|\batomic_(?:load|store|exchange|fetch_(?:add|sub|or|and|xor)|compare_exchange_(?:strong|weak))\("
    r"|\bmemory_order_(?:acquire|release|acq_rel|seq_cst)\b"
    r"|\b__ATOMIC_(?:ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)\b"
)
PAIRS = re.compile(r"\bpairs?\b", re.I)
STATEMENT_ENDS = (";", "{", "}", ":")


def check(root):
    for path in files(root, ["src", "rcu"], {".c", ".h"}):
        text = path.read_text()
        for line in unpaired(text):
            yield finding(root, path, line, "an ordered atomic access does not say what it pairs with")


def unpaired(text):
    """The lines of statements with an ordered access of which no comment says "pairs"."""
    lines = ["" if line.startswith("#define") else line for line in code(text).split("\n")]
    said = {number for comment in TOKEN.finditer(text) if comment["comment"] and PAIRS.search(comment[0])
            for number in range(line_of(text, comment.start()), line_of(text, comment.end()) + 1)}
    reported = set()
    for match in ORDERED.finditer("\n".join(lines)):
        first = last = line_of("\n".join(lines), match.start())
        while not ends(lines[last - 1]) and last < len(lines):
            last += 1
        while first > 1 and lines[first - 2].strip() and not ends(lines[first - 2]):
            first -= 1
        before = first - 1
        if not said & set(range(before, last + 1)) and first not in reported:
            reported.add(first)
            yield first


def ends(line):
    return line.rstrip().endswith(STATEMENT_ENDS) or line.lstrip().startswith("#")
