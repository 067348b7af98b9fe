#!/usr/bin/env python3
"""The USDT probes of the library, as tracers read them from its notes: all that the documents name, with their arguments; and each
is a nop. That mappings get their names is tried as well, where the kernel can.

usage: probes.py LIBRARY
"""
import os
import re
import subprocess
import sys

# provider:name: arguments
PROBES = {
    "labyrinth:refill": 2,
    "labyrinth:segment_map": 2,
    "labyrinth:segment_unmap": 2,
    "labyrinth:purge": 2,
    "labyrinth:reserve_low": 1,
    "labyrinth:reserve_empty": 1,
    "labyrinth:reentry": 1,
    "otel_memory:alloc": 3,
    "otel_memory:free": 1,
}


def notes(library):
    text = subprocess.run(["readelf", "-n", library], check=True, capture_output=True, text=True).stdout
    for match in re.finditer(r"Provider: (\S+)\n\s*Name: (\S+)\n\s*Location: 0x([0-9a-f]+), .*\n\s*Arguments: (.*)\n", text):
        yield f"{match[1]}:{match[2]}", int(match[3], 16), match[4].split()


def code_at(library, address):
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", f"--start-address={address}", f"--stop-address={address + 1}", library],
                          check=True, capture_output=True, text=True).stdout
    return text.strip().splitlines()[-1].split()[1:]


def kernel_names_mappings():
    """PR_SET_VMA_ANON_NAME on a mapping of our own."""
    import ctypes
    import mmap

    memory = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return ctypes.CDLL(None).prctl(0x53564D41, ctypes.c_ulong(0), ctypes.c_ulong(address), ctypes.c_ulong(mmap.PAGESIZE), b"here") == 0


def main():
    library = sys.argv[1]
    found = {}
    for name, address, arguments in notes(library):
        found.setdefault(name, []).append((address, arguments))
    if not found and not os.path.exists("/usr/include/sys/sdt.h"):
        print("probes.py: built without systemtap-sdt-dev")
        sys.exit(77)
    assert set(found) == set(PROBES), set(found) ^ set(PROBES)
    for name, places in found.items():
        for address, arguments in places:
            assert len(arguments) == PROBES[name], (name, arguments)
            assert code_at(library, address) == ["nop"], (name, code_at(library, address))
    maps = {}
    for on in ("0", "1"):
        environment = dict(os.environ, LD_PRELOAD=library, LABYRINTH_NAME_MAPPINGS=on)
        maps[on] = subprocess.run(["cat", "/proc/self/maps"], env=environment, check=True, capture_output=True, text=True).stdout
    assert "[anon:labyrinth" not in maps["0"]
    assert ("[anon:labyrinth" in maps["1"]) == kernel_names_mappings(), maps["1"]
    print("probes.py: passed")


if __name__ == "__main__":
    main()
