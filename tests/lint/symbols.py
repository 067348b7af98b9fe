"""Names: what the libraries export, define and refer to, against the map files and the public headers (nm)."""

import re
import subprocess

from source import code, files, line_of

# What a layer may not call: the heap itself, what takes a lock or allocates, what writes errno, what the loader must resolve.
FORBIDDEN = re.compile(
    r"(?:__libc_)?(?:malloc|calloc|realloc|reallocarray|free|cfree|memalign|aligned_alloc|posix_memalign|p?valloc)"
    r"|malloc_usable_size|strn?dup|v?asprintf|v?s?n?printf|v?fprintf|fopen|fputs|qsort"
    r"|pthread_(?:mutex|rwlock|cond|spin|key)_\w+|pthread_(?:get|set)specific|pthread_once|pthread_getattr_np"
    r"|dl(?:sym|open|close|addr|_iterate_phdr)|__tls_get_addr|syscall|__cxa_thread_atexit_impl"
)
RCU = "labyrinth/rcu.h"  # liblabyrinth_rcu's
STATEMENT = re.compile(r"[^;{}]+")
NOT_EXPORTED = re.compile(r"\s*(?:static|LAB_KERNEL_CALL|typedef|_Static_assert|static_assert)\b")


def nm(*arguments):
    """(object file, name) for each line of nm's portable form, without the absolute names of versions; the version of a name is cut off."""
    output = subprocess.run(["nm", "--format=posix", *arguments], check=True, capture_output=True, text=True).stdout
    place = None
    for line in output.splitlines():
        if line.endswith(":"):
            place = line[:-1]
        elif line and line.split()[1] != "A":
            yield place, line.split()[0].split("@")[0]


def exported(library):
    return {name for _, name in nm("-D", "--defined-only", library)}


def check_map(library, map_file):
    """The library exports what its map says, no more and no less."""
    names = exported(library)
    entries = map_entries(map_file.read_text())
    for name in sorted(names - entries.keys()):
        yield f"{map_file}:1: {name} is exported by {library.name} and not in its map"
    for name in sorted(entries.keys() - names):
        yield f"{map_file}:{entries[name]}: {name} is not exported by {library.name}"


def map_entries(text):
    """{name: line} of the global names of a version script."""
    text = code(text)
    scope = re.search(r"\bglobal:(.*?)(?:\blocal:|\Z)", text, re.S)
    names = re.compile(r"[^\s;{}]+").finditer(text, *scope.span(1)) if scope else ()
    return {name[0]: line_of(text, name.start()) for name in names}


def check_header(library, include, lab_only):
    """The library exports the functions of the public headers, but of RCU, and no others; lab_only: no others that begin with lab_."""
    names = exported(library)
    elsewhere = declared(include, RCU)
    functions = {name: place for name, place in declared(include).items() if name not in elsewhere}
    yield from compare(library, include, names, functions, lab_only)


def check_rcu_header(library, include):
    """The library exports the functions of RCU, and no others."""
    yield from compare(library, include, exported(library), declared(include, RCU), False)


def compare(library, include, names, functions, lab_only):
    for name, place in sorted(functions.items()):
        if name not in names:
            yield f"{place}: {name} is not exported by {library.name}"
    for name in sorted(names - functions.keys()):
        if not lab_only or name.startswith("lab_"):
            yield f"{include}:1: {name} is exported by {library.name} and declared in no public header"


def declared(include, *only):
    """{name: file:line} of the functions and the variables that the headers declare; what they define, inline or in the program, is left out."""
    functions = {}
    for header in [include / name for name in only if (include / name).exists()] if only else files(include, (".",), {".h"}):
        text = declarations(header.read_text())
        for statement in STATEMENT.finditer(text):
            name = re.search(r"\b(\w*[a-z]\w*)\s*\(", statement[0]) or re.search(r"\bextern\b[^()]*?\b(\w*[a-z]\w*)\s*$", statement[0])
            if name and not NOT_EXPORTED.match(statement[0]) and not re.search(rf"^const [\w ]*\b{name[1]} =", text, re.M):
                functions[name[1]] = f"{header}:{line_of(text, statement.start() + name.start())}"
    return functions


def declarations(text):
    """C text without comments, literals, directives, attributes, and what stands in braces but those of extern "C"."""
    text = code(text)
    text = re.sub(r'extern\s*""\s*\{', lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    for pattern in (r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)"):
        text = re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=re.M)
    inner = re.compile(r"\{[^{}]*\}")
    while inner.search(text):
        text = inner.sub(lambda match: ";" + "\n" * match[0].count("\n"), text)
    return text


def check_references(archives):
    """The layers call nothing that could take a lock or come back to malloc."""
    for place, name in nm("-u", *archives):
        if FORBIDDEN.fullmatch(name):
            yield f"{place}: refers to {name}"


def check_definitions(archives):
    """The layers define names of ours only, and therefore none of libc's."""
    for place, name in nm("-g", "--defined-only", *archives):
        if not name.startswith("lab_") and name != "_.stapsdt.base":  # of sys/sdt.h's probes, which no program can name
            yield f"{place}: defines {name}, which does not begin with lab_"
