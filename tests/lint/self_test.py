#!/usr/bin/env python3
"""Each check of lint.py reports what it is for, at the right place, and nothing in a tree that is in order."""

import shutil
import subprocess
import tempfile
import unittest
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

LAYERS = {"base": [], "page": ["base"], "heap": ["page", "base"]}

GOOD = {
    "src/base/bits.h": "/* bits.h - bits */\n#ifndef BITS_H\n#define BITS_H\n#include <stddef.h>\n"
                       "struct bits {\n\tsize_t n;\n};\n#endif\n",
    "src/page/map.h": '/* map.h - a map\n * INV-MAP-1  whole */\n#ifndef MAP_H\n#define MAP_H\n#include "base/bits.h"\n#endif\n',
    "src/heap/heap.c": '/* heap.c - INV-MAP-1 */\n#include "page/map.h"\n\n#include <labyrinth/labyrinth.h>\n',
    "include/labyrinth/labyrinth.h": "/* labyrinth.h - the API */\n#ifndef LAB_H\n#define LAB_H\nint lab_a(void);\n#endif\n",
    "preload/libc.c": '/* libc.c - names */\n#include "labyrinth/labyrinth.h"\n',
}


class Folder(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)


class Sources(Folder):
    """A good tree, then one more file in it."""

    def setUp(self):
        super().setUp()
        for path, text in GOOD.items():
            self.write(path, text)

    def reports(self, check, path, text, *expected):
        """check(root) finds nothing in the good tree, and `expected` (in this order) with this file in it."""
        self.assertEqual(list(check(self.root)), [])
        self.write(path, text)
        findings = list(check(self.root))
        self.assertEqual(len(findings), len(expected), findings)
        for found, start in zip(findings, expected):
            self.assertTrue(found.startswith(start), f"{found!r} does not start with {start!r}")

    def layers(self, root):
        return includes.check_layers(root, LAYERS)

    def test_layer_upward(self):
        text = '/**/\n#include "base/bits.h"\n#include "heap/heap.h"\n#include "../heap/heap.c"\n'
        self.reports(self.layers, "src/page/a.c", text, "src/page/a.c:3: ", "src/page/a.c:4: ")

    def test_layer_public_header(self):
        self.reports(self.layers, "src/page/a.c", "#include <labyrinth/labyrinth.h>\n", "src/page/a.c:1: ")

    def test_layer_freestanding(self):
        self.reports(self.layers, "src/base/a.c", "#include <string.h>\n", "src/base/a.c:1: #include <string.h>: base is free")

    def test_layer_preload(self):
        self.reports(self.layers, "preload/a.c", '#include "page/map.h"\n', "preload/a.c:1: ")

    def test_layer_unknown(self):
        self.reports(self.layers, "src/new/a.c", "", "src/new/a.c:1: new is no layer")

    def test_included_source(self):
        self.reports(includes.check_no_source, "tests/a.c", '// #include "b.c"\n#include "b.c"\n', "tests/a.c:2: ")

    def test_circle(self):
        """By way of a source file, which counts as one with its header."""
        self.write("src/base/a.h", "")
        self.write("src/base/b.h", '#include "base/a.h"\n')
        self.reports(includes.check_circles, "src/base/a.c", '#include "base/b.h"\n', "src/base/a.c:1: in a circle: a → b → a")

    def test_declaration(self):
        self.write("src/base/a.c", "void\nlab_a(void)\n{\n}\n")
        text = "void lab_a(void); /* void lab_c(void); */\nstatic inline void lab_d(void);\nint lab_b(int x);\n"
        self.reports(includes.check_declarations, "src/base/a.h", text, "src/base/a.h:3: lab_b is not defined in a.c")

    def test_header_incomplete(self):
        both = 2 if shutil.which("clang") else 1
        self.reports(headers.check, "src/page/a.h", "struct a {\n\tsize_t n;\n};\n", *["src/page/a.h:1: does not"] * both)

    def test_header_not_cxx(self):
        both = 2 if shutil.which("clang++") else 1
        text = "#ifndef A_H\n#define A_H\nvoid f(int new);\n#endif\n"
        self.reports(headers.check, "include/a.h", text, *["include/a.h:1: "] * both)

    def test_line_length(self):
        text = "/* " + "x" * 114 + " */\n\t/* " + "…" * 106 + " */\n\t/* " + "…" * 107 + " */\n"
        self.reports(size.check_lines, "tests/a.c", text, "tests/a.c:3: 121 columns")

    def test_file_length(self):
        self.reports(size.check_files, "src/page/a.c", "\n" * 401, "src/page/a.c:401: 401 lines")

    def test_function_length(self):
        array = "int a[] = {\n" + "1,\n" * 80 + "};\n"
        function = "int\nf(int x)\n{ // {\n\tchar c = '{';\n" + "\tif (x) {\n\t}\n" * 29 + "}\n"
        self.reports(size.check_functions, "src/page/a.c", array + function, "src/page/a.c:85: 61 lines")

    def test_function_braces(self):
        text = "int f(void)\n{\n#if 1\n\tif (1) {\n#else\n\t{\n#endif\n}\n}\n"
        self.reports(size.check_functions, "src/page/a.c", text, "src/page/a.c:10: braces")

    def test_conditionals(self):
        text = "#if 1\n" + "\n" * 100 + "#elif 0\n#endif\n"
        self.reports(size.check_conditionals, "src/page/a.c", text, "src/page/a.c:1: ", "src/page/a.c:102: ")

    def test_head_comment(self):
        self.reports(form.check_heads, "src/page/a.c", "int a;\n/* a */\n", "src/page/a.c:1: ")

    def test_head_comment_of_script(self):
        self.reports(form.check_heads, "tests/a.py", "#!/bin/python3\nimport sys\n", "tests/a.py:1: ")

    def test_pairing(self):
        text = """/* a.c - a */
int f(_Atomic int *p, int *n)
{
	int a = lab_load_acq(p);
	int b = lab_load_acq(p); /* pairs with the rel of g */

	/* Pairs of
	 * pages, and so on: pairs with g. */
	while (n &&
	       !atomic_compare_exchange_weak_explicit(p, n, 1, memory_order_release,
	                                              memory_order_relaxed))
		;
	/* of pairs with no word about it, two lines above */

	lab_store_rel(p, lab_load_acq(p));
	lab_store_rlx(p, 1);
	return atomic_load(p);
}
"""
        self.reports(pairing.check, "src/page/a.c", text, "src/page/a.c:4: ", "src/page/a.c:15: ", "src/page/a.c:17: ")

    def test_pairing_of_definitions(self):
        self.reports(pairing.check, "src/base/a.h", "/**/\n#define lab_load_acq(p) atomic_load_explicit((p), memory_order_acquire)\n")

    def test_pairing_outside_of_src(self):
        self.reports(pairing.check, "tests/a.c", "/**/\nint a = lab_load_acq(p);\n")

    def test_type_names(self):
        text = """/* typedef int in_comment_t; */
typedef struct page page;
typedef struct { int n; } other;
typedef unsigned page_t;
struct span_t {
};
typedef void (*callback_t)(size_t n);
typedef void (*callback)(size_t);
typedef struct page *(*find)(void);
struct page { size_t n; };
"""
        self.reports(form.check_types, "src/page/a.h", text, *[f"src/page/a.h:{line}: " for line in (2, 3, 4, 7, 5)])

    def test_format(self):
        self.write(".clang-format", "BasedOnStyle: LLVM\nUseTab: ForIndentation\nIndentWidth: 8\nTabWidth: 8\n")
        self.reports(form.check_format, "src/page/a.c", "/* a */\nint a;\nint  b;\nint  c;\n", "src/page/a.c:3: ")

    def test_invariant_undefined(self):
        self.reports(invariants.check, "src/page/a.c", "/* a\n * INV-MAP-1, INV-MAP-2  */\n", "src/page/a.c:2: INV-MAP-2 is not")

    def test_invariant_twice(self):
        self.reports(invariants.check, "src/page/z.c", "/* z\n * INV-MAP-1  again\n */\n", "src/page/z.c:2: INV-MAP-1 is def")

    def test_clauses(self):
        row = "| G1.{} | text | {} |\n"
        tests = [(1, "`a.c`"), (2, "none"), (3, "`gone.c`"), (4, "`a.c`"), (5, "`idle.c`")]
        self.write("docs/guarantees.md", "".join(row.format(*test) for test in tests))
        self.write("tests/meson.build", "executable('a', 'a.c')\n")
        self.write("tests/a.c", "/* a.c - G1.1, G1.9 */\n")
        self.write("tests/idle.c", "/* idle.c - G1.5 */\n")
        found = [line.split(": ", 1)[1] for line in clauses.check(self.root)]
        self.assertEqual(found, [
            "G1.2 has no test", "G1.3: there is no tests/gone.c", "G1.4: tests/a.c does not carry the id",
            "G1.5: no meson.build names tests/idle.c", "G1.9 is no clause of docs/guarantees.md"])

    def test_variables(self):
        self.write("src/alloc/settings.def", 'LAB_SETTING(b, BYTES, NO_PARAM, "1", 0, (size_t)1, "", "It is " "b.")\n'
                   'LAB_SETTING(a, FLAG, LAB_PARAM_A, "0", 0, 1, "", "A `b`, c(2).")\nLAB_PRESET(p, "b:2", "for p")\n')
        marks = ["<!-- {}: made by tools/settings.py from src/alloc/settings.def -->\n", "<!-- end -->\n"]
        lists = ["| key | takes | default | lab_set_param | meaning |\n|---|---|---|---|---|\n| `a` | 0, 1 | 0 | `LAB_PARAM_A` | A `b`, c(2). |\n"
                 "| `b` | bytes | 1 | – | It is b. |\n",
                 "| profile | stands for | what it is for |\n|---|---|---|\n| `p` | `b:2` | for p |\n"]
        tuning = "".join(marks[0].format(what) + rows + marks[1] for what, rows in zip(["settings", "profiles"], lists))
        self.write("docs/tuning.md", tuning)
        self.write("docs/man/labyrinth.3", "".join(f'.\\" {what}: made by tools/settings.py from src/alloc/settings.def\n.\\" end\n'
                                                   for what in ["settings", "profiles"]))
        self.write("README.md", "LABYRINTH_A, LABYRINTH_CONF, LABYRINTH_X_H,\nLABYRINTH_X, LABYRINTH_A*\n")
        found = list(documents.check_variables(self.root))
        stale = ":1: a list of settings is not what src/alloc/settings.def says; run tools/settings.py write"
        self.assertEqual(found, ["docs/man/labyrinth.3" + stale, "README.md:2: LABYRINTH_X is no setting"])
        documents.settings.main("write", self.root)
        manual = (self.root / "docs/man/labyrinth.3").read_text()
        self.assertIn(".It Ev LABYRINTH_A\n0, 1; default: 0.\nA\n.Ql b ,\n.Xr c 2 .\nAt run time:\n.Dv LAB_PARAM_A .\n", manual)
        self.assertEqual((self.root / "docs/tuning.md").read_text(), tuning)
        self.assertEqual(list(documents.check_variables(self.root)), ["README.md:2: LABYRINTH_X is no setting"])
        self.write("docs/tuning.md", "")
        self.assertIn("docs/tuning.md" + stale, list(documents.check_variables(self.root)))

    def test_figures(self):
        table = "**{}**: x\n\n| benchmark | glibc | labyrinth |\n| --- | --- | --- |\n| a | 1 | 2 |\n| geometric mean | 1.00 | {} |\n\n"
        self.write("docs/benchmarks.md", table.format("Wall time", "0.66") + table.format("Peak RSS", "0.91"))
        self.write("README.md", "| | Labyrinth | glibc |\n|---|---:|---:|\n| time | **0.66** | 1.00 |\n| peak memory | 0.90 | 1.00 |\n")
        found = list(documents.check_figures(self.root))
        self.assertEqual(found, ["README.md:1: peak memory of labyrinth: 0.90; docs/benchmarks.md has 0.91"])

    def test_entered(self):
        self.write("meson.build", "subdir('tests')\n# subdir('examples')\n")
        for path in "tests/meson.build", "examples/meson.build", "build/x/meson.build":
            self.write(path, "")
        self.write("tests/man/meson.build", "")
        found = list(documents.check_entered(self.root))
        self.assertEqual(found, ["examples/meson.build:1: meson.build has no subdir('examples')",
                                 "tests/man/meson.build:1: tests/meson.build has no subdir('man')"])


class Libraries(Folder):
    """They are made here, right ones and wrong ones."""

    FLAGS = ["-shared", "-fPIC", "-nostdlib", "-Wl,-z,now", "-Wl,-z,nodelete", "-Wl,-soname,libx.so.0"]

    def library(self, text, *flags, name="libx.so"):
        self.write("x.c", text)
        command = ["gcc", *self.FLAGS, "-o", name, "x.c", *flags]
        subprocess.run(command, cwd=self.root, check=True, capture_output=True)
        return self.root / name

    def archive(self, text):
        self.write("x.c", text)
        subprocess.run("gcc -fno-builtin -c x.c && ar rc libx.a x.o", shell=True, cwd=self.root, check=True, capture_output=True)
        return [self.root / "libx.a"]

    def finds(self, findings, *parts):
        findings = list(findings)
        self.assertEqual(len(findings), len(parts), findings)
        for found, part in zip(findings, parts):
            self.assertIn(part, found)

    def test_map(self):
        self.write("x.map", "/* ; c; */\n{\nglobal:\n\tlab_a; lab_b;\n\tlab_*;\nlocal:\n\tx;\n};\n")
        library, version_script = self.library("int lab_a, lab_c;"), self.root / "x.map"
        found = ["x.map:1: lab_c is exported", "x.map:5: lab_* is not exported", "x.map:4: lab_b is not exported"]
        self.finds(symbols.check_map(library, version_script), *found)
        self.finds(symbols.check_map(self.library("int lab_a, lab_b;"), version_script), "lab_*")

    def test_header(self):
        self.write("include/labyrinth/labyrinth.h", """#define X(x) macro(x)
#ifdef __cplusplus
extern "C" {
#endif
struct s { int (*f)(int lab_no(int)); };
struct s lab_a(void (*call)(int)) __attribute__((alloc_size(1)));
static inline int lab_inline(void) { return lab_no(); }
int *
lab_b(
    int);
#ifdef __cplusplus
}
#endif
""")
        include = self.root / "include"
        self.finds(symbols.check_header(self.library("void lab_a(void){} void lab_b(void){} void free(void){}"), include, True))
        library = self.library("void lab_a(void){} void lab_c(void){} void free(void){}")
        self.finds(symbols.check_header(library, include, True), "labyrinth.h:9: lab_b", "lab_c is exported")
        self.finds(symbols.check_header(library, include, False), "labyrinth.h:9: lab_b", "free is exported", "lab_c is exported")

    def test_references(self):
        archive = self.archive("void *malloc(long); void lab_f(void); void lab_g(void) { malloc(1); lab_f(); }")
        self.finds(symbols.check_references(archive), "libx.a[x.o]: refers to malloc")

    def test_definitions(self):
        archive = self.archive("void lab_f(void) {} void free(void *p) {} static void g(void) {}")
        self.finds(symbols.check_definitions(archive), "libx.a[x.o]: defines free")

    def test_guard(self):
        enter, leave, other = "mov %rsp,%fs:(%rcx)\n", "mov %rsi,%fs:(%rcx)\n", "mov %rsi,%fs:(%rdx)\n"
        for text in (enter + "mov %rax,(%rdx)\n" + leave, "movq " + enter[4:] + leave):
            self.assertIsNone(guard.guard(text))
        for text in ("", leave, leave + enter, enter + other, enter + enter):
            self.assertIsNotNone(guard.guard(text), text)

    def test_elf_good(self):
        text = '__thread long x[8] __attribute__((tls_model("initial-exec"))); long *f(void) { return x; }'
        self.finds(elf.check(self.library(text)))

    def test_elf_dynamic_tls(self):
        text = "__thread int x; int *f(void) { return &x; }"
        self.finds(elf.check(self.library(text)), "DTPMOD64", "DTPOFF64")

    def test_elf_descriptor_tls(self):
        self.finds(elf.check(self.library("__thread int x; int *f(void) { return &x; }", "-mtls-dialect=gnu2")), "TLSDESC")

    def test_elf_large_tls(self):
        self.finds(elf.check(self.library("__thread char x[65];")), "65 bytes of static TLS")

    def test_elf_lazy(self):
        self.finds(elf.check(self.library("int x;", "-Wl,-z,lazy")), "BIND_NOW")

    def test_elf_unloadable(self):
        self.FLAGS = [flag for flag in self.FLAGS if "nodelete" not in flag]
        self.finds(elf.check(self.library("int x;")), "NODELETE")

    def test_elf_stack(self):
        self.finds(elf.check(self.library("int x;", "-Wl,-z,execstack")), "stack is executable")

    def test_elf_text_relocations(self):
        text = '__asm__(".text; .globl f; f: .quad f");'
        self.finds(elf.check(self.library(text, "-Wl,-z,notext")), "text relocations")

    def test_elf_needed(self):
        self.library("int y;", "-Wl,-soname,liby.so.8", name="liby.so")
        library = self.library("int x;", "-Wl,--no-as-needed", "-L.", "-ly", "-lc")
        self.finds(elf.check(library), "needs liby.so.8")

    def test_glibc(self):
        for name in documents.GLIBC_DOCUMENTS:
            self.write(name, "glibc 2.2.5\nor newer" if name == documents.MANUAL else "glibc 2.34\nor newer")
        library = self.library("void *dlsym(void *, char *); void *f(void) { return dlsym(0, 0); }", "-lc")
        self.finds(documents.check_glibc(self.root, library), "docs/man/labyrinth.3:1: ")

    def test_elf_soname(self):
        self.finds(elf.check(self.library("int x;", "-Wl,-soname,libx.so")), "no soname")


if __name__ == "__main__":
    unittest.main()
