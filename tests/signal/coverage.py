#!/usr/bin/env python3
"""Which instructions of malloc's family the signal tests have interrupted, by function.

usage: coverage.py LIBRARY OFFSETS... [--missing FUNCTION]
       coverage.py LIBRARY [--at-least PERCENT] --run PROGRAM [ARGS...]

The family is what can be reached from its entry points (ENTRIES) by direct calls and jumps, what malloc itself calls by pointer: the os layer and
hooks (BY_POINTER), and each function whose address one of the family takes. Reports of misuse, which end the process, are left out, and cold
parts that the compiler has put aside; and what only a setting leads to (BY_SETTING). What only the library's own functions (OWN_ENTRIES) reach is interrupted as well, and
has a figure of its own, which is not judged. OFFSETS are files that the tests write when SIGNAL_COVERAGE names one. --run gives a
program the family's instructions in SIGNAL_INSTRUCTIONS and the library in LD_PRELOAD, runs it, and fails if it fails or if less than PERCENT was
interrupted. Alternatives separated by '--and' are further runs whose coverage counts together: other arguments of the same program, after
settings NAME=VALUE for its environment, if any.
"""

import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile

FUNCTION = re.compile(r"^([0-9a-f]+) <(.+)>:$")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(.*)$")
PADDING = re.compile(r"^(data16 |cs )*(nop|xchg +%ax,%ax)")
TARGET = re.compile(r"^(?:bnd )?(?:call|j\w+)\s+[0-9a-f]+ <([^>+@]+)(?:@plt)?(?:\+0x[0-9a-f]+)?>")
ADDRESS = re.compile(r"^lea\s.*# [0-9a-f]+ <([^>+@]+)>$")
SETTING = re.compile(r"^[A-Z_]+=")

ENTRIES = """malloc calloc realloc reallocarray free memalign aligned_alloc posix_memalign valloc pvalloc malloc_usable_size
malloc_trim""".split()
BY_POINTER = re.compile(r"^linux_|^(lab_backing_after_fork|lab_caches_shrink)$")
OWN_ENTRIES = """lab_free lab_alloc_aligned lab_alloc_pages lab_free_pages lab_usable_size lab_owner lab_transfer lab_reserve_thread
lab_reserve_balance lab_reserve_on_low lab_reserve_info lab_page_get lab_page_put lab_page_put_order lab_page_split lab_page_let_go lab_page_put_exact lab_percpu_alloc
lab_percpu_free lab_shrinker_add lab_shrinker_remove""".split()
ENDS = re.compile(r"^(lab_report_misuse|lab_report_refusal|lab_assert_failed|say_and_abort)$|\.cold$")
# What only a setting, or a bad one, leads to: figures by time, the heap profile, checked blocks, locked memory, complaints. And reading the settings, once, in the
# first call: that is interrupted by signal/first_alloc.c, the profile by profile_step.c, the rest by tests of their own.
BY_SETTING = re.compile(r"^(lab_dump_now_and_then|lab_profile_(add|remove|lose|begin_move|end_move|size)|stays_sample|tell_of_handler|lab_tell_of_slow_call|lab_checked_\w+|lab_config_read_early|malloc_medium_counted|"
                        r"lab_malloc_counted(_try)?|lab_sampler_\w+|lab_os_name|lab_space_hold_range)(\..*)?$")


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


def family_of(functions):
    """The part of the functions that the entries reach; of a library without these names, all of it."""
    if not any(name in functions for name in ENTRIES):
        return functions
    return reached_from(functions, [name for name in functions if name in ENTRIES or BY_POINTER.match(name)])


def tier_of(functions, family):
    """What the library's own functions reach besides."""
    reached = reached_from(functions, [name for name in functions if name in OWN_ENTRIES])
    return {name: code for name, code in reached.items() if name not in family}


def reached_from(functions, entries):
    waiting, family = list(entries), {}
    while waiting:
        name = waiting.pop()
        if name in family or name not in functions or ENDS.search(name) or BY_SETTING.match(name):
            continue
        family[name] = functions[name]
        for text in functions[name].values():
            target = TARGET.match(text) or ADDRESS.match(text)
            if target:
                waiting.append(target[1])
    return family


def read_offsets(paths):
    reached = set()
    for path in paths:
        with open(path, encoding="ascii") as lines:
            reached |= {int(line, 16) for line in lines}
    return reached


def print_table(family, reached, only_below=101.0, what="malloc's family"):
    """Returns the percentage over the family."""
    total = hit = 0
    untouched = []
    for name, instructions in sorted(family.items()):
        inside = len(reached & instructions.keys())
        total, hit = total + len(instructions), hit + inside
        if inside == 0:
            untouched.append(name)
        elif 100 * inside / len(instructions) < only_below:
            print(f"{inside:6} of {len(instructions):5}  {100 * inside / len(instructions):5.1f} %  {name}")
    print(f"not entered: {', '.join(untouched) or 'none'}")
    print(f"{hit} of {total} instructions of {what} were interrupted: {100 * hit / max(total, 1):.1f} %")
    return 100 * hit / max(total, 1)


def run(options, family, tier):
    """The programs' first status that is not 0, and the percentage."""
    runs, status = [([], {})], 0
    for word in options.run:
        command, settings = runs[-1]
        if word == "--and":
            runs.append((runs[0][0][:1], {}))
        elif len(runs) > 1 and len(command) == 1 and SETTING.match(word):
            settings.update([word.split("=", 1)])
        else:
            command.append(word)
    with tempfile.TemporaryDirectory() as directory:
        instructions, offsets = os.path.join(directory, "instructions"), os.path.join(directory, "offsets")
        with open(instructions, "w", encoding="ascii") as file:
            file.writelines(f"{offset:x}\n" for code in (family | tier).values() for offset in code)
        environment = dict(os.environ, LD_PRELOAD=options.library, SIGNAL_INSTRUCTIONS=instructions, SIGNAL_COVERAGE=offsets)
        for command, settings in runs:
            status = status or subprocess.run(command, env=environment | settings, check=False).returncode
        reached = read_offsets([offsets]) if os.path.exists(offsets) else set()
    if tier:
        print_table(tier, reached, 75.0, "the library's own functions")
    return status, print_table(family, reached, 75.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("offsets", nargs="*")
    parser.add_argument("--missing", metavar="FUNCTION", help="print this function's instructions, marked where not reached")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--run", nargs=argparse.REMAINDER, default=None)
    options = parser.parse_args()

    functions = read_functions(options.library)
    family = family_of(functions)
    if options.run:
        status, percent = run(options, family, tier_of(functions, family))
        if percent < options.at_least:
            print(f"less than {options.at_least:.0f} %")
        return 1 if status != 0 or percent < options.at_least else 0
    reached = read_offsets(options.offsets)
    if options.missing:
        for offset, text in functions[options.missing].items():
            print(f"{' ' if offset in reached else '-'} {offset:8x}: {text}")
    else:
        print_table(family, reached)
    return 0


if __name__ == "__main__":
    sys.exit(main())
