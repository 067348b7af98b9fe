#!/usr/bin/env python3
"""Labyrinth's figures from inside a Python program, by ctypes: before, while and after it has a large dictionary.

usage: LD_PRELOAD=liblabyrinth.so.0 PYTHONMALLOC=malloc figures.py

`Stats` and `figures` may be copied. Without PYTHONMALLOC=malloc Python cuts its small objects from arenas of its own, by mmap, and Labyrinth sees the large blocks alone.
"""

import ctypes
import sys

# struct lab_stats of labyrinth.h, in its order.
FIELDS = (
    "reserved", "committed", "in_use", "blocks", "free_in_spans", "dirty", "purged", "huge", "huge_blocks",
    "segments", "heaps", "remote_frees", "reentrant", "adopted", "reserve_total", "reserve_used", "limit", "charged",
    "waits", "active", "resident", "metadata", "retained", "runs",
)


class Stats(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def load():
    """The library in this process, or None: the program does not run on it."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "lab_stats_get_sized"):
        return None
    library.lab_stats_get_sized.argtypes = [ctypes.POINTER(Stats), ctypes.c_size_t]
    library.lab_stats_get_sized.restype = ctypes.c_size_t
    library.lab_version.restype = ctypes.c_char_p
    library.lab_trim.argtypes = [ctypes.c_size_t]
    library.lab_trim.restype = ctypes.c_bool
    return library


def figures(library):
    """A dictionary of the figures of now, in bytes where they are bytes."""
    stats = Stats()
    library.lab_stats_get_sized(ctypes.byref(stats), ctypes.sizeof(stats))
    return {name: getattr(stats, name) for name in FIELDS}


def show(library, when):
    now = figures(library)
    print(f"{when:10} in use {now['in_use'] / 2**20:7.1f} MiB in {now['blocks']:7} blocks, free and dirty {now['dirty'] / 2**20:6.1f} MiB")
    return now


def main():
    library = load()
    if not library:
        sys.exit("figures.py: this process does not run on Labyrinth: LD_PRELOAD=liblabyrinth.so.0")
    print("Labyrinth", library.lab_version().decode())
    show(library, "before")
    large = {number: str(number) * 10 for number in range(200_000)}
    show(library, "with it")
    large.clear()
    show(library, "after")
    library.lab_trim(0)
    show(library, "trimmed")


if __name__ == "__main__":
    main()
