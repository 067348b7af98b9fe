"""lua: tables, strings, coroutines and the collector in all its modes."""

from harness import WORK

COMMANDS = ("lua5.4",)
PACKAGES = ("lua5.4",)
QUICK = False
TIMEOUT = 60


def run(box):
    box.run("lua5.4", WORK / "work.lua")
