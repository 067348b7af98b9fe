#!/usr/bin/python3
"""Who sees which misuse: programs with one misuse each (kinds.cpp) on Labyrinth in three profiles, and on its peers.

usage: run.py PROGRAM LIBRARY           checks Labyrinth: all is reported but what NOT_SEEN names
       run.py PROGRAM LIBRARY --table   the table of docs/diagnosis.md, peers that are installed included

Seen is: the process ended by a signal. "yes" has a message on stderr besides, "crash" has none: the process has died, at the misuse or
later, of what was done to it. "leak" is seen if its 3 blocks are listed; "calloc-overflow" if calloc gives NULL.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import allocators  # noqa: E402

PROFILES = {"default": {}, "debug": {"LABYRINTH_PROFILE": "debug"}, "secure": {"LABYRINTH_PROFILE": "secure"}}
CAUGHT_BY_STATUS = 78
UNUSED = 77

# What need not be seen: all else is to be reported. "secure" keeps no record of which operator has made a block, nor a list
# of what is there, and has guard pages from 1 MiB on, and looks at the first bytes of freed blocks alone.
OPERATORS = {"free-of-new", "delete-of-malloc", "delete-of-new-array", "delete-array-of-new", "free-of-aligned-new"}
NOT_SEEN = {
    "default": OPERATORS | {
        "write-one-behind", "write-one-behind-full", "write-one-behind-run", "write-one-behind-huge", "write-one-behind-realloc",
        "write-one-behind-check", "write-one-behind-kept", "write-before", "write-before-run", "write-far-behind-run", "write-far-behind-huge", "read-behind-run",
        "read-behind-huge", "write-freed", "write-freed-run", "write-freed-huge", "read-freed-run", "size-of-freed", "delete-larger-size",
        "delete-smaller-size", "leak"},
    "secure": OPERATORS | {"write-one-behind-kept", "free-uninitialised", "leak", "write-far-behind-run", "read-behind-run", "read-freed-run", "write-freed-run"},
    "debug": set(),
}


def run(program, kind, environment):
    """"yes", "crash", "no", or "" if the allocator has not what it takes."""
    clean = {name: value for name, value in os.environ.items() if not allocators.TUNING.match(name)}
    try:
        done = subprocess.run([program, kind], env={**clean, **environment}, capture_output=True, text=True, timeout=120, errors="replace")
    except subprocess.TimeoutExpired:
        return "hang"
    if done.returncode == UNUSED:
        return ""
    if done.returncode == CAUGHT_BY_STATUS:
        return "yes"
    if kind == "leak":
        return "yes" if re.search(r"\b12963 bytes in 3 blocks", done.stderr) else "no"
    if done.returncode == 0:
        return "no"
    reported = done.stderr.strip() if "labyrinth" not in environment.get("LD_PRELOAD", "") else re.search(r"^labyrinth: \w", done.stderr, re.M)
    return "yes" if reported else "crash"


def reports_to_file(program, environment):
    with tempfile.NamedTemporaryFile("w+", prefix="labyrinth-reports-") as file:
        file.write("before\n")
        file.flush()
        for _ in range(2):
            run(program, "double-free", {**environment, "LABYRINTH_REPORT_FILE": file.name})
        return re.match(r"before\n(labyrinth: .*\n)*labyrinth: free.*\n(labyrinth: .*\n)*labyrinth: free.*\n", Path(file.name).read_text())


def kinds_of(program):
    """[(name, only Labyrinth's)]"""
    listed = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    return [(line.split()[0], line.endswith(" ours")) for line in listed if line != "none"]


def check(program, library):
    status = 0
    for profile, settings in PROFILES.items():
        environment = {"LD_PRELOAD": library, **settings}
        seen = {name: run(program, name, environment) for name, _ in kinds_of(program)}
        general = [name for name, ours in kinds_of(program) if not ours]
        count = sum(seen[name] == "yes" for name in general)
        missed = [name for name in seen if seen[name] != "yes"]
        print(f"{profile}: {count} of {len(general)}; not: {', '.join(missed)}")
        if not set(missed) <= NOT_SEEN[profile]:
            print(f"  these are to be reported: {', '.join(set(missed) - NOT_SEEN[profile])}")
            status = 1
        if run(program, "none", environment) != "no":
            print("  and nothing where nothing is wrong")
            status = 1
        if not reports_to_file(program, environment):
            print("  and it is to be in the file of LABYRINTH_REPORT_FILE, after what was there")
            status = 1
    return status


def candidates(library):
    """{column: environment}"""
    found = {profile: {"LD_PRELOAD": library, **settings} for profile, settings in PROFILES.items()}
    for name in allocators.PEERS:
        peer = allocators.find_peer(name)
        if peer:
            found[name] = {"LD_PRELOAD": peer.path} if peer.path else {}
    others = {
        "glibc check": (["libc_malloc_debug.so.0"], {"MALLOC_CHECK_": "3", "GLIBC_TUNABLES": "glibc.malloc.check=3"}),
        "tcmalloc debug": (["libtcmalloc_minimal_debug.so.4"], {}),
    }
    for name, (sonames, settings) in others.items():
        path = allocators.find_library(sonames)
        if path:
            found[name] = {"LD_PRELOAD": path, **settings}
    scudo = sorted(glob.glob("/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.scudo_standalone-x86_64.so"))
    if scudo:
        found["scudo"] = {"LD_PRELOAD": scudo[-1]}
    return found


def table(program, library):
    columns = candidates(library)
    kinds = kinds_of(program)
    print("| misuse | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    seen = {column: {name: run(program, name, environment) for name, _ in kinds} for column, environment in columns.items()}
    for name, _ in kinds:
        print(f"| {name} | " + " | ".join({"yes": "yes", "no": "–", "": ""}.get(seen[c][name], seen[c][name]) for c in columns) + " |")
    general = [name for name, ours in kinds if not ours]
    print(f"| **reported, of {len(general)}** | " + " | ".join(f"**{sum(seen[c][n] == 'yes' for n in general)}**" for c in columns) + " |")
    print("| crashed without a word | " + " | ".join(str(sum(seen[c][n] in ("crash", "hang") for n in general)) for c in columns) + " |")
    return 0


def main():
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    return (table if sys.argv[3:] == ["--table"] else check)(sys.argv[1], os.path.abspath(sys.argv[2]))


sys.exit(main())
