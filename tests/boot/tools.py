#!/usr/bin/env python3
"""The drop-in under the tools people use: debuggers, tracers, profilers. A tool that is not installed, or may not trace here, is "not run".

usage: tools.py LIBRARY PROGRAM CASE      PROGRAM is tests/boot/traced.c; for qemu, tests/boot/moved.c
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS, ANOTHER = "malloc is the drop-in's", "malloc is another"


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LD_", "LABYRINTH_", "MALLOC_", "DEBUGINFOD"))}
    return kept | {"LC_ALL": "C"} | variables


def not_run(why):
    print(f"not run: {why}")
    sys.exit(77)


def need(tool):
    return shutil.which(tool) or not_run(f"no {tool} here")


def output_of(command, timeout=900, status=0, excuse=None, **variables):
    """`excuse`: what the tool says when it cannot work here, and why."""
    result = subprocess.run(command, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            stdin=subprocess.DEVNULL, text=True, errors="replace", timeout=timeout)
    if excuse and excuse[0] in result.stdout:
        not_run(excuse[1])
    if status is not None and result.returncode != status:
        sys.exit(f"status {result.returncode}: {' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def demand(is_so, what, output):
    if not is_so:
        sys.exit(f"{what}; the output was:\n{output}")


# ---- gdb -----------------------------------------------------------------------------------------------------------

def run_gdb(program, commands, **variables):
    settings = ["set confirm off", "set pagination off", "set breakpoint pending on", "set startup-with-shell off",
                "handle SIGUSR1 nostop noprint pass"]
    settings += [f"set environment {name}={value}" for name, value in variables.items()]
    arguments = [word for command in [*settings, f"file {program}", *commands] for word in ("-ex", command)]
    return output_of([need("gdb"), "-nx", "-batch", *arguments], status=None)


def workaround(program, folder):
    """The commands, if any, with which this gdb can call functions here: gdb 13 cannot write the registers of a CPU that has AMX, unless it
    is told of a lesser one."""
    probe = ["break main", "run", "print ((int (*)(void))getppid)() > 0", "continue"]
    for commands in [], [f"set tdesc filename {folder}/registers.xml"]:
        output = run_gdb(program, commands + probe)
        if "$1 = 1" in output and "exited normally" in output:
            return commands
        if "Couldn't write extended state" not in output:
            break
        text = run_gdb(program, ["break main", "run", "maint print xml-tdesc"])
        text = re.sub(r'\s*<feature name="[\w.]*\.(?!core|sse|linux|segments)\w+">.*?</feature>', "", text[text.find("<?xml"):], flags=re.S)
        Path(folder, "registers.xml").write_text(text[:text.rfind(">") + 1])
    not_run("this gdb cannot call functions here: " + output[-300:])


def traced_by_gdb(library, program, commands):
    """Runs the drop-in; returns how often the prompt's own blocks were the drop-in's."""
    with tempfile.TemporaryDirectory() as folder:
        output = run_gdb(program, workaround(program, folder) + commands, LD_PRELOAD=library, LABYRINTH_STATS_FILE=f"{folder}/figures")
        figures = Path(folder, "figures").read_text() if Path(folder, "figures").exists() else ""
    demand(re.search(r"Temporary breakpoint \d.*malloc", output), "no stop in malloc", output)
    demand(OURS in output and "exited normally" in output, "the program did not go on", output)
    reentrant = re.search(r"reentrant_calls +(\d+)$", figures, re.M)
    demand(reentrant and int(reentrant[1]) > 5, "no call from the prompt was inside a guard", figures)
    return output.count("owned: 1 1")


PROMPT = ["set $p = ((void *(*)(unsigned long))malloc)(10)", "set $q = ((void *(*)(unsigned long))malloc)(100000)",
          'printf "owned: %d %d\\n", ((int (*)(void *))lab_owns)($p) & 255, ((int (*)(void *))lab_owns)($q) & 255',
          "call ((void (*)(void *))free)($p)", "call ((void (*)(void *))free)($q)"]


def gdb(library, program):
    """A stop in malloc, then in free: at each instruction from there, those inside the guard too, the prompt allocates and frees."""
    steps = 60
    stops = ["tbreak malloc", "continue", *[*PROMPT, "stepi"] * steps, "tbreak free", "continue", *[*PROMPT, "stepi"] * steps]
    count = traced_by_gdb(library, program, ["tbreak main", "run", *stops, "continue"])
    demand(count == 2 * steps, f"{count} calls from the prompt were well", "")


def gdb_thread(library, program):
    """The same while a thread is inside malloc: the others stand where they are, and the prompt calls from each of them."""
    steps = 60
    calls = [*PROMPT, "thread 1", *PROMPT, "thread 2", "stepi 2"]
    stops = ["tbreak thread", "run", *PROMPT, "tbreak malloc", "continue", "set scheduler-locking on", *calls * steps, "set scheduler-locking off"]
    count = traced_by_gdb(library, program, [*stops, "continue"])
    demand(count == 2 * steps + 1, f"{count} calls from the prompt were well", "")


def gdb_stats(library, program):
    """A process that stands in malloc prints its figures, and gives back what is free."""
    calls_ = ["call ((void (*)(void))malloc_stats)()", 'printf "trim: %d\\n", ((int (*)(unsigned long))malloc_trim)(0)']
    with tempfile.TemporaryDirectory() as folder:
        commands = ["tbreak thread", "run", "tbreak malloc", "continue", "stepi 4", *calls_, "continue"]
        output = run_gdb(program, workaround(program, folder) + commands, LD_PRELOAD=library)
    demand(re.search(r"^blocks +\d{3,}$", output, re.M) and re.search(r"^trim: [01]$", output, re.M), "no figures", output)
    demand(OURS in output and "exited normally" in output, "the program did not go on", output)


# ---- strace --------------------------------------------------------------------------------------------------------

def calls(strace, program, **variables):
    """The names of the system calls that a program makes, by strace's own summary."""
    with tempfile.NamedTemporaryFile() as file:
        output = output_of([strace, "-f", "-c", "-o", file.name, program], status=None, **variables)
        if "Operation not permitted" in output:
            not_run("ptrace is not allowed")
        demand("malloc is" in output, "the program failed under strace", output)
        rows = Path(file.name).read_text().splitlines()
    return {row.split()[-1] for row in rows if re.match(r"\s*\d+\.\d+", row)} - {"total"}


def documented():
    text = " ".join((ROOT / "docs/guarantees.md").read_text().split())
    sentence = re.search(r"makes these system calls and no others: (.*?)\. ", text)[1]
    return set(re.findall(r"\b[a-z]+[a-z0-9_]*\b", sentence))


def strace(library, program):
    """What the drop-in adds to a program's system calls is in the list of docs/guarantees.md, whatever is switched on."""
    tool = need("strace")
    known = documented()
    written = {name for file in (ROOT / "src").rglob("*.[ch]") for name in re.findall(r"\bSYS_(\w+)", file.read_text())}
    demand(written and written <= known, "in src and not documented: " + " ".join(sorted(written - known)), "")
    without = calls(tool, program)
    settings = [{}, {"LABYRINTH_STATS": "1"}, {"LABYRINTH_STATS_FILE": "/dev/null"}, {"LABYRINTH_DECAY_MS": "0"},
                {"LABYRINTH_RESERVE": "4M", "LABYRINTH_RESERVE_LOCK": "1", "LABYRINTH_BACKGROUND_THREAD": "1"}]
    for variables in settings:
        added = calls(tool, program, LD_PRELOAD=library, **variables) - without
        print(f"{variables}: adds {' '.join(sorted(added))}")
        demand(added <= known, "not documented: " + " ".join(sorted(added - known)), "")
        demand("brk" not in added, "the program's break moved", "")


# ---- valgrind ------------------------------------------------------------------------------------------------------

def run_valgrind(library, program, *options):
    tool = need("valgrind")
    excuse = "debuginfo reader: Possibly corrupted", "this valgrind cannot read this compiler's DWARF (3.19 and clang's DWARF 5)"
    output = output_of([tool, "--error-exitcode=9", *options, program], excuse=excuse, LD_PRELOAD=library)
    demand("Fatal error at startup" not in output, "valgrind does not start (libc6-dbg?)", output)
    return output


def valgrind(library, program):
    """memcheck puts its own malloc over every library's: leaks and errors are found as without us."""
    output = run_valgrind(library, program, "--leak-check=full")
    demand(ANOTHER in output, "memcheck's malloc is not there", output)
    demand("no leaks are possible" in output and "0 errors" in output, "memcheck complains", output)
    demand(re.search(r"total heap usage: [\d,]{4,} allocs", output), "memcheck does not see the allocations", output)


def valgrind_own(library, program):
    """Told to leave libraries' malloc alone, valgrind runs ours."""
    output = run_valgrind(library, program, "--tool=none", "--soname-synonyms=somalloc=nouserintercepts")
    demand(OURS in output, "the program failed", output)
    output = run_valgrind(library, program, "--soname-synonyms=somalloc=nouserintercepts", "--undef-value-errors=no")
    demand(OURS in output and "total heap usage: 0 allocs" in output, "the program failed", output)


# ---- perf, ltrace --------------------------------------------------------------------------------------------------

def perf(library, program):
    tool = need("perf")
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        output = output_of([tool, "record", "-q", "-g", "-F", "2000", "-e", "cpu-clock", "-o", data, program], status=None, LD_PRELOAD=library)
        if not Path(data).exists() or OURS not in output:
            not_run("perf may not record: " + output.strip()[:200])
        report = output_of([tool, "report", "-q", "--stdio", "-g", "none", "-s", "dso,symbol", "-i", data])
    demand("liblabyrinth" in report, "perf does not find the library's symbols", report)


def ltrace(library, program):
    """Each call of malloc and free is listed, from the program and from its libraries."""
    with tempfile.NamedTemporaryFile() as file:
        output = output_of([need("ltrace"), "-f", "-e", "malloc+free+realloc", "-o", file.name, program], LD_PRELOAD=library)
        lines = Path(file.name).read_text().splitlines()
    demand(OURS in output, "the program failed", output)
    for name in "malloc", "free", "realloc":
        count = sum(f"->{name}(" in line for line in lines)
        demand(count > 10, f"{count} calls of {name} listed", "\n".join(lines[:20]))


def heaptrack(library, program):
    """It wraps the drop-in's functions as it wraps libc's: every call is counted, and the memory is Labyrinth's. (Its own mutex, which a thread of its
    takes, may be held when a program forks, and hangs the child then: this one does not fork.)"""
    tool, printer = need("heaptrack"), need("heaptrack_print")
    with tempfile.TemporaryDirectory() as folder:
        output = output_of([tool, "--output", f"{folder}/recorded", program, "alone"], LD_PRELOAD=library, LABYRINTH_STATS_FILE=f"{folder}/figures.%p")
        demand(re.search(r"allocations:\s+[\d,]{4,}", output), "no allocations recorded", output)
        demand(any("labyrinth" in figures.read_text() for figures in Path(folder).glob("figures.*")), "the program did not run on Labyrinth", output)
        report = output_of([printer, *map(str, Path(folder).glob("recorded.*"))])
    demand(re.search(r"^peak heap memory consumption: \d{2,}", report, re.M) and "allocate_in_threads" in report, "no report by function", report)


# ---- qemu ----------------------------------------------------------------------------------------------------------

def qemu(library, program):
    """User-mode emulation, which answers some system calls with success and does nothing."""
    machine = os.uname().machine
    output = output_of([need(f"qemu-{machine}"), "-E", f"LD_PRELOAD={library}", program])
    demand(re.search(r"^well, [1-9]\d* moves", output, re.M), "the program failed, or nothing moved", output)


CASES = {"gdb": gdb, "gdb-thread": gdb_thread, "gdb-stats": gdb_stats, "heaptrack": heaptrack, "strace": strace, "valgrind": valgrind, "valgrind-own": valgrind_own, "perf": perf,
         "ltrace": ltrace, "qemu": qemu}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[3] not in CASES:
        sys.exit(__doc__ + "cases: " + " ".join(CASES))
    CASES[sys.argv[3]](os.path.abspath(sys.argv[1]), sys.argv[2])
