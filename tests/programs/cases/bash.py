"""bash: arrays, strings, subshells, pipes, traps, co-processes and many short processes in a script."""

from harness import WORK

COMMANDS = ("bash",)
PACKAGES = ("bash",)
QUICK = True
TIMEOUT = 60


def run(box):
    box.run("bash", WORK / "work.bash")
    box.run("bash", "-c", "printf '%s\\n' {1..20000} | while read -r n; do ((s += n)); done; exit 7", status=7)
