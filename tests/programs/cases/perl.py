"""perl: hashes, strings, regular expressions, fork, and interpreter threads."""

from harness import WORK

COMMANDS = ("perl",)
PACKAGES = ("perl",)
QUICK = True
TIMEOUT = 60


def run(box):
    box.run("perl", WORK / "work.pl", env={"PERL_HASH_SEED": "0", "PERL_PERTURB_KEYS": "0"})
