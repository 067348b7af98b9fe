"""gcc: compiles this project by meson and ninja, and a C++ program that is then run."""

from compiling import compile_and_run_cpp, compile_project

COMMANDS = ("gcc", "g++", "meson", "ninja")
PACKAGES = ("build-essential", "meson", "ninja-build", "pkg-config", "liburcu-dev", "libcriterion-dev")
MAIN = ("gcc", "cc1", "cc1plus", "as", "collect2", "ld", "ninja", "python3", "work")
QUICK = True
TIMEOUT = 180


def run(box):
    compile_project(box, "gcc")
    compile_and_run_cpp(box, "g++", "-O1")
