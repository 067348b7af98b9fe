"""node: buffers, JSON, worker threads, zlib and crypto from its thread pool, child processes."""

from harness import WORK

COMMANDS = ("node",)
PACKAGES = ("nodejs",)
QUICK = False
TIMEOUT = 120


def run(box):
    box.run("node", WORK / "work.js")
