"""No #include against the layer order, and none of a .c file."""

import os
import re
from pathlib import Path

from source import code, files, finding, line_of

INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b[ \t]*(.*?)[ \t]*$", re.M)
NAME = re.compile(r'([<"])([^>"]+)[>"]')

# What is linked with the layers, or beside them, and what it may include of theirs.
RCU_MAY = {"include/labyrinth/rcu.h", "src/base/atomic.h", "src/base/check.h", "src/base/compiler.h", "src/base/format.h"}
PRELOAD_MAY = {
    "include/labyrinth/labyrinth.h", "src/base/compiler.h", "src/alloc/fastpath.h", "src/alloc/checked.h", "src/alloc/lifecycle.h",
}
MAY = {"preload": PRELOAD_MAY, "rcu": RCU_MAY}
FREESTANDING = {"float", "iso646", "limits", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdnoreturn"}
PROBES = "sys/sdt.h"  # macros that leave a nop and a note: nothing of it runs


def check_layers(root, layers):
    """`layers`: the table of src/meson.build, {layer: layers that it may include}."""
    below = {layer for others in layers.values() for layer in others}
    top = (set(layers) - below) | {"alloc"}  # these define what the public header declares
    for path in files(root, ("src", *MAY)):
        folder, layer = path.relative_to(root).parts[:2]
        if folder in MAY:
            layer = folder
        elif layer not in layers:
            yield finding(root, path, 1, f"{layer} is no layer of src/meson.build")
            continue
        for line, text in includes(path):
            why = objection(root, path, text, layer, layers, top)
            if why:
                yield finding(root, path, line, f"#include {text}: {why}")


def check_no_source(root):
    for path in files(root):
        for line, text in includes(path):
            if re.search(r"\.(c|cpp)[>\"]$", text):
                yield finding(root, path, line, f"#include {text}: a source file")


def includes(path):
    text = code(path.read_text(), keep_literals=True)
    return [(line_of(text, match.start()), match[1]) for match in INCLUDE.finditer(text)]


def objection(root, path, text, layer, layers, top):
    """Why this file of `layer` may not have `#include text`; None if it may."""
    name = NAME.fullmatch(text)
    if not name:
        return "cannot be read"
    target = resolve(root, path, name[2])
    if target is None:
        if name[1] == '"':
            return "no such header in src, include or beside the file"
        if layer in layers and not layers[layer] and name[2].removesuffix(".h") not in FREESTANDING and name[2] != PROBES:
            return f"{layer} is freestanding"
        return None
    folder, _, rest = str(target).partition("/")
    if layer in MAY:
        return None if str(target) in MAY[layer] or folder == layer else f"{layer} may not include {target}"
    if folder == "include":
        return None if layer in top else f"{layer} may not include the public header"
    if folder == "src" and rest.partition("/")[0] in [layer, *layers[layer]]:
        return None
    return f"{layer} may not include {target}"


def resolve(root, path, name):
    """The file of this tree that the name means, relative to the root; None: one of the system."""
    for folder in (path.parent, root / "src", root / "include", root / "preload"):
        if (folder / name).is_file():
            return Path(os.path.relpath(folder / name, root))
    return None


def check_circles(root):
    """No file of a folder of src includes, by way of others of that folder, itself: a header counts as one with its source file."""
    for folder in sorted(path for path in (root / "src").iterdir() if path.is_dir()):
        edges = {}
        for path in files(root, (f"src/{folder.name}",)):
            for line, text in includes(path):
                name = NAME.fullmatch(text)
                target = resolve(root, path, name[2]) if name else None
                if target and target.parent == folder.relative_to(root) and target.stem != path.stem:
                    edges.setdefault(path.stem, {}).setdefault(target.stem, (path, line))
        yield from (finding(root, *edges[circle[0]][circle[1]], "in a circle: " + " → ".join(circle)) for circle in circles(edges))


def circles(edges):
    """Each circle of a graph {from: {to: …}} once, from its first name on."""
    found = set()
    for start in sorted(edges):
        paths = [[start]]
        seen = {start}
        while paths:
            path = paths.pop(0)
            for to in sorted(edges.get(path[-1], {})):
                if to == start and frozenset(path) not in found:
                    found.add(frozenset(path))
                    yield [*path, start]
                elif to not in seen:
                    seen.add(to)
                    paths.append([*path, to])


PROTOTYPE = re.compile(r"^(?!typedef|static|#)[A-Za-z][^;{}=()#]*?\b(lab_\w+)\([^;{}]*\)[^;{}()]*;", re.M)
DEFINITION = re.compile(r"^(lab_\w+)\(", re.M)


# The doorway to the system is one contract, of which several files are the parts; base/check.h declares what os/ defines, as base is below it.
DECLARE_OTHERS = ("src/os/os.h", "src/os/linux.h", "src/base/check.h")


def check_declarations(root):
    """A header of src declares the functions that the source file of its name defines, and no others."""
    for path in (path for path in files(root, ("src",), {".h"}) if str(path.relative_to(root)) not in DECLARE_OTHERS):
        source = path.with_suffix(".c")
        defined = set(DEFINITION.findall(code(source.read_text()))) if source.exists() else set()
        text = code(path.read_text())
        for match in PROTOTYPE.finditer(text):
            if match[1] not in defined:
                yield finding(root, path, line_of(text, match.start(1)), f"{match[1]} is not defined in {source.name}")
