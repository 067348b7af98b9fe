"""Purpose: what the cases gcc and clang share: compile this project and a C++ program, compare what comes out."""

import shutil

from harness import PROJECT, WORK

# What is needed to build the libraries. A copy, so that both runs see the same if somebody edits the tree meanwhile.
SOURCES = ("meson.build", "meson_options.txt", "meson.options", "LICENSE", "README.md", "CHANGELOG.md", "include", "src", "preload", "rcu", "tool",
           "tests", "bench", "examples", "tools", "docs", "cmake")


def copy_project(box):
    copy = box.shared / "project"
    if not copy.exists():
        copy.mkdir()
        for name in SOURCES:
            source = PROJECT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, copy / name)
    shutil.copytree(copy, box.folder / "project")


def compile_project(box, c_compiler):
    """Configure and build the drop-in with meson and ninja, themselves on the library: every object must be the same."""
    copy_project(box)
    box.run("meson", "setup", "build", "project", "--buildtype=release", env={"CC": c_compiler}, record=False)
    box.run("meson", "compile", "-C", "build", "labyrinth:shared_library", record=False)
    box.record_files("build/**/*.o")


def compile_and_run_cpp(box, cpp_compiler, *options):
    """A C++ program with much of the standard library: its object is the same, and it runs on operator new and delete."""
    source = WORK / "work.cpp"
    box.run(cpp_compiler, "-std=c++17", *options, "-c", source, "-o", "work.o")
    box.record_files("work.o")
    box.run(cpp_compiler, "work.o", "-pthread", "-o", "work")
    box.run(box.folder / "work")
