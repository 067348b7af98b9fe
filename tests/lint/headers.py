"""Every header compiles on its own, twice in one file, without a warning; the public ones as strict C and C++."""

import shutil
import subprocess

from source import files, finding

OURS = [
    ("gcc", ["-x", "c", "-std=gnu11", "-D_GNU_SOURCE"]),
    ("clang", ["-x", "c", "-std=gnu11", "-D_GNU_SOURCE"]),
]
PUBLIC = [
    ("gcc", ["-x", "c", "-std=c11", "-pedantic"]),
    ("clang", ["-x", "c", "-std=c11", "-pedantic"]),
    ("g++", ["-x", "c++", "-std=c++11", "-pedantic", "-Wshadow"]),
    ("clang++", ["-x", "c++", "-std=c++11", "-pedantic", "-Wshadow"]),
]


def check(root):
    yield from check_folder(root, root / "src", OURS)
    yield from check_folder(root, root / "include", PUBLIC)


def check_folder(root, folder, compilers):
    for header in files(root, (folder.relative_to(root),), {".h", ".hpp"}):
        for compiler, arguments in compilers:
            if header.suffix == ".hpp" and "c++" not in arguments:
                continue
            if not shutil.which(compiler) and not compiler.startswith("g"):
                continue
            what = complaint(root, header.relative_to(folder), compiler, arguments)
            if what:
                yield finding(root, header, 1, f"does not compile on its own with {compiler}:\n{what}")


def complaint(root, name, compiler, arguments):
    command = [compiler, *arguments, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Isrc", "-Iinclude", "-"]
    result = subprocess.run(command, cwd=root, input=f'#include "{name}"\n' * 2, capture_output=True, text=True)
    return result.stderr.strip() if result.returncode else None
