#!/usr/bin/env python3
"""Every command that the documents, the manual page and comments show is run, or is in this table with the test that runs it.

usage: commands.py check ROOT; commands.py run ROOT [TEXT]     TEXT: only commands that have it

check: compares the table with what is shown. run: runs the short forms, in a scratch folder whose dev, bench, build and so on are links to ROOT's.

Shown are: the lines of unmarked code blocks of *.md (a block that is no commands says what it is: ```c, ```text), those after "$ " alone if it has any;
`spans` of *.md and of comments that begin with a command and have an argument; literal displays of the manual page, and its .Ql.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIB = "build/release/preload/liblabyrinth.so"
TOOL = "build/release/tool/labyrinth"
# The tool, a command of it, and what its output goes through.
OF_A_PROCESS = "{0} run sleep 1000 & sleep 1; {0} {1} $! | {2}; kill $!"
TINY = "--quick --rounds 1 --only pair"


class Test(str):
    """The name of a test, in a meson.build, that does what the command does."""


# What is shown: a short form that really does it, or its test. In this order; {root} is the tree.
TABLE = {
    "meson setup build/release --buildtype=release && meson compile -C build/release":
        "cd {root}; meson setup build/release --buildtype=release && meson compile -C build/release",
    "./dev run": "./dev run --quick",
    "./dev run PROGRAM ARGS…": "test $(./dev run sh -c 'echo $LD_PRELOAD') = {root}/" + LIB,
    "./dev test": "./dev test --only scripts | grep '^1 passed, 0 failed'",
    "./dev demo": "./dev demo --seconds 1 --only glibc,labyrinth",
    "./dev demo --runs 5": "./dev demo --runs 2 --seconds 1 --only labyrinth",
    "./dev bench": f"./dev bench {TINY}",
    "./dev bench --json samples.json --markdown table.md --rounds 5": f"./dev bench --json samples.json --markdown table.md {TINY}; test -s table.md",
    "LD_PRELOAD=$PWD/build/release/preload/liblabyrinth.so PROGRAM": f"LD_PRELOAD=$PWD/{LIB} LABYRINTH_STATS=1 /bin/true 2>&1 | grep '^labyrinth: segments'",
    "cc app.c $(pkg-config --cflags --libs labyrinth)": Test("install"),
    "cc app.c $(pkg-config --cflags --libs labyrinth_core)": Test("install"),
    "LABYRINTH_HEAP_PROFILE=512K LD_PRELOAD=$PWD/build/release/preload/liblabyrinth.so PROGRAM": Test("insight-profile"),
    "labyrinth trace -o FILE -- PROGRAM": Test("tool-trace"),
    "labyrinth replay --peers FILE": Test("tool-trace"),
    "labyrinth profile labyrinth.PID.0.pb.gz": Test("insight-profile"),
    "labyrinth profile --svg flame.svg labyrinth.PID.0.pb.gz": Test("insight-profile"),
    "go tool pprof -top labyrinth.PID.0.pb.gz": Test("insight-pprof"),
    "meson install -C build/release": Test("install"),
    "pkg-config --libs labyrinth": Test("install"),
    "pkg-config --libs labyrinth_core": Test("install"),
    "pkg-config --libs labyrinth_rcu labyrinth_core liburcu-memb": Test("install"),
    "pkg-config --static": Test("install"),
    "export LD_PRELOAD=/usr/local/lib/x86_64-linux-gnu/liblabyrinth.so.0": f"export LD_PRELOAD=$PWD/{LIB}; sort dev >sorted; cmp sorted <(LD_PRELOAD= sort dev)",
    "LABYRINTH_STATS=1 LABYRINTH_STATS_FILE=/tmp/stats.%p sort file":
        f"LD_PRELOAD=$PWD/{LIB} LABYRINTH_STATS=1 LABYRINTH_STATS_FILE=stats.%p sort dev >sorted; test -s stats.*",
    "bench/run.py --json samples.json --markdown table.md": f"bench/run.py --json samples.json --markdown table.md {TINY}",
    "bench/run.py --only churn,spike --rounds 3": "bench/run.py --only churn,spike --rounds 1 --quick",
    "bench/run.py --lib /usr/lib/x86_64-linux-gnu/libmimalloc.so.2.0":
        f"bench/run.py --lib /usr/lib/*/libmimalloc.so.2.0 --peers none --baseline labyrinth {TINY}",
    "./dev bench report FOLDER": Test("report-script"),
    "bench/report.py report": Test("report-script"),
    "bench/report.py report --quick": Test("report-script"),
    "bench/compare.py before.so after.so": Test("compare-script"),
    "bench/traces.py traces": "bench/traces.py traces --quick python perl; test -s traces/perl.trace",
    "build/release/bench/play FILE": Test("traces"),
    "bench/scaling.py --plot scaling.svg":
        "bench/scaling.py --plot scaling.svg --peers none --ops 100000 --threads 1,2 --rounds 1; grep -q '<svg' scaling.svg",
    "bench/run.py --alloc new=$HOME/libjemalloc.so": f"bench/run.py --alloc new=/usr/lib/$(uname -m)-linux-gnu/libjemalloc.so.2 --peers none --baseline new {TINY}",
    "bench/run.py --show samples.json": "bench/run.py --show samples.json",
    "bench/plot.py samples.json ratios.svg": "bench/plot.py samples.json ratios.svg; grep -q '<svg' ratios.svg",
    "bench/plot.py samples.json docs/images/ratios.svg": "bench/plot.py samples.json docs/images/ratios.svg; test -s docs/images/ratios.svg",
    "bench/instructions.sh --peers": "bench/instructions.sh --peers --pairs 1000",
    "bench/instructions.sh --atomic": "bench/instructions.sh --atomic --pairs 1000",
    "bench/startup.sh --peers": "bench/startup.sh --peers --runs 2",
    "bench/latency.py --markdown latency.md --plot docs/images/latency.svg":
        "bench/latency.py --markdown latency.md --plot docs/images/latency.svg --peers glibc --calls 2000; test -s docs/images/latency.svg",
    "LD_PRELOAD=build/release/preload/liblabyrinth.so build/release/bench/atomic": f"LD_PRELOAD={LIB} build/release/bench/atomic --quick",
    "bench/guard.py": Test("guard-script"),
    "bench/tides.py --plot docs/images/tides.svg":
        "bench/tides.py --plot docs/images/tides.svg --rounds 1 --peers glibc --decay 0 --curves glibc,DECAY_MS=0 -- --quick; test -s docs/images/tides.svg",
    "bench/servers.py": "bench/servers.py --rounds 1 --peers glibc -- --quick",
    "bench/programs.py": Test("programs-script"),
    "bench/profiles.py": Test("profiles-script"),
    "LD_PRELOAD=liblabyrinth.so.0 heaptrack PROGRAM": Test("heaptrack"),
    "docker build -f examples/deploy/Dockerfile -t labyrinth .": Test("package-deploy"),
    "bench/tides.py --rounds 3": "bench/tides.py --rounds 1 --peers glibc --decay 0 -- --quick",
    "./dev test --only TEXT": "./dev test --only scripts",
    "./dev run --quick": "./dev run --quick",
    "./dev test --only scripts": "./dev test --only scripts",
    "./dev COMMAND --help": Test("dev-help"),
    "tests/misuse/run.py PROGRAM LIBRARY --table": Test("misuse-kinds"),
    "meson install": Test("install"),
    "meson dist -C build/release --no-tests": Test("package-debian"),
    "apt-get build-dep . && dpkg-buildpackage -b -us -uc && apt-get install ../labyrinth_*.deb ../liblabyrinth0_*.deb ../liblabyrinth-dev_*.deb": Test("package-debian"),
    "bench/entropy.py": "bench/entropy.py --runs 20 --peers glibc",
    "./dev format": Test("format"),
    "meson test": "cd {root}; meson test -C build/release --no-rebuild --logbase shown-commands histogram",
    "meson setup build/test --buildtype=debug -Doptimization=1 -Dasserts=true && meson test -C build/test heap-visit":
        "meson setup scratch {root} --buildtype=debug -Doptimization=1 -Dasserts=true; grep -q LAB_ASSERTS=1 scratch/build.ninja; ninja -C scratch -n tests/unit/unit-heap-visit",
    "meson test -C build/release --suite lint": "cd {root}; meson test -C build/release --no-rebuild --logbase shown-commands --suite lint lint-layers",
    "meson test -C BUILD heap-visit": "cd {root}; meson test -C build/release --no-rebuild --logbase shown-commands heap-visit",
    "meson test -C build/release --suite bench": "cd {root}; meson test -C build/release --no-rebuild --logbase shown-commands --suite bench pair",
    "tests/soak/run.py --minutes 30 --picture FILE": Test("soak-minute"),
    "tests/soak/run.py --minutes 30": Test("soak-minute"),
    "tests/programs/run.py --packages": "tests/programs/run.py --packages --quick",
    "mandoc -Tlint docs/man/labyrinth.3": "cd {root}; mandoc -Tlint -Wwarning docs/man/*.[137]",
    "labyrinth doctor PROGRAM": f"{TOOL} doctor sort",
    "labyrinth run --set decay_ms=100 -- PROGRAM": f"{TOOL} run --set decay_ms=100 -- sort dev >sorted; cmp sorted <(sort dev)",
    "labyrinth stat PID": OF_A_PROCESS.format(TOOL, "stat", "grep '^allocated '"),
    "labyrinth stat --json PID": OF_A_PROCESS.format(TOOL, "stat --json", "python3 -m json.tool"),
    "labyrinth map --svg PID >map.svg": OF_A_PROCESS.format(TOOL, "map --svg", "grep '^<svg'"),
    "labyrinth map PID": OF_A_PROCESS.format(TOOL, "map", "grep '^pinned by survivors: '"),
    "labyrinth top": f"{TOOL} top --count 1",
    "labyrinth slabinfo PID": OF_A_PROCESS.format(TOOL, "slabinfo", "grep '^size-'"),
    "labyrinth metrics PID": OF_A_PROCESS.format(TOOL, "metrics", "grep '^# EOF$'"),
}

COMMAND = re.compile(r"(?:[A-Z_]+=\S+ +)*(?:\./dev\b|(?:bench|tests|examples|tools|build)/[\w/.-]+ |(?:cc|gcc|clang|meson|ninja|mandoc|pkg-config|valgrind|cmake|make|heaptrack|docker|dpkg-buildpackage|apt-get) )")
SPAN = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.M | re.S)
DISPLAY = re.compile(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", re.M | re.S)
C_CODE = re.compile(r"[;{]$|^#include", re.M)
QUOTE = re.compile(r"^\.Ql (.*?)( [.,;)])?$", re.M)
COMMENTS = {".h", ".c", ".cpp", ".py", ".sh", ".build"}


def in_block(text):
    """The commands of a block, without what "#" says of them."""
    lines = [line for line in text.splitlines() if line.strip()]
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [re.sub(r"\s+# .*", "", line).strip() for line in lines]


def spans(text):
    return [span for span in SPAN.findall(text) if COMMAND.match(span)]


def shown(root):
    """(file, command) for all that is shown."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, text=True, check=False).stdout.split("\0")
    for name in filter(None, listed):
        path = root / name
        if path == Path(__file__).resolve() or not path.is_file() or path.suffix not in COMMENTS | {".md", ".1", ".3", ".7"}:
            continue
        text = path.read_text()
        if path.suffix == ".md":
            for kind, body in BLOCK.findall(text):
                if kind in ("", "sh"):
                    yield from ((name, command) for command in in_block(body))
            text = BLOCK.sub("", text)
        elif path.suffix in (".1", ".3", ".7"):
            for body in DISPLAY.findall(text):
                if C_CODE.search(body):
                    continue
                yield from ((name, command) for command in in_block(body))
            yield from ((name, command) for command, _ in QUOTE.findall(text) if COMMAND.match(command))
        yield from ((name, command) for command in spans(text))


def check(root):
    found = list(shown(root))
    builds = "".join(path.read_text() for folder in ("tests", "bench", "examples") for path in (root / folder).rglob("meson.build"))
    for name, command in found:
        if command not in TABLE:
            yield f"{name}: shows `{command}`, which tests/docs/commands.py neither runs nor names a test for"
    for command, how in TABLE.items():
        if command not in {command for _, command in found}:
            yield f"`{command}` is in the table, and nowhere shown"
        if isinstance(how, Test) and f"'{how}'" not in builds:
            yield f"`{command}`: there is no test {how}"


def make_scratch(root, folder):
    """`folder` looks like the tree; what commands write stays in it."""
    for name in "dev", "bench", "tests", "examples", "tools", "build":
        (folder / name).symlink_to(root / name)
    (folder / "docs/images").mkdir(parents=True)


def run(root, text=""):
    with tempfile.TemporaryDirectory() as folder:
        make_scratch(root, Path(folder))
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        environment.pop("LD_LIBRARY_PATH", None)  # meson's
        for command, how in TABLE.items():
            if isinstance(how, Test) or text not in command:
                continue
            short = how.replace("{root}", str(root))
            begin = time.monotonic()
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", short], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
            print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {command} ({time.monotonic() - begin:.0f} s)", flush=True)
            if done.returncode:
                yield f"status {done.returncode}: {short}\n{done.stdout[-3000:]}"


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("check", "run"):
        sys.exit(__doc__)
    wrong = list({"check": check, "run": run}[sys.argv[1]](Path(sys.argv[2]).resolve(), *sys.argv[3:]))
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
