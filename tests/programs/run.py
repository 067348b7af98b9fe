#!/usr/bin/python3
"""Purpose: run real programs on the library, and require that they do exactly what they do without it.

Each program (a file in cases/) runs twice in the same empty folder, without the library and with LD_PRELOAD. It fails if
an output, an exit status or a produced file differs; if it hangs (the stacks are shown); if a process that it started did
not run on the library (a witness is preloaded in both runs); or if the library complained of misuse.

Prints one line a program, `ok NAME seconds`, `FAILED NAME why` or `not run NAME why`, and the counts in the last line.
"""

import argparse
import difflib
import importlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from harness import PROJECT, Box, Failure, find_command  # noqa: E402  (needs the path above)

DEFAULT_LIBRARY = PROJECT / "build/release/preload/liblabyrinth.so"


def load_cases():
    """All cases by name: quick ones first, then the others."""
    names = sorted(path.stem for path in (HERE / "cases").glob("*.py"))
    cases = {name: importlib.import_module(f"cases.{name}") for name in names}
    return dict(sorted(cases.items(), key=lambda item: not item[1].QUICK))


def prepare(folder, library):
    """Put the witness, and a copy of the library, where every user can read them. Return their paths."""
    folder.chmod(0o755)  # servers drop root's rights
    witness = folder / "witness.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", witness, HERE / "witness.c"], check=True)
    copy = folder / library.name
    shutil.copy(library, copy)
    copy.chmod(0o755)
    return witness, copy


def run_once(case, folder, library, witness):
    """One run of a case in a fresh folder: what it recorded, and what its witnesses said."""
    work, shared, testimony = folder / "work", folder / "shared", folder / "witnesses"
    if work.exists():
        shutil.rmtree(work)
    work.mkdir()
    shared.mkdir(exist_ok=True)
    testimony.write_text("")
    testimony.chmod(0o666)
    box = Box(work, shared, library, witness, testimony, case.TIMEOUT)
    case.run(box)
    check_complaints(work)
    return box.records, [line.split("\t") for line in testimony.read_text().splitlines()]


def check_complaints(work):
    """Misuse that the library reports on standard error, wherever a server has put that."""
    for log in sorted(work.rglob("*.log")):
        found = re.search(r"^labyrinth:.*", log.read_text(errors="replace"), re.MULTILINE)
        if found:
            raise Failure(f"the library complained ({log.name}): {found.group()}")


def check_witnesses(case, witnesses, library):
    """Every process ran on the library, and those that the case is about were among them."""
    for _pid, program, owner in witnesses:
        if owner != str(library):
            raise Failure(f"{program} did not run on the library, but on {owner}")
    seen = {os.path.basename(program) for _pid, program, _owner in witnesses}
    for name in getattr(case, "MAIN", case.COMMANDS):
        path = find_command(name)
        if name not in seen and not (path and os.path.basename(os.path.realpath(path)) in seen):
            raise Failure(f"{name} was not seen to run on the library")


def check_plain(witnesses, library):
    """The run to compare with really was one without the library."""
    if any(owner == str(library) for _pid, _program, owner in witnesses):
        raise Failure("the run without the library had it loaded")


def check_equal(plain, loaded):
    if [label for label, _ in plain] != [label for label, _ in loaded]:
        raise Failure("the two runs did not take the same steps")
    for (label, without), (_, with_library) in zip(plain, loaded):
        if without != with_library:
            raise Failure(f"differs with the library: {label[:200]}\n{difference(without, with_library)}")


def difference(without, with_library):
    texts = [value.decode(errors="replace").splitlines() for value in (without, with_library)]
    lines = difflib.unified_diff(*texts, "without", "with", lineterm="", n=1)
    return "\n".join(f"    {line[:200]}" for line, _ in zip(lines, range(20)))


def run_case(case, folder, library, witness):
    """Both runs and all checks. Returns how many processes ran on the library."""
    folder.mkdir()
    plain, without = run_once(case, folder, None, witness)
    loaded, witnesses = run_once(case, folder, library, witness)
    check_plain(without, library)
    check_witnesses(case, witnesses, library)
    check_equal(plain, loaded)
    if not plain:
        raise Failure("nothing was recorded, so nothing was compared")
    return len(witnesses)


def missing_commands(case):
    return [name for name in case.COMMANDS if not find_command(name)]


def test(name, case, top, library, witness):
    """Run one case and print its line. Returns "passed", "failed" or "skipped"."""
    missing = missing_commands(case)
    if missing:
        print(f"not run {name} no {', '.join(missing)} here (Debian: apt-get install {' '.join(case.PACKAGES)})", flush=True)
        return "skipped"
    begin = time.monotonic()
    try:
        processes = run_case(case, top / name, library, witness)
    except Failure as failure:
        print(f"FAILED {name} {failure}", flush=True)
        return "failed"
    shutil.rmtree(top / name)
    print(f"ok {name} {time.monotonic() - begin:.1f} s, {processes} processes on {library.name}", flush=True)
    return "passed"


def select(cases, args):
    if args.only:
        unknown = [name for name in args.only if name not in cases]
        if unknown:
            sys.exit(f"run.py: no such program: {', '.join(unknown)} (there are: {', '.join(cases)})")
        return {name: cases[name] for name in args.only}
    return {name: case for name, case in cases.items() if case.QUICK or not args.quick}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", type=pathlib.Path, default=DEFAULT_LIBRARY, help="the library (default: the release build's)")
    half = parser.add_mutually_exclusive_group()
    half.add_argument("--quick", action="store_true", help="only the quick half")
    half.add_argument("--all", action="store_true", help="all programs (this is the default)")
    half.add_argument("--only", type=lambda names: names.split(","), metavar="NAME,…", help="only these programs")
    parser.add_argument("--list", action="store_true", help="name the programs, and run none")
    parser.add_argument("--packages", action="store_true", help="name the Debian packages they need, and run none")
    return parser.parse_args()


def run_all(cases, library):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with tempfile.TemporaryDirectory(prefix="labyrinth-programs-") as top:
        top = pathlib.Path(top)
        witness, copy = prepare(top, library)
        for name, case in cases.items():
            counts[test(name, case, top, copy, witness)] += 1
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return counts["failed"] == 0 and counts["passed"] > 0


def main():
    args = parse_arguments()
    cases = select(load_cases(), args)
    if args.list:
        for name, case in cases.items():
            print(f"{name:12} {'quick' if case.QUICK else 'slow':6} {case.__doc__.splitlines()[0]}")
    elif args.packages:
        print("\n".join(sorted({package for case in cases.values() for package in case.PACKAGES})))
    elif not args.lib.is_file():
        sys.exit(f"run.py: no library {args.lib}: build it first, or name one with --lib")
    elif not run_all(cases, args.lib.resolve()):
        sys.exit(1)


main()
