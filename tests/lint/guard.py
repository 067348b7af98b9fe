"""That the fast paths have their guard (src/alloc/fastpath.h), in the machine code of an optimised library (objdump, x86-64).

A build with -Dguard=false must be found out: there meson expects this check to fail.
"""

import re
import subprocess

# The library's functions that have a fast path inlined; those of libc's names are in the drop-in only.
ENTRIES = ("lab_malloc", "lab_malloc_medium", "lab_free")
LIBC_ENTRIES = ("malloc", "free")

ENTER = re.compile(r"\bmovq?\s+%rsp,%fs:(\S+)")
LEAVE = re.compile(r"\bmovq?\s+%r(?!sp)\w+,%fs:(\S+)")


def check(library):
    libc = LIBC_ENTRIES if "core" not in library.name else ()
    for name in ENTRIES + libc:
        complaint = guard(disassembly(library, name))
        if complaint:
            yield f"{library}: {name}: {complaint}"


def guard(text):
    """What is wrong with the guard in this code, or None."""
    entered = ENTER.search(text)
    if not entered:
        return "the stack pointer is not stored in the thread's word"
    if entered[1] not in (left[1] for left in LEAVE.finditer(text, entered.end())):
        return "the thread's word is not restored"
    return None


def disassembly(library, name):
    command = ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={name}", library]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
