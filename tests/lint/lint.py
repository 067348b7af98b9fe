#!/usr/bin/env python3
"""One check of the sources or the libraries: prints what is wrong, a line each, and fails if there is any.

usage: lint.py CHECK ROOT [ARGUMENTS…]       the checks and their arguments are the table below; meson.build calls them
"""

import sys
from pathlib import Path

import guard
import clauses
import documents
import elf
import form
import headers
import includes
import invariants
import pairing
import size
import symbols


def parse_layers(arguments):
    """The table of src/meson.build, as `page=os,base` arguments."""
    pairs = (argument.split("=") for argument in arguments)
    return {layer: others.split(",") if others else [] for layer, others in pairs}


CHECKS = {
    "layers": lambda root, *table: includes.check_layers(root, parse_layers(table)),
    "included-sources": includes.check_no_source,
    "circles": includes.check_circles,
    "declarations": includes.check_declarations,
    "headers": headers.check,
    "line-length": size.check_lines,
    "file-length": size.check_files,
    "function-length": size.check_functions,
    "conditionals": size.check_conditionals,
    "head-comments": form.check_heads,
    "type-names": form.check_types,
    "format": form.check_format,
    "invariants": invariants.check,
    "pairing": pairing.check,
    "clauses": clauses.check,
    "variables": documents.check_variables,
    "figures": documents.check_figures,
    "entered": documents.check_entered,
    "glibc": lambda root, library: documents.check_glibc(root, Path(library)),
    "map": lambda root, library, text: symbols.check_map(Path(library), root / text),
    "api-core": lambda root, library: symbols.check_header(Path(library), root / "include", lab_only=False),
    "api-dropin": lambda root, library: symbols.check_header(Path(library), root / "include", lab_only=True),
    "api-rcu": lambda root, library: symbols.check_rcu_header(Path(library), root / "include"),
    "references": lambda root, *archives: symbols.check_references(archives),
    "definitions": lambda root, *archives: symbols.check_definitions(archives),
    "guard": lambda root, library: guard.check(Path(library)),
    "elf": lambda root, library, *needed: elf.check(Path(library), *needed),
}


def main(check, root, *arguments):
    count = 0
    for count, finding in enumerate(CHECKS[check](Path(root).resolve(), *arguments), 1):
        print(finding)
    return 1 if count else 0


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__ + "checks: " + " ".join(CHECKS))
    sys.exit(main(*sys.argv[1:]))
