#!/usr/bin/env python3
"""Starts programs in ways that need more than LD_PRELOAD, and looks at what they say.

usage: boot.py LIBRARY CASE PROGRAM [MODULE]
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NOBODY = 65534


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LD_", "LABYRINTH_", "MALLOC_"))}
    return kept | {name: str(value) for name, value in variables.items()}


def run(command, variables):
    """What a command writes; ends the test if it fails."""
    result = subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        sys.exit(f"status {result.returncode}: {' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def demand(is_so, what, output):
    if not is_so:
        sys.exit(f"{what}; the output was:\n{output}")


def audit(library, program, module):
    """An LD_AUDIT module that allocates, with the drop-in and without."""
    for variables, arguments in ({"LD_PRELOAD": library}, []), ({}, ["glibc"]):
        output = run([program, *arguments], environment(LD_AUDIT=module, **variables))
        demand("audit module: all well" in output, "the audit module did not end well", output)


def loader(library, program):
    """The loader as a program, --preload, with no environment whatever."""
    segments = run(["readelf", "-Wl", program], environment(LC_ALL="C"))
    interpreter = re.search(r"interpreter: (.*)\]", segments)[1]
    if "--preload" not in run([interpreter, "--help"], environment()):
        print("not run: this loader has no --preload")
        sys.exit(77)
    for variables in {}, environment(), environment(LABYRINTH_STATS=1):
        output = run([interpreter, "--preload", library, program], variables)
        demand(bool(output) == ("LABYRINTH_STATS" in variables), "figures were printed wrongly", output)


def last(library, program, module):
    """Another library's destructor allocates before ours prints its figures, and after; its constructor takes environ away before we look."""
    ours_first = []
    for order in [library, module], [module, library]:
        output = run([program], environment(LD_PRELOAD=":".join(order), LABYRINTH_STATS=1))
        lines = output.splitlines()
        demand(len(lines) > 3 and lines.count("last: destructed") >= 1, "figures or the destructor's line are missing", output)
        ours_first.append(lines[-1] == "last: destructed")
    demand(any(ours_first), "no order ran the other destructor after ours", output)
    silent = []
    for order in [library, module], [module, library]:
        output = run([program], environment(LD_PRELOAD=":".join(order), LABYRINTH_STATS=1, NO_ENVIRONMENT=1))
        silent.append("labyrinth" not in output)
    demand(any(silent), "no order took the environment away before we read it", output)


def stats_file(library, program, module):
    """Figures go to a file although every descriptor is closed, and none stays open; `module` looks when ours is done."""
    with tempfile.TemporaryDirectory() as folder:
        for when, order in itertools.product(["early", "late"], [[library, module], [module, library]]):
            file = Path(folder) / when
            variables = environment(LD_PRELOAD=":".join(order), LABYRINTH_STATS=1, LABYRINTH_STATS_FILE=f"{file}.%p", NO_FILES=1)
            process = subprocess.Popen([program, when], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            demand(process.wait() == 0, f"{when}: the program failed", "")
            text = Path(f"{file}.{process.pid}").read_text()
            demand(text.startswith("labyrinth: ") and len(text.splitlines()) > 3, f"{when}: no figures", text)


def stats_stderr(library, program, module):
    """Figures go to stderr although the program closes it before it ends, as coreutils do; never to a file that has its number."""
    with tempfile.TemporaryDirectory() as folder:
        for command in [["/bin/echo", "text"], ["/bin/ls", folder], ["/bin/bash", "-c", "exec 2>&-; echo text"]]:
            process = subprocess.run(command, env=environment(LD_PRELOAD=library, LABYRINTH_STATS=1), capture_output=True, text=True)
            demand(process.returncode == 0 and process.stderr.count("labyrinth: in use") == 1, f"{command}: no figures", process.stderr)
        for keeps_2, expected in [(True, True), (False, False)]:
            file = Path(folder) / f"own-{keeps_2}"
            script = f"import os; os.closerange(2, 1024); os.open({str(file)!r}, os.O_CREAT | os.O_WRONLY); [os.dup2(2, n) for n in range(3, 400)]"
            script += "" if keeps_2 else "; os.close(2)"
            process = subprocess.run(["/usr/bin/python3", "-c", script], env=environment(LD_PRELOAD=library, LABYRINTH_STATS=1), capture_output=True)
            demand(process.returncode == 0 and ("labyrinth" in file.read_text()) == expected, f"figures in the program's own file: {not expected}", "")


def deepbind(library, program):
    """Without meson's LD_LIBRARY_PATH, which would find what only a RUNPATH is to find."""
    run([program], environment(LD_PRELOAD=library))


def set_user_id(library, source):
    """A set-user-ID program that is linked with the library, which lies beside it: no setting counts, nothing is said, no file is made."""
    settings = {"LABYRINTH_" + name: value for name, value in
                dict(PERTURB="85", LIMIT="1G", RESERVE="0", BACKGROUND_THREAD="1", STATS="1", DECAY_MS="rubbish").items()}
    with tempfile.TemporaryDirectory(prefix="labyrinth-setuid-") as folder:
        folder, program = Path(folder), Path(folder) / "program"
        folder.chmod(0o777) # whoever the program is, its file could be made here
        copy = folder / "liblabyrinth.so.0"
        shutil.copy(library, copy)
        copy.chmod(0o755)
        run(["cc", "-fno-builtin", f"-I{Path(source).parents[2] / 'include'}", "-o", program, source, copy, f"-Wl,-rpath,{folder}"], environment())
        figures, said = folder / "figures", environment(LABYRINTH_STATS_FILE=folder / "figures", **settings)
        output = run([program], said)
        demand("plain: perturb limit reserve background\n" in output, "an ordinary program does not have its settings", output)
        demand("LABYRINTH_DECAY_MS=rubbish: ignored" in output and figures.exists(), "an ordinary program says nothing", output)
        figures.unlink()
        if os.geteuid() != 0:
            print("not run: only root makes a set-user-ID program of another user")
            sys.exit(77)
        os.chown(program, NOBODY, NOBODY)
        program.chmod(0o4755)
        output = run([program], said | {"LD_PRELOAD": "", "LD_LIBRARY_PATH": "/nowhere"})
        if output.startswith("plain:"):
            print("not run: /tmp does not let programs be set-user-ID")
            sys.exit(77)
        demand(output == "secure:\n", "a set-user-ID program has settings, or says something", output)
        demand(not figures.exists(), "a set-user-ID program made a file", output)


def settings(library, source):
    """Settings come from a program's lab_conf, LABYRINTH_CONF, variables and /etc/labyrinth.conf, also for a constructor that comes first."""
    with tempfile.TemporaryDirectory(prefix="labyrinth-conf-") as folder:
        folder = Path(folder)

        def build(name, *arguments):
            run(["cc", "-fno-builtin", "-O1", "-o", folder / name, source, *arguments], environment())
            return folder / name

        conf = '-DCONF="perturb:85"'
        shutil.copy(library, folder / "liblabyrinth.so.0")
        plain, hidden = build("plain"), build("hidden", conf)
        exported = [build("rdynamic", conf, "-rdynamic"), build("symbol", conf, "-Wl,--export-dynamic-symbol=lab_conf")]
        linked = build("linked", conf, folder / "liblabyrinth.so.0", f"-Wl,-rpath,{folder}")
        module = build("early.so", "-DLIBRARY", "-shared", "-fPIC")
        cases = [(plain, {}, "00"), (hidden, {}, "00"), *[(program, {}, "aa") for program in exported],
                 (exported[0], {"LABYRINTH_CONF": "perturb:90"}, "a5"), (plain, {"LABYRINTH_CONF": "decay_ms:5,perturb:90"}, "a5"),
                 (plain, {"LABYRINTH_CONF": "perturb:90", "LABYRINTH_PERTURB": "85"}, "aa")]
        for program, variables, expected in cases:
            output = run([program], environment(LD_PRELOAD=library, **variables))
            demand(output == f"main: {expected}\n", f"{program.name}, {variables}: not {expected}", output)
        output = run([linked], environment())
        demand(output == "main: aa\n", "a linked program does not have its settings", output)
        for order in [library, module], [module, library]:
            output = run([plain], environment(LD_PRELOAD=":".join(map(str, order)), LABYRINTH_CONF="perturb:85"))
            demand(output == "early: aa\nmain: aa\n", f"{order}: the first block is not as the settings are", output)
        etc = folder / "etc"
        etc.mkdir()
        (etc / "labyrinth.conf").write_text("# all programs'\nperturb = 85\nperturbed: 1\n")
        in_etc = ["unshare", "-rm", "sh", "-c", f'mount --bind {etc} /etc && exec "$@"', "sh"]
        if subprocess.run([*in_etc, "true"], stderr=subprocess.DEVNULL).returncode:
            print("not run: nothing can be mounted over /etc here")
            sys.exit(77)
        output = run([*in_etc, "env", f"LD_PRELOAD={library}", plain], environment())
        complaint = "labyrinth: /etc/labyrinth.conf:3: perturbed: no such setting; the nearest is perturb\n"
        demand(output == complaint + "main: aa\n", "the file does not count", output)
        output = run([*in_etc, "env", f"LD_PRELOAD={library}", "LABYRINTH_PERTURB=0", plain], environment())
        demand(output == complaint + "main: 00\n", "a variable does not go before the file", output)


CASES = {"settings": settings, "setuid": set_user_id, "deepbind": deepbind, "audit": audit, "loader": loader, "last": last, "stats-file": stats_file, "stats-stderr": stats_stderr}

if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[2] not in CASES:
        sys.exit(__doc__ + "cases: " + " ".join(CASES))
    CASES[sys.argv[2]](*map(os.path.abspath, [sys.argv[1], *sys.argv[3:]]))
