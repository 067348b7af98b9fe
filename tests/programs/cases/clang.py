"""clang: compiles this project by meson and ninja, and a C++ program that is then run."""

from compiling import compile_and_run_cpp, compile_project

COMMANDS = ("clang", "clang++", "meson", "ninja")
PACKAGES = ("clang", "build-essential", "meson", "ninja-build", "pkg-config", "liburcu-dev", "libcriterion-dev")
MAIN = ("clang", "clang++", "ld", "ninja", "python3", "work")
QUICK = False
TIMEOUT = 240


def run(box):
    compile_project(box, "clang")
    compile_and_run_cpp(box, "clang++", "-O2", "-g")
