#!/usr/bin/env python3
"""./dev asked for help, or called wrongly: help goes to stdout with status 0, a mistake is one line on stderr with status 2, and nothing is
installed, built or written. usage: dev.py ROOT"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = ["run", "demo", "test", "bench", "format", "help"]
HELP = [[option] for option in ("help", "-h", "--help")]
HELP += [[command, option] for command in COMMANDS for option in ("-h", "--help")]
HELP += [["bench", "--rounds", "3", "--help"], ["demo", "--runs", "2", "--help"], ["test", "--all", "--help"], ["help", "--help"], []]
MISTAKES = [["nonsense"], ["help", "me"], ["run", "--quick", "true"], ["test", "--only"], ["bench", "--rounds", "none"], ["bench", "--only", "none"],
            ["demo", "--runs"], ["test", "--all", "more"], ["demo", "more"]]
MISTAKES += [[command, "--nonsense"] for command in COMMANDS]

# Whatever could change the machine or the tree: a program that says that it was called.
TOUCHING = ["apt-get", "dpkg-query", "sudo", "meson", "ninja", "cc", "clang-format", "git"]


class Folder:
    """./dev among programs that must not be called."""

    def __init__(self, root, folder):
        self.root = root
        self.called = folder / "called"
        for name in TOUCHING:
            program = folder / name
            program.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.called}\n')
            program.chmod(0o755)
        self.environment = dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}")

    def complaint(self, arguments, status):
        done = subprocess.run([self.root / "dev", *arguments], env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        lines = done.stderr.splitlines()
        if self.called.exists():
            called = self.called.read_text()
            self.called.unlink()
            return f"called {called}"
        if done.returncode != status:
            return f"status {done.returncode}, not {status}: {done.stdout}{done.stderr}"
        if status == 0 and (lines or "./dev" not in done.stdout):
            return f"no help on stdout, or something on stderr: {done.stdout}{done.stderr}"
        if status == 2 and (len(lines) != 1 or done.stdout):
            return f"not one line: {done.stdout}{done.stderr}"
        if arguments and arguments[0] in COMMANDS[:-1] and status == 0 and f"./dev {arguments[0]}" not in done.stdout:
            return f"says nothing of {arguments[0]}: {done.stdout}"
        return None


def main():
    root = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        dev = Folder(root, Path(folder))
        wrong = [(arguments, what) for status, calls in ((0, HELP), (2, MISTAKES)) for arguments in calls if (what := dev.complaint(arguments, status))]
    for arguments, what in wrong:
        print(f"./dev {' '.join(arguments)}: {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
