#!/usr/bin/env python3
"""Shows that a signal test can fail: passes only if the program fails on every other malloc that is here.

usage: peers_fail.py [--malloc NAME] PROGRAM [ARGS...]

Fails means: a crash, a check that does not hold, or no end within TIMEOUT seconds (the program's own watchdog, status 124). A storm hits by
chance: each malloc gets up to TRIES runs to fail in. --malloc: on that one only, where another cannot be stepped for reasons of its own.
"""

import os
import subprocess
import sys

TIMEOUT = 8
TRIES = 3
MALLOCS = {
    "glibc": "",
    "jemalloc": "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
}


def run(command, library):
    """The program's exit status under the library, and its last line."""
    environment = dict(os.environ, LD_PRELOAD=library, MALLOC_PERTURB_="0", SIGNAL_TEST_TIMEOUT=str(TIMEOUT))
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return 124, "killed: even its watchdog hung"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode, lines[-1] if lines else ""


def main():
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    words = sys.argv[1:]
    wanted = MALLOCS
    if words[0] == "--malloc":
        wanted, words = {words[1]: MALLOCS[words[1]]}, words[2:]
    here = {name: path for name, path in wanted.items() if not path or os.path.exists(path)}
    for name in wanted.keys() - here.keys():
        print(f"{name}: not installed, not run")
    toothless = []
    for name, path in here.items():
        for _ in range(TRIES):
            status, line = run(words, path)
            if status != 0:
                break
        print(f"{name}: {'passes: this test would not notice' if status == 0 else f'fails, as it should (status {status})'}: {line}")
        if status == 0:
            toothless.append(name)
    return 1 if toothless else 0


if __name__ == "__main__":
    sys.exit(main())
