#!/usr/bin/python3
"""Where the allocators are, which versions they have, and what machine this is.

Used by run.py, and by the shell scripts as a command:
    allocators.py                     prints `name<TAB>path` for each peer that is installed; on stderr, those that are not
    allocators.py --check PAIR FILE   fails unless the program PAIR takes its malloc from FILE when that is preloaded
"""

import collections
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEFAULT_LIBRARY = os.path.join(ROOT, "build", "release", "preload", "liblabyrinth.so")

# path: what is preloaded, None for nothing. version: of the Debian package, or of the git tree. source: the path to name.
Allocator = collections.namedtuple("Allocator", "name path version source")

# name: (Debian package, the sonames to look for, best first)
PEERS = {
    "glibc": ("libc6", []),
    "jemalloc": ("libjemalloc2", ["libjemalloc.so.2"]),
    "mimalloc": ("libmimalloc2.0", ["libmimalloc.so.2.0", "libmimalloc.so.2"]),
    "tcmalloc": ("libtcmalloc-minimal4", ["libtcmalloc_minimal.so.4"]),
    "tbb": ("libtbbmalloc2", ["libtbbmalloc_proxy.so.2"]),
    "scudo": ("libclang-rt-14-dev", ["libclang_rt.scudo_standalone-x86_64.so"]),
}
LIBRARY_PATHS = ["/usr/lib/*-linux-gnu", "/lib/*-linux-gnu", "/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/llvm-*/lib/clang/*/lib/linux"]
TUNING = re.compile(r"^(MALLOC_|GLIBC_TUNABLES|MIMALLOC_|TCMALLOC_|LABYRINTH_|LD_)")


def output_of(*command):
    """What a command prints, stripped; "" if it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def find_library(sonames):
    """The path of the first of the sonames that the loader's cache or a known directory has; None if there is none."""
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    cache = dict(re.findall(r"^\s+(\S+) \(.*\) => (\S+)$", output_of(ldconfig, "-p"), re.MULTILINE))
    for soname in sonames:
        if soname in cache:
            return cache[soname]
        for directory in LIBRARY_PATHS:
            found = sorted(glob.glob(os.path.join(directory, soname)))
            if found:
                return found[0]
    return None


def find_peer(name):
    """The Allocator, or None if it is not installed."""
    package, sonames = PEERS[name]
    path = find_library(sonames)
    if sonames and not path:
        return None
    version = output_of("dpkg-query", "-W", "-f", "${Version}", package)
    return Allocator(name, path, f"{package} {version}" if version else "version unknown", path)


def find_peers(names):
    """The Allocators of these names that are installed; each other one is worth a line. "none" is no name."""
    found = []
    for name in names:
        peer = find_peer(name) if name != "none" else None
        if peer:
            found.append(peer)
        elif name != "none":
            print(f"{name}: left out, not found (Debian package {PEERS[name][0]})", file=sys.stderr)
    return found


def copied(path, copy):
    """Copies a library, so that a build meanwhile does not change what is measured. Gives the copy's path, and a digest that says exactly
    which build it is."""
    shutil.copy(path, copy)
    with open(copy, "rb") as file:
        return copy, hashlib.sha256(file.read()).hexdigest()[:12]


def other(name, path, directory):
    """The Allocator for a library of the caller's, under the caller's name for it."""
    copy, digest = copied(path, os.path.join(directory, f"{name}.so"))
    return Allocator(name, copy, f"sha256 {digest}", os.path.abspath(path))


def labyrinth(path, directory):
    """The Allocator for the library under test: a copy in `directory`."""
    copy, digest = copied(path, os.path.join(directory, os.path.basename(path)))
    commit = output_of("git", "-C", ROOT, "describe", "--always", "--dirty", "--tags") or "no commit"
    source = os.path.abspath(path).replace(ROOT + os.sep, "")
    return Allocator("labyrinth", copy, f"tree {commit}, sha256 {digest}", source)


def malloc_comes_from(program, path):
    """Which file the loader binds the program's malloc to under a preload; "" if it does not get that far.

    ld.so goes on without a library that it cannot preload: without this check the figures would be glibc's."""
    environment = dict(os.environ, LD_PRELOAD=path, LD_DEBUG="bindings", LD_BIND_NOW="1")
    command = [program, "--pairs", "1"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False, timeout=10)
    except subprocess.TimeoutExpired:
        return ""
    bound = re.search(rf"binding file {re.escape(program)} \[0\] to (\S+) \[0\]: normal symbol `malloc'", done.stderr)
    return bound.group(1) if bound else ""


def first_line_of(path, default="unknown"):
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except OSError:
        return default


def machine():
    """What a reader must know of the machine, in the order in which it is printed."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpuinfo = file.read()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    virtual = re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE)
    system = os.uname()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    thp = re.search(r"\[(\w+)\]", first_line_of("/sys/kernel/mm/transparent_hugepage/enabled"))
    tuning = [f"{name}={value}" for name, value in sorted(os.environ.items()) if TUNING.match(name)]
    return {
        "cpu": (model.group(1) if model else system.machine) + (", a virtual machine" if virtual else ""),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{memory:.1f} GiB, huge pages: {thp.group(1) if thp else 'unknown'}",
        "kernel": f"{system.sysname} {system.release} {system.machine}",
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
        "load": "%.2f before the first run" % os.getloadavg()[0],
        "settings": ", ".join(tuning) or "none in the environment",
    }


def check(program, path):
    source = malloc_comes_from(program, path)
    if source and os.path.samefile(source, path):
        return 0
    print(f"{path}: has no effect as a preload, malloc comes from {source or 'nowhere'}", file=sys.stderr)
    return 1


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--check":
        return check(os.path.abspath(sys.argv[2]), sys.argv[3])
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    for name, (package, sonames) in PEERS.items():
        peer = find_peer(name)
        if peer is None:
            print(f"{name}: not found ({package} is not installed)", file=sys.stderr)
        elif sonames:
            print(f"{name}\t{peer.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
