"""python3: threads, processes (forked and spawned), json, sqlite3, with every object from malloc."""

from harness import WORK

COMMANDS = ("python3",)
PACKAGES = ("python3",)
QUICK = True
TIMEOUT = 90


def run(box):
    # Python keeps small objects in pools of its own unless it is told not to.
    box.run("python3", "-B", WORK / "work.py", env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"})
    box.run("python3", "-B", WORK / "work.py", env={"PYTHONHASHSEED": "0"})
