#!/usr/bin/python3
"""Who sees which misuse: programs with one misuse each (kinds.cpp) on Labyrinth in three profiles, and on its peers.

usage: run.py PROGRAM LIBRARY           checks Labyrinth: what EXPECTED says is seen, with a report where it says so
       run.py PROGRAM LIBRARY --table   the table of docs/diagnosis.md, peers that are installed included

Seen is: the process ended by a signal. "yes" has a message on stderr besides, "crash" has none: the process has died, at the misuse or
later, of what was done to it. "leak" is seen if its 3 blocks are listed; "calloc-overflow" if calloc gives NULL.
"""

import glob
import os
import re
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import allocators  # noqa: E402

PROFILES = {"default": {}, "debug": {"LABYRINTH_PROFILE": "debug"}, "secure": {"LABYRINTH_PROFILE": "secure"}}
CAUGHT_BY_STATUS = 78
UNUSED = 77

# So many of the kinds that any allocator can have are to be reported, and all that only Labyrinth has, but by default
# those of NEEDS_CHECK.
NEEDS_CHECK = {"write-one-behind-check"}
AT_LEAST = {"default": 20, "secure": 37, "debug": 44}


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
        return "yes" if re.search(r"\b3 blocks, 12963 bytes", done.stderr) else "no"
    if done.returncode == 0:
        return "no"
    return "yes" if done.stderr.strip() else "crash"


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
        own = [name for name, ours in kinds_of(program) if ours and seen[name] != "yes" and (profile != "default" or name not in NEEDS_CHECK)]
        if count < AT_LEAST[profile] or own:
            print(f"  at least {AT_LEAST[profile]} are to be seen, and all that only Labyrinth has")
            status = 1
        if run(program, "none", environment) != "no":
            print("  and nothing where nothing is wrong")
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
