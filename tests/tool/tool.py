#!/usr/bin/env python3
"""labyrinth(1) against real processes: usage: tool.py --tool TOOL --library LIB --fixture NAME=PROGRAM… SCENE

A scene starts programs on the drop-in whose blocks are known (fixture.c), or that are something else (strange.c), and checks what the
tool prints. Exit status 77: the machine does not allow the scene.
"""

import argparse
import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import xml.etree.ElementTree
from pathlib import Path

SKIP = 77
TIMEOUT = 60
NOBODY = 65534


class Tool:
    def __init__(self, options):
        self.path = Path(options.tool).resolve()
        self.library = Path(options.library).resolve()
        self.fixtures = {name: Path(path).resolve() for name, path in (entry.split("=", 1) for entry in options.fixture)}

    def run(self, *arguments, status=0, **options):
        """The finished call; its exit status is as expected, and it is no signal's."""
        result = subprocess.run([self.path, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT, check=False, **options)
        expect(result.returncode == status, f"labyrinth {arguments}: status {result.returncode}, not {status}\n{result.stdout}{result.stderr}")
        return result

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--json").stdout)

    def complaint(self, *arguments, status=1, **options):
        """What it says in exactly one line on stderr, and nothing on stdout."""
        result = self.run(*arguments, status=status, **options)
        expect(result.stdout == "" and result.stderr.count("\n") == 1 and result.stderr.startswith("labyrinth: "),
               f"labyrinth {arguments} is to say one line on stderr:\n{result.stdout}{result.stderr}")
        return result.stderr

    @contextlib.contextmanager
    def process(self, *command, preload=True, **environment):
        """(process, words behind "ready") of a fixture that waits."""
        variables = dict(os.environ, **environment)
        if preload:
            variables["LD_PRELOAD"] = str(self.library)
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables)
        try:
            words = process.stdout.readline().split()
            expect(words[:1] == ["ready"], f"{command} is not ready: {words}")
            yield process, words[1:]
        finally:
            process.stdin.close()
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def has(pattern, text):
    expect(re.search(pattern, text, re.M), f"/{pattern}/ is not in:\n{text}")


def skip(why):
    print(why)
    sys.exit(SKIP)


def commands(tool):
    return re.findall(r"^  (\w+)  +\S", tool.run("--help").stdout.split("Commands:")[1], re.M)


def class_of(report, size):
    return next(entry for entry in report["classes"] if entry["size"] == size)


# ---- scenes ----


def help_(tool):
    names = commands(tool)
    expect({"run", "doctor", "stat", "metrics", "buddyinfo", "slabinfo", "map", "top", "diff", "query", "profile", "trace", "replay", "bench"} <= set(names), names)
    for name in names:
        has(rf"^Usage: labyrinth {name}", tool.run(name, "--help").stdout)
        tool.run(name, "--no-such-option", status=2)
    has(r"^labyrinth \d+\.\d+\.\d+$", tool.run("--version").stdout)
    for wrong in ([], ["no-such"], ["stat"], ["stat", "x"], ["stat", "1", "2"], ["stat", "-1"], ["stat", "99999999999"], ["run"], ["run", "--set", "x", "true"],
                  ["run", "--set", "=1", "true"], ["doctor", "a", "b"]):
        expect("labyrinth" in tool.run(*wrong, status=2).stderr, wrong)


def run(tool):
    script = "echo $LABYRINTH_PROFILE; echo $LD_PRELOAD $LABYRINTH_DECAY_MS $LABYRINTH_RESERVE; exit 7"
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    result = tool.run("run", "--set", "decay_ms=5", "--set=reserve=0", "--profile", "small", "--", "sh", "-c", script, status=7, env=environment)
    expect(result.stdout.split() == ["small", str(tool.library), "5", "0"], result.stdout)
    other = str(tool.library.parent / "libnothing.so")
    result = tool.run("run", "sh", "-c", "echo $LD_PRELOAD", env=dict(environment, LD_PRELOAD=other))
    expect(result.stdout.strip() == f"{tool.library}:{other}", result.stdout)
    with tempfile.TemporaryDirectory(prefix="a b") as folder:
        shutil.copy(tool.library, folder)
        has("cannot name a path", tool.complaint("run", "--library", f"{folder}/{tool.library.name}", "true", status=125))
    has("No such file", tool.complaint("run", "--library", "/none.so", "true", status=125))
    # the program is the tool's own process: its signals and its death are the caller's to see
    process = subprocess.Popen([tool.path, "run", "sleep", "60"])
    wait_until(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0])
    process.terminate()
    expect(process.wait(TIMEOUT) == -signal.SIGTERM, process.returncode)


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        expect(time.monotonic() < end, "nothing happens")
        time.sleep(0.01)


def report(tool):
    fixture = tool.fixtures["plain"]
    result = tool.run("run", "--report", fixture, "blocks", "5", status=5, stdin=subprocess.DEVNULL)
    has(r"^labyrinth: blocks +1\d\d\d$", result.stderr)
    has(r"^labyrinth: figures of process \d+$", result.stderr)
    has(r"^labyrinth: process \d+ \(tool-fixture\)$", result.stderr)
    several = f"'{fixture}' blocks 3 </dev/null; '{fixture}' blocks 4 </dev/null"
    result = tool.run("run", "--report", "sh", "-c", several, status=4)
    has(r"^labyrinth: +process program +allocated +resident +purged +heaps +remote frees +re-entrant +failures$", result.stderr)
    expect(len(re.findall(r"^labyrinth: +\d+ tool-fixture +\d+\.\d [KM]iB +\d+\.\d [KM]iB ", result.stderr, re.M)) == 2, result.stderr)
    expect(result.stderr.count("\n") < 8, result.stderr)
    result = tool.run("run", "--report=full", "sh", "-c", several, status=4)
    expect(len(re.findall(r"^labyrinth: blocks +1\d\d\d$", result.stderr, re.M)) == 2, result.stderr)
    tool.run("run", "--report=x", "true", status=2)
    result = tool.run("run", "--check-atomic", fixture, "handlers", stdin=subprocess.DEVNULL)
    words = result.stdout.split()
    expect(words[0] == "ready" and int(words[1]) >= 5, words)
    told = re.findall(r"^labyrinth: signal handler: .*\nlabyrinth: +#0 (\S+)\+0x\w+$", result.stderr, re.M)
    # malloc's place and those of the two frees, each but once
    expect(told == [str(fixture)] * 3 and result.stderr.count("#0") == 3, result.stderr)
    has(rf"^labyrinth: {words[1]} calls .* came from signal handlers .*; 0 atomic calls .* \(1 process\)$", result.stderr)
    ignored = subprocess.run(["bash", "-c", 'trap "" CHLD; "$0" run --report sh -c "exit 3"', tool.path], capture_output=True, text=True, check=False)
    expect(ignored.returncode == 3, f"a parent that ignores SIGCHLD: {ignored}")
    result = tool.run("run", "-a", "sh", "-c", "kill -SEGV $$", status=128 + signal.SIGSEGV)
    has("^labyrinth: no figures: ", result.stderr)
    process = subprocess.Popen([tool.path, "run", "-a", "sleep", "60"], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip())
    time.sleep(0.1)  # it may not have called exec yet; it ends by the signal in any case
    process.terminate()
    expect(process.wait(TIMEOUT) == 128 + signal.SIGTERM, process.returncode)
    process.stderr.close()


def scripts(folder, tool):
    """Programs in a folder: scripts that are run by others, and no programs."""
    made = {
        "script": f"#!{tool.fixtures['static']} x\n",
        "by-env": "#!/usr/bin/env -S no-such-program\n",
        "nested": f"#!{folder}/script\n",
        "shell": "#!/usr/bin/env sh\nexit 3\n",
        "text": "exit 4\n",
        "empty": "",
        "short": "\x7fELF",
    }
    for name, text in made.items():
        path = Path(folder) / name
        path.write_text(text)
        path.chmod(0o755)


def objections(tool):
    fixtures = tool.fixtures
    with tempfile.TemporaryDirectory() as folder:
        scripts(folder, tool)
        cases = [
            (fixtures["static"], 125, "statically linked"),
            (fixtures["musl"], 125, "musl"),
            (fixtures["own"], 125, "defines malloc itself"),
            (f"{folder}/script", 125, "statically linked"),
            (f"{folder}/nested", 125, "statically linked"),
            (f"{folder}/by-env", 127, "first line asks for is not there|no such program"),
            (f"{folder}/empty", 126, "neither a program nor a script"),
            (f"{folder}/short", 126, "neither a program nor a script"),
            (folder, 126, "no program that may be"),
            ("no-such-program-anywhere", 127, "no such program"),
            ("/no/such/program", 127, "no such program"),
        ]
        if "asan" in fixtures:
            cases.append((fixtures["asan"], 125, "AddressSanitizer"))
        if os.geteuid() == 0:
            privileged = shutil.copy(fixtures["plain"], f"{folder}/privileged")
            os.chown(privileged, NOBODY, 0)
            os.chmod(privileged, 0o4755)
            cases.append((privileged, 125, "set-user-ID"))
        for program, status, text in cases:
            has(text, tool.complaint("run", program, "blocks", status=status))
            has(f"^problem +program +.*({text})", tool.run("doctor", program, status=1).stdout)
        tool.run("run", f"{folder}/shell", status=3)
        tool.run("run", f"{folder}/text", status=4)  # as execvp does it
        has("is run by /bin/sh$", tool.run("doctor", f"{folder}/text").stdout)
        has("is run by .*/sh$", tool.run("doctor", f"{folder}/shell").stdout)
    # linked with the archive: nothing is to be preloaded
    result = tool.run("run", "--report", fixtures["linked"], "blocks", stdin=subprocess.DEVNULL)
    has(r"^labyrinth: blocks +1\d\d\d$", result.stderr)
    has("is linked with Labyrinth", tool.run("doctor", fixtures["linked"]).stdout)


def doctor(tool):
    has("^fine +glibc ", tool.run("doctor").stdout)
    findings = tool.json("doctor", "sh")
    expect({"library", "program", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_MEMLOCK", "RLIMIT_NPROC", "seccomp", "glibc", "kernel", "overcommit"} <=
           {finding["about"] for finding in findings}, findings)
    has("^fine +settings ", tool.run("doctor").stdout)
    has("^note +settings +LABYRINTH_DECAY_MS=x: ignored; expected ", tool.run("doctor", env=dict(os.environ, LABYRINTH_DECAY_MS="x")).stdout)
    has("^problem +RLIMIT_AS ", tool.run("doctor", "sh", status=1, preexec_fn=lambda: limit("RLIMIT_AS", 40 << 20)).stdout)
    has("^note +RLIMIT_MEMLOCK ", tool.run("doctor", preexec_fn=lambda: limit("RLIMIT_MEMLOCK", 65536)).stdout)
    enough = 2816 << 10  # what it advises is enough
    has("^fine +RLIMIT_MEMLOCK .*: the reserve is locked$", tool.run("doctor", preexec_fn=lambda: limit("RLIMIT_MEMLOCK", enough)).stdout)
    has(r"^note +RLIMIT_MEMLOCK .*\n.* to 2816 KiB", tool.run("doctor", preexec_fn=lambda: limit("RLIMIT_MEMLOCK", enough - 4096)).stdout)
    result = tool.run("run", "--report", tool.fixtures["plain"], "blocks", stdin=subprocess.DEVNULL, preexec_fn=lambda: limit("RLIMIT_MEMLOCK", enough))
    has("reserve: strict", result.stderr)
    redis = shutil.which("redis-server")
    if redis and b"mallctl" in Path(redis).read_bytes():
        has("^note +allocator .*jemalloc.*mallctl", tool.run("doctor", redis).stdout)
    has(r"^problem +libraries .*built with AddressSanitizer", tool.run("doctor", tool.fixtures["sanitized"], status=1).stdout)
    with tempfile.TemporaryDirectory() as folder:  # a library that is not there
        broken = Path(folder) / "broken"
        content = Path(tool.fixtures["plain"]).read_bytes()
        expect(content.count(b"libc.so.6\0") >= 1, "the fixture needs libc")
        broken.write_bytes(content.replace(b"libc.so.6\0", b"libq.so.6\0"))
        broken.chmod(0o755)
        has(r"^problem +libraries ", tool.run("doctor", broken, status=1).stdout)
    with tool.process(tool.fixtures["plain"], "blocks", LABYRINTH_DECAY_MS="77") as (process, _):
        text = tool.run("doctor", process.pid).stdout
        for pattern in (r"^fine +process +tool-fixture runs on Labyrinth \d", r"^fine +since +\d{4}-", r"^fine +setting +decay_ms: 77 \(environment\)$", r"^fine +setting +thp: default \(built in\)$",
                        r"^fine +active +1\d\d\d blocks", r"^fine +reserve .*, locked, ", r"^fine +mappings +it has \d+ of "):
            has(pattern, text)
    with tool.process(tool.fixtures["plain"], "blocks", LABYRINTH_RESERVE_LOCK="0") as (process, _):  # what is, not what would be
        text = tool.run("doctor", process.pid).stdout
        has(r"^fine +reserve .*, not locked, ", text)
        expect("reserve is locked" not in text, text)
    with tool.process(tool.fixtures["plain"], "blocks", preload=False) as (process, _):
        has(r"^problem +process +.*does not run on Labyrinth", tool.run("doctor", process.pid, status=1).stdout)
    # what a file names as its loader is not run, whatever its name is
    with tempfile.TemporaryDirectory() as folder:
        loader, program, made = f"{folder}/ld-linux-other", f"{folder}/program", f"{folder}/made"
        touch = f'#include <fcntl.h>\nint main(void) {{ return open("{made}", O_CREAT, 0600) < 0; }}'  # static: as the program it would only be traced
        subprocess.run(["cc", "-x", "c", "-", "-static", "-o", loader], input=touch, text=True, check=True)
        subprocess.run(["cc", "-x", "c", "-", "-o", program, f"-Wl,-dynamic-linker,{loader}"], input="int main(void) { return 0; }", text=True, check=True)
        subprocess.run([tool.path, "doctor", program], capture_output=True, timeout=TIMEOUT, check=False)
        expect(not os.path.exists(made), "doctor has run it")


def limit(name, value):
    import resource
    resource.setrlimit(getattr(resource, name), (value, value))


READERS = ("stat", "metrics", "buddyinfo", "slabinfo", "map", "query", "top")


def readers(tool):
    """The arguments of each command that looks into a process, without the process."""
    found = [name for name in READERS if name in commands(tool)]
    return [(name, ["1"] if name == "query" else []) for name in found]


def refused(tool):
    """What is no process on this Labyrinth is one clear line."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    zombie = subprocess.Popen(["true"])
    wait_until(lambda: Path(f"/proc/{zombie.pid}/stat").read_text().split()[2] == "Z")
    for name, rest in readers(tool):
        has(rf"process {gone.pid}: .*has ended$", tool.complaint(name, gone.pid, *rest))
        has(r"has ended$", tool.complaint(name, zombie.pid, *rest))
        with tool.process(tool.fixtures["plain"], "blocks", preload=False) as (process, _):
            has(r"\(tool-fixture\) does not run on Labyrinth$", tool.complaint(name, process.pid, *rest))
        with tool.process(tool.fixtures["strange"], "version", preload=False) as (process, _):
            has(r"runs on Labyrinth 9\.8\.7, .*another build or version", tool.complaint(name, process.pid, *rest))
    zombie.wait()
    has(r"has ended$", tool.complaint("doctor", gone.pid))
    if os.geteuid() != 0:
        skip("not root: that another user's process is refused was not tried")
    with tool.process(tool.fixtures["plain"], "blocks") as (process, _), tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        copied = Tool.__new__(Tool)
        copied.path = shutil.copy(tool.path, folder)
        for name, rest in readers(tool):
            has(r"not permitted", Tool.complaint(copied, name, process.pid, *rest, user=NOBODY, group=NOBODY, extra_groups=[]))


def stat(tool):
    for name in ("plain", "linked"):
        with tool.process(tool.fixtures[name], "blocks", preload=name == "plain") as (process, _):
            shown = tool.json("stat", process.pid)
            figures = shown["figures"]
            expect(class_of(shown, 112)["live"] in range(1000, 1010), class_of(shown, 112))
            expect(figures["huge_blocks"] == 1 and figures["huge"] in range(16 << 20, 17 << 20), figures)
            expect(figures["large_blocks"] == 3 and figures["large"] in range(3 * 100 * 1024, 3 * 120 * 1024), figures)
            least = 1000 * 112 + figures["huge"] + figures["large"]
            expect(least <= figures["allocated"] <= least + 200000, figures)
            expect(figures["allocated"] <= figures["active"] <= figures["mapped"], figures)
            expect(figures["allocated"] < figures["resident"] < figures["allocated"] + (4 << 20), figures)
            expect(figures["heaps"] == 1 and "limit" not in figures and figures["reserve"] >= 300 << 10, figures)
            expect(shown["skipped_segments"] == 0 and shown["pid"] == process.pid and 0 <= shown["age"] < 60, shown)
            has(r"^allocated +16\.\d MiB ", tool.run("stat", process.pid).stdout)
    with tool.process(tool.fixtures["plain"], "others", LABYRINTH_LIMIT="1G", LABYRINTH_EXCLUSIVE="log") as (process, _):
        shown = tool.json("stat", process.pid)
        figures = shown["figures"]
        expect(figures["reserve_used"] == 1024, figures)
        expect(figures["limit"] == 1 << 30 and shown["settings"]["limit"] == {"value": str(1 << 30), "from": "environment"} and
               shown["settings"]["exclusive"]["value"] == "log", shown)
        expect(figures["remote_frees"] + figures["remote_waiting"] + figures["adopted_heaps"] > 0 and figures["charged"] > 0, figures)
        expect(class_of(shown, 48)["live"] < 300 or figures["remote_waiting"] > 0, shown)
    with tool.process(tool.fixtures["plain"], "handlers") as (process, words):
        expect(tool.json("stat", process.pid)["figures"]["reentrant_calls"] == int(words[0]), words)


def metrics(tool):
    sample = re.compile(r'^(labyrinth_\w+)(?:\{(\w+="[^"]*",?)+\})? (\d+)$')
    with tool.process(tool.fixtures["plain"], "blocks") as (process, _):
        text = tool.run("metrics", process.pid).stdout
    expect(text.endswith("\n# EOF\n") and text.count("# EOF") == 1, text[-100:])
    types, values = {}, {}
    for line in text.splitlines()[:-1]:
        if line.startswith("# "):
            kind, name, rest = line[2:].split(" ", 2)
            expect(kind in ("TYPE", "UNIT", "HELP"), line)
            if kind == "TYPE":
                expect(name not in types, f"{name} twice")
                types[name] = rest
            elif kind == "UNIT":
                expect(name.endswith("_" + rest), line)
            continue
        match = sample.match(line)
        expect(match, line)
        family = re.sub("_(total|info)$", "", match[1])
        expect(types.get(family) == {"_total": "counter", "_info": "info"}.get(match[1][len(family):], "gauge"), line)
        values[line.rsplit(" ", 1)[0]] = int(match[3])
    for name in ("allocated", "active", "resident", "retained", "mapped", "metadata"):
        expect(f"labyrinth_{name}_bytes" in values, name)
    expect(values['labyrinth_class_blocks{size="112"}'] in range(1000, 1010), values)
    with tool.process(tool.fixtures["plain"], "blocks") as (process, _), tool.process(tool.fixtures["plain"], "storm") as (other, _):
        text = tool.run("metrics", "--label", 'rack=a "b"\\', "-ldc=x", process.pid, other.pid).stdout
        labelled = tool.run("metrics", "--label=job=x", process.pid).stdout
        for wrong in [process.pid, "--label=x"], [process.pid, "--label=0x=y"], [process.pid, "--label=size=y"], ["--json", process.pid, other.pid], []:
            tool.run("metrics", *wrong, status=2)
        partly = tool.run("metrics", process.pid, 99999999, status=1)
        has("^labyrinth: .*99999999", partly.stderr)
        has(rf'^labyrinth_active_bytes\{{pid="{process.pid}",', partly.stdout)
        expect(tool.run("metrics", process.pid, process.pid).stdout.count("labyrinth_active_bytes ") == 4, "a process named twice")
        tool.run("metrics", process.pid, "-la=1", "-la=2", status=2)
        older = tool.run("metrics", "--prometheus", process.pid).stdout
    of_both = re.findall(r'^labyrinth_active_bytes\{rack="a \\"b\\"\\\\",dc="x",pid="(\d+)",command="tool-fixture"\} \d+$', text, re.M)
    expect(of_both == [str(process.pid), str(other.pid)], text[:2000])
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    expect(len(families) == len(set(families)) and text.count("# EOF") == 1, families)
    kinds = dict(line.split()[2:] for line in older.splitlines() if line.startswith("# TYPE"))
    expect(set(kinds.values()) == {"gauge", "counter"} and "# UNIT" not in older and "# EOF" not in older, kinds)
    samples = {line.split()[0].split("{")[0] for line in older.splitlines() if not line.startswith("#")}
    expect(samples == set(kinds) and all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items()), kinds)
    has(r'^labyrinth_class_spans\{size="112",job="x"\} \d+$', labelled)
    has(r'^labyrinth_build_info\{version="[\d.]+",asserts="[01]",job="x"\} 1$', labelled)


def buddyinfo(tool):
    with tool.process(tool.fixtures["plain"], "blocks") as (process, _):
        shown, text = tool.json("buddyinfo", process.pid), tool.run("buddyinfo", process.pid).stdout
        figures = tool.json("stat", process.pid)["figures"]
    free = sum(count << order for order, count in enumerate(shown["free"]))
    expect(free * 4096 == figures["retained"] + figures["dirty"], (shown, figures))
    expect(len(shown["free"]) == 11 and shown["unusable_index"][0] == 0, shown)
    expect(all(low <= high for low, high in zip(shown["unusable_index"], shown["unusable_index"][1:])), shown)
    has(rf"^Heap 0, +current {process.pid} +" + " +".join(map(str, shown["free"])) + "$", text)
    has(r"^Unusable space index +0\.00 ", text)


def slabinfo(tool):
    with tool.process(tool.fixtures["plain"], "blocks") as (process, _):
        shown, text = tool.json("slabinfo", process.pid), tool.run("slabinfo", process.pid).stdout
    live = class_of(shown, 112)["live"]
    expect(live in range(1000, 1010), live)
    has(rf"^size-112 +{live} +\d+ +112 +585 +16 : +2 ", text)


def caches(tool):
    """Typed caches have lines of their own; a destroyed one has none, and where there is none there is no line."""
    with tool.process(tool.fixtures["plain"], "caches") as (process, _):
        shown, text = tool.json("slabinfo", process.pid), tool.run("slabinfo", process.pid).stdout
    things, other = shown["caches"]
    expect((things["name"], things["size"], things["live"], things["allocations"]) == ("things", 300, 70, 100), things)
    expect(things["made"] == things["slabs"] * things["objects_per_slab"] >= 100, things)
    expect((other["name"], other["live"], other["from_reserve"], other["slabs"]) == ("other_\"things\"", 1, 1, 0), other)
    has(rf"^things +70 +{things['made']} +300 +{things['objects_per_slab']} +\d+ : +{things['slabs']} ", text)
    expect("gone" not in text, text)
    with tool.process(tool.fixtures["plain"], "blocks") as (process, _):
        expect(tool.json("slabinfo", process.pid)["caches"] == [], "caches where there are none")


def pinned(tool):
    with tool.process(tool.fixtures["plain"], "pinned") as (process, words):
        expect(words == ["10"], words)
        shown = tool.json("stat", process.pid)
    entry = class_of(shown, 2048)
    # what the loader has allocated may be in one of the spans, and be one block more
    expect(entry["live"] in range(10, 16) and entry["spans"] in range(10, 13), entry)
    expect(10 * (65536 - 2048) - 6 * 2048 <= entry["pinned"] <= 12 * 65536, entry)
    expect(shown["figures"]["pinned"] >= entry["pinned"], shown)


def map_(tool):
    with tool.process(tool.fixtures["plain"], "pinned") as (process, _):
        shown, text = tool.json("map", process.pid), tool.run("map", process.pid, env=dict(os.environ, LC_ALL="C")).stdout
        picture = tool.run("map", "--svg", process.pid).stdout
        colored = tool.run("map", "--color=always", process.pid, env=dict(os.environ, LC_ALL="C.UTF-8")).stdout
        tool.run("map", "--color=red", process.pid, status=2)
        slabs = tool.json("slabinfo", process.pid)
    units = [unit for segment in shown["segments"] for unit in segment["units"]]
    sparse = [unit for unit in units if unit["size"] == 2048 and unit["live"] == 2048]
    expect(len(sparse) in range(8, 13) and all(unit["kept"] == 65536 - 2048 for unit in sparse), sparse)
    expect(sum(unit["kept"] for unit in units if unit["size"] == 2048 and unit["live"]) == class_of(slabs, 2048)["pinned"], (units, slabs))
    expect(all(unit["live"] + unit["kept"] <= 65536 for unit in units), units)
    rows = re.findall(r"^ *0x[0-9a-f]+ (?:heap \d+|empty) +([.~0-8]+)$", text, re.M)
    expect(sum(map(len, rows)) == len(units), text)
    has(r"^ +2048 B +\d+\.\d KiB in +\d+ spans, +\d+% live +#+$", text)
    # segments of 4 MiB are two rows, and JSON has nothing of that
    many = "x = [bytes(1000) for _ in range(9000)]; print('ready', flush=True); input()"
    with tool.process("/usr/bin/python3", "-c", many, PYTHONMALLOC="malloc") as (process, _):
        text, raw = tool.run("map", process.pid, env=dict(os.environ, LC_ALL="C")).stdout, tool.run("map", "--json", process.pid).stdout
    has(r"^ {26}[.~0-8]{32}$", text)
    expect(all(len(line) <= 80 for line in text.splitlines()) and raw.startswith("{"), (text, raw[:100]))
    expect("\033[31m" in colored and "▁" in colored, colored)
    root = xml.etree.ElementTree.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    cells = [group for group in root.iter(f"{space}g") if "2048 bytes: 1 live" in group.find(f"{space}title").text]
    expect(len(cells) == len(sparse), picture[:500])
    for cell in cells:
        heights = {part.get("class"): float(part.get("height")) for part in cell.iter(f"{space}rect")}
        expect(heights["pinned"] > 20 > 1 > heights["span"], heights)


def query(tool):
    with tool.process(tool.fixtures["plain"], "pointers") as (process, words):
        full, lone, run_, huge, other = words
        answers = tool.json("query", process.pid, full, lone, run_, huge, hex(int(full, 16) + 5))
        expect([answer["kind"] for answer in answers] == ["span", "span", "run", "huge", "span"], answers)
        expect([answer["block"] for answer in answers[:4]] == words[:4] and answers[4]["block"] == full, (answers, words))
        expect(answers[0]["size"] == 2048 and answers[0]["live"] == answers[0]["room"] == 32 and not answers[0]["move"], answers)
        expect(answers[1]["size"] == 4096 and answers[1]["live"] <= 2 and answers[1]["made"] > 2, answers)
        expect(answers[2]["size"] >= 200 << 10 and answers[3]["size"] >= 8 << 20, answers)
        has(rf"^{lone} span block {lone} of 4096 bytes, span: [12] live of \d+ made", tool.run("query", process.pid, lone).stdout)
        has(rf"^{other} none$", tool.run("query", process.pid, full, other, status=1).stdout)
        tool.run("query", process.pid, status=2)
        tool.run("query", process.pid, "xyz", status=2)


def diff(tool):
    with tempfile.TemporaryDirectory() as folder, tool.process(tool.fixtures["plain"], "grow") as (process, _):
        paths = [f"{folder}/{name}" for name in "ab"]
        for path in paths:
            Path(path).write_text(tool.run("stat", "--json", process.pid).stdout)
            if path == paths[0]:
                process.stdin.write("x")
                process.stdin.flush()
                expect(process.stdout.readline() == "ready\n", "it has not grown")
        changes, text = tool.json("diff", *paths), tool.run("diff", *paths).stdout
        back = tool.json("diff", *reversed(paths))
        same = tool.json("diff", paths[0], paths[0])
        has("^labyrinth: /no/such", tool.complaint("diff", "/no/such", paths[0]))
        Path(f"{folder}/other").write_text("{}")
        has("no snapshot of", tool.complaint("diff", paths[0], f"{folder}/other"))
        tool.run("diff", paths[0], status=2)
    entry = class_of(changes, 112)
    expect(entry["live"]["change"] == 500 and changes["figures"]["huge_blocks"]["change"] == 1, changes)
    expect(class_of(back, 112)["live"]["change"] == -500, back)
    expect(same == {"seconds": 0.0, "figures": {}, "classes": []}, same)
    has(r"^huge_blocks +0 -> +1 +\+1$", text)
    has(r"^size-112 +\+500 ", text)


def top(tool):
    with tool.process(tool.fixtures["plain"], "storm") as (process, _), tool.process(tool.fixtures["plain"], "blocks") as (other, _):
        lines = tool.run("top", "--interval", "0.2", "--count", "3", process.pid, other.pid).stdout.splitlines()
        expect([line.split()[0] for line in lines[::3]] == ["PID"] * 3 and len(lines) == 9, lines)
        rows = [line for line in lines if line.split()[0] == str(process.pid)]
        expect(len(rows) == 3 and all(row.split()[1] == "tool-fixture" for row in rows), lines)
        expect(any(int(row.split()[13]) > 0 for row in rows[1:]), rows)  # slow calls, in a second
        by_reserve = tool.run("top", "-n1", "--sort=heaps", process.pid, other.pid).stdout.splitlines()
        expect(by_reserve[1].split()[0] == str(process.pid), by_reserve)
        both = tool.run("top", "-n1").stdout
        expect(all(f" {pid} tool-fixture" in both for pid in (process.pid, other.pid)), both)
        for wrong in ["--count=0"], ["--interval=0"], ["--sort=x"], ["x"]:
            tool.run("top", *wrong, status=2)
        screen(tool, process.pid, other.pid)
    # what it showed has ended
    with tool.process(tool.fixtures["plain"], "blocks") as (process, _):
        shown = subprocess.Popen([tool.path, "top", "--interval=0.1", str(process.pid)], stdout=subprocess.PIPE, text=True)
        shown.stdout.readline()
    shown.communicate(timeout=TIMEOUT)
    expect(shown.returncode == 0, shown.returncode)


def screen(tool, *pids):
    """In a terminal: it draws, sorts, takes another size, and leaves the terminal as it was."""
    for leave in ("q", signal.SIGTERM):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        before = termios.tcgetattr(slave)
        process = subprocess.Popen([tool.path, "top", "--interval=0.2", *map(str, pids)], stdin=slave, stdout=slave, env=dict(os.environ, TERM="xterm"),
                                   start_new_session=True)
        read_until(master, "by ALLOC")
        for width, (key, shown) in enumerate((("p", "by PINNED"), (">", "by HEAPS"), ("\033OB", "by HEAPS"), ("+", "every 0.4 s"))):
            os.write(master, key.encode())
            sizes = itertools.cycle((150 - width, 140 - width))

            def resize():
                """Of what stays the same nothing is sent again but when the size changes, after the key was read."""
                fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, next(sizes), 0, 0))
                process.send_signal(signal.SIGWINCH)

            read_until(master, shown, resize)
        # columns that do not fit are left out as a whole, never the sorted one
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process.send_signal(signal.SIGWINCH)
        read_until(master, "columns 2 to 6 of 11")
        os.write(master, b"v")
        read_until(master, "columns 7 to 11 of 11")
        os.write(master, b"H")
        read_until(master, "THREAD STATE")
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 7, 50, 0, 0))
        process.send_signal(signal.SIGWINCH)
        time.sleep(0.5)
        expect(process.poll() is None, "a small window ends it")
        if leave == "q":
            os.write(master, b"q")
        else:
            process.send_signal(leave)
        drain = threading.Thread(target=drain_terminal, args=(master,), daemon=True)
        drain.start()
        expect(process.wait(TIMEOUT) == 0, process.returncode)
        expect(termios.tcgetattr(slave) == before, "the terminal is not as it was")
        os.close(slave)
        drain.join(5)
        os.close(master)


def read_until(master, text, nudge=lambda: None):
    """Calls `nudge` at once, and every two seconds."""
    seen, nudged = "", 0
    end = time.monotonic() + TIMEOUT
    while text not in seen:
        if time.monotonic() > nudged + 2:
            nudge()
            nudged = time.monotonic()
        expect(time.monotonic() < end, f"{text} is not shown: {seen[-2000:]!r}")
        if select.select([master], [], [], 1)[0]:
            seen += os.read(master, 65536).decode(errors="replace")
    return seen


def drain_terminal(master):
    with contextlib.suppress(OSError):
        while os.read(master, 65536):
            pass


def storm(tool):
    """A process that changes all the time shows what makes sense each time."""
    with tool.process(tool.fixtures["plain"], "storm") as (process, _):
        for _ in range(12):
            shown = tool.json("stat", process.pid)
            figures = shown["figures"]
            expect(0 < figures["allocated"] <= figures["mapped"] and figures["active"] <= figures["mapped"], figures)
            expect(all(0 <= entry["live"] <= entry["carved"] for entry in shown["classes"]), shown)
            for name, rest in readers(tool):
                if name not in ("top", "query"):
                    tool.run(name, process.pid, *rest)


def garbage(tool):
    """Whatever a process holds, the tool ends by itself, and by no signal."""
    for seed in range(12):
        with tool.process(tool.fixtures["strange"], "garbage", seed, preload=False) as (process, _):
            for name, rest in readers(tool):
                rest = ["--count", "1", *rest] if name == "top" else rest
                result = subprocess.run([tool.path, name, str(process.pid), *rest], capture_output=True, timeout=TIMEOUT, check=False)
                expect(result.returncode in (0, 1), f"seed {seed}: {name}: {result.returncode} {result.stderr}")


def trace(tool):
    """A program's allocations are recorded, and played on two allocators and a third; what is none, or crashes, is said."""
    script = "import threading\nheld = []\ndef work():\n held.append([bytes(100 + i) for i in range(3000)])\nwork()\nthread = threading.Thread(target=work)\nthread.start()\nthread.join()"
    with tempfile.TemporaryDirectory(prefix="labyrinth-trace") as folder:
        tool.run("trace", "-o", "made.trace", "--", sys.executable, "-c", script, env=dict(os.environ, PYTHONMALLOC="malloc"), cwd=folder)
        made = Path(folder) / "made.trace"
        expect(made.read_bytes().startswith(b"allocations 1\n") and made.stat().st_size > 10000, made.stat())
        expect(tool.run("trace", "sh", "-c", "exit 7", status=7, cwd=folder).stdout == "", "trace")
        expect(list(Path(folder).glob("sh.*.trace")), "the default name")
        tool.complaint("trace", tool.fixtures["static"], status=125, cwd=folder)
        tool.complaint("trace", "no-such-program", status=127, cwd=folder)
        has("/none/x: No such file", tool.complaint("trace", "-o", "/none/x", "true", status=125))
        has("^labyrinth trace: the trace cannot be written$", tool.run("trace", "-o", "/dev/full", "--", tool.fixtures["plain"], "blocks", stdin=subprocess.DEVNULL).stderr)

        runs = {run["name"]: run for run in tool.json("replay", "--rounds", "2", "--alloc", f"third={tool.library}", made)}
        expect(list(runs) == ["labyrinth", "libc", "third"], runs)
        for run_ in runs.values():
            expect(run_["failure"] is None and len(run_["seconds"]) == 2 and min(run_["peak_kib"]) > 500, run_)
        text = tool.run("replay", "--rounds", "1", made).stdout
        has(r"^labyrinth +0\.\d+ +1\.00 +[\d.]+ MiB +1\.00$", text)
        has(r"^libc +0\.\d+ +\d+\.\d\d +", text)
        has("not at its end after 1 s", tool.run("replay", "--rounds", "1", "--timeout", "1", "--alloc", f"hangs={tool.fixtures['hangs']}", made).stdout)
        (Path(folder) / "cut.trace").write_bytes(made.read_bytes()[:5000])
        tool.run("replay", "--rounds", "1", Path(folder) / "cut.trace")
        has("^x +cannot be preloaded, or has no malloc: ", tool.run("replay", "--rounds", "1", "--alloc", f"x={made}", made).stdout)
        has("is no trace", tool.complaint("replay", __file__))
        has("No such file", tool.complaint("replay", "/none.trace"))
        for wrong in ["a", "b"], [], ["--alloc", "x", "a"], ["--alloc", "x=/none.so", "a"], ["--rounds", "0", "a"]:
            tool.run("replay", *wrong, status=2)


def bench(tool):
    """The suite's scripts, as they are beside the tool."""
    result = tool.run("bench", "run", "--quick", "--only", "pair", "--rounds", "1", "--peers", "glibc", "--baseline", "glibc")
    has(r"^pair +1\.00", result.stdout)
    has("no such benchmark", tool.run("bench", "run", "--only", "nothing", status=2).stderr)
    for name in "run", "report", "compare", "scaling", "latency":
        has("^usage: ", tool.run("bench", name, "--help").stdout)
    tool.run("bench", status=2)
    tool.run("bench", "nothing", status=2)


def completion(tool):
    """The completion names the commands that there are, and options that each of them has."""
    script = Path(__file__).resolve().parents[2] / "tool/labyrinth.bash"
    ask = r"""source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _labyrinth labyrinth "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"; printf '%s\n' "${COMPREPLY[@]}" """

    def complete(*words):
        result = subprocess.run(["bash", "-c", ask, "bash", script, "labyrinth", *words], capture_output=True, text=True, check=True,
                                cwd=Path(__file__).parent)
        expect(result.stderr == "", result.stderr)
        return result.stdout.split()

    expect([word for word in complete("") if not word.startswith("-")] == commands(tool), complete(""))
    with tool.process(tool.fixtures["plain"], "blocks") as (process, _):
        for name in "stat", "map", "top", "doctor":
            expect(str(process.pid) in complete(name, str(process.pid)[:-1]), name)
    expect("tool.py" in complete("diff", "tool.p"), complete("diff", "tool.p"))
    expect("sort" in complete("run", "--set", "decay_ms=1", "--", "sor"), "run")
    for name in commands(tool):
        text = tool.run(name, "--help").stdout
        offered = [word for word in complete(name, "--") if word != "--"]
        expect(offered and all(word in text for word in offered), f"{name}: {offered}")
        listed = set(re.findall(r"--[a-z-]+", text)) - {"--usage", "--version"}
        expect(listed <= set(offered), f"{name}: {listed - set(offered)} is not completed")


SCENES = {"help": help_, "map": map_, **{function.__name__: function for function in
          (run, report, objections, doctor, refused, stat, metrics, buddyinfo, slabinfo, caches, pinned, query, diff, top, trace, bench, storm, garbage, completion)}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--library", required=True)
    parser.add_argument("--fixture", action="append", default=[])
    parser.add_argument("scene", choices=SCENES)
    options = parser.parse_args()
    os.environ.pop("LD_PRELOAD", None)
    SCENES[options.scene](Tool(options))


if __name__ == "__main__":
    main()
