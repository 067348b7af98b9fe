"""ruby: objects, strings, garbage collection with compaction, threads, fork."""

from harness import WORK

COMMANDS = ("ruby",)
PACKAGES = ("ruby",)
QUICK = False
TIMEOUT = 90


def run(box):
    box.run("ruby", "--disable-gems", WORK / "work.rb")
