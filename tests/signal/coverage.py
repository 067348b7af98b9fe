#!/usr/bin/env python3
"""Which of the library's instructions a stepping test has interrupted, by function.

usage: coverage.py LIBRARY OFFSETS... [--missing FUNCTION]

OFFSETS are files that the tests write when SIGNAL_COVERAGE names one. The instructions and functions are objdump's. The
figure is over the functions that were entered at all: others (statistics, start-up, C++ operators) are listed, not counted.
"""

import argparse
import collections
import re
import subprocess
import sys

FUNCTION = re.compile(r"^([0-9a-f]+) <(.+)>:$")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(.*)$")
PADDING = re.compile(r"^(data16 |cs )*(nop|xchg +%ax,%ax)")


def read_functions(library):
    """{function: {offset: text}} of the library's text section."""
    command = ["objdump", "-d", "--no-show-raw-insn", "-j", ".text", library]
    functions, current = collections.OrderedDict(), None
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        start, instruction = FUNCTION.match(line), INSTRUCTION.match(line)
        if start:
            current = functions.setdefault(start[2], {})
        elif instruction and current is not None and not PADDING.match(instruction[2]):
            current[int(instruction[1], 16)] = instruction[2]
    return functions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("offsets", nargs="+")
    parser.add_argument("--missing", metavar="FUNCTION", help="print this function's instructions, marked where not reached")
    options = parser.parse_args()

    reached = set()
    for path in options.offsets:
        with open(path, encoding="ascii") as lines:
            reached |= {int(line, 16) for line in lines}
    functions = read_functions(options.library)
    if options.missing:
        for offset, text in functions[options.missing].items():
            print(f"{' ' if offset in reached else '-'} {offset:8x}: {text}")
        return 0

    total = hit = 0
    untouched = []
    for name, instructions in sorted(functions.items(), key=lambda item: item[0]):
        inside = len(reached & instructions.keys())
        if inside == 0:
            untouched.append(name)
            continue
        total, hit = total + len(instructions), hit + inside
        print(f"{inside:6} of {len(instructions):5}  {100 * inside / len(instructions):5.1f} %  {name}")
    everything = sum(map(len, functions.values()))
    print(f"\n{hit} of {total} instructions of the functions entered were interrupted: {100 * hit / max(total, 1):.1f} %")
    print(f"({everything} instructions in the whole library; not entered: {', '.join(untouched)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
