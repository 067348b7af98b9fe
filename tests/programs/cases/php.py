"""php: arrays, strings, modules that are opened with RTLD_DEEPBIND (mbstring), and fork; PHP's own allocator is switched off."""

from harness import WORK

COMMANDS = ("php",)
PACKAGES = ("php-cli", "php-mbstring")
QUICK = True
TIMEOUT = 60


def run(box):
    box.run("php", WORK / "work.php", env={"USE_ZEND_ALLOC": "0"})
