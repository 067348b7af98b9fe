"""What the shared libraries must be for the loader: bound at once, little static TLS, no surprises (readelf)."""

import re
import subprocess

TLS_MAX = 64
NEEDED = re.compile(r"libc\.so\.6|ld-linux.*\.so\.\d+")
DYNAMIC_TLS = re.compile(r"\bR_\w*(?:DTPMOD|DTPOFF|DTPREL|TLSDESC)\w*")


def check(library, *needed):
    """`needed`: libraries of ours that it may need."""
    for what in complaints(library, needed):
        yield f"{library}: {what}"


def complaints(library, needed):
    dynamic = readelf("-d", library)
    segments = readelf("-l", library)
    yield from dynamic_section(dynamic, needed)
    for relocation in sorted(set(DYNAMIC_TLS.findall(readelf("-r", library)))):
        yield f"relocation {relocation}: TLS that __tls_get_addr or a descriptor resolves, which may call malloc"
    tls = re.search(r"^\s*TLS(?:\s+0x\w+){4}\s+(0x\w+)", segments, re.M)
    if tls and int(tls[1], 16) > TLS_MAX:
        yield f"{int(tls[1], 16)} bytes of static TLS; at most {TLS_MAX}"
    stack = re.search(r"^\s*GNU_STACK(?:\s+0x\w+){5}\s+(\w+)", segments, re.M)
    if not stack or "E" in stack[1]:
        yield "the stack is executable"


def dynamic_section(dynamic, needed=()):
    if not re.search(r"\bBIND_NOW\b|\(FLAGS_1\).*\bNOW\b", dynamic):
        yield "no BIND_NOW flag: lazy binding takes the loader's lock (-z now)"
    if not re.search(r"\(FLAGS_1\).*\bNODELETE\b", dynamic):
        yield "no NODELETE flag: blocks and the background thread outlive a dlclose (-z nodelete)"
    if "TEXTREL" in dynamic:
        yield "text relocations"
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic):
        if not NEEDED.fullmatch(name) and name not in needed:
            yield f"needs {name}"
    soname = re.search(r"\(SONAME\).*\[(.*)\]", dynamic)
    if not soname or not re.search(r"\.so\.\d+$", soname[1]):
        yield "no soname with a version"


def readelf(option, library):
    return subprocess.run(["readelf", "-W", option, library], check=True, capture_output=True, text=True).stdout
