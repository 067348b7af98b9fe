#!/usr/bin/env python3
"""Starts programs in ways that need more than LD_PRELOAD, and looks at what they say.

usage: boot.py LIBRARY CASE PROGRAM [MODULE]

Clauses: G12.4.
"""

import fcntl
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
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
            demand(process.returncode == 0 and process.stderr.count("labyrinth: allocated") == 1, f"{command}: no figures", process.stderr)
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
    """A set-user-ID program that is linked with the library, which lies beside it: no setting of the environment counts, nothing is said, and no
    file is made, though the program's own lab_conf asks for it."""
    settings = {"LABYRINTH_" + name: value for name, value in
                dict(PERTURB="85", LIMIT="1G", RESERVE="0", BACKGROUND_THREAD="1", STATS="1", DECAY_MS="rubbish").items()}
    with tempfile.TemporaryDirectory(prefix="labyrinth-setuid-") as folder:
        folder = Path(folder)
        folder.chmod(0o777) # whoever the program is, its file could be made here
        copy = folder / "liblabyrinth.so.0"
        shutil.copy(library, copy)
        copy.chmod(0o755)

        def build(name, *arguments):
            run(["cc", "-fno-builtin", f"-I{Path(source).parents[2] / 'include'}", *arguments, "-o", folder / name, source, copy, f"-Wl,-rpath,{folder}"],
                environment())
            return folder / name

        files = {name: folder / name for name in ("figures", "profile", "reports")}
        conf = f"stats_file:{files['figures']},heap_profile:1,heap_profile_file:{files['profile']},report_file:{files['reports']}"
        program, asking = build("program"), build("asking", f'-DCONF="{conf}"')
        said = environment(LABYRINTH_STATS_FILE=files["figures"], **settings)
        misuse = {"env": environment(), "capture_output": True, "check": False}

        def made():
            found = [name for name, file in files.items() if file.exists()]
            for name in found:
                files[name].unlink()
            return found

        output = run([program], said)
        demand("plain: perturb limit reserve background\n" in output, "an ordinary program does not have its settings", output)
        demand("LABYRINTH_DECAY_MS=rubbish: ignored" in output and made() == ["figures"], "an ordinary program says nothing", output)
        output = run([asking], environment())
        demand(made() == ["figures", "profile"], "an ordinary program makes no files", output)
        status = subprocess.run([asking, "misuse"], **misuse).returncode
        demand(status == -signal.SIGABRT and "reports" in made(), "an ordinary program's misuse is in no file", str(status))
        if os.geteuid() != 0:
            print("not run: only root makes a set-user-ID program of another user")
            sys.exit(77)
        for file in program, asking:
            os.chown(file, NOBODY, NOBODY)
            file.chmod(0o4755)
        output = run([program], said | {"LD_PRELOAD": "", "LD_LIBRARY_PATH": "/nowhere"})
        if output.startswith("plain:"):
            print("not run: /tmp does not let programs be set-user-ID")
            sys.exit(77)
        demand(output == "secure:\n" and not made(), "a set-user-ID program has settings, says something, or made a file", output)
        output = run([asking], environment())
        demand(output == "secure:\n" and not made(), "a set-user-ID program says something, or made the files that it asks for", output)
        status = subprocess.run([asking, "misuse"], **misuse).returncode
        left = made()
        demand(status == -signal.SIGABRT and not left, "a set-user-ID program's misuse made a file", f"{status} {left}")


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


def run_python(library, text, variables, *arguments):
    """What a Python program writes, on stdout and stderr together."""
    return run(["/usr/bin/python3", "-c", text, *arguments], environment(LD_PRELOAD=library, **variables))


def check_openmetrics(text):
    """Samples follow the TYPE of their family, counters end in _total, the names of jemalloc's figures are there, and the end is "# EOF"."""
    lines, types = text.splitlines(), {}
    demand(lines and lines[-1] == "# EOF" and lines.count("# EOF") == 1, "no end", text)
    for line in lines[:-1]:
        if line.startswith("# "):
            _, word, name, value = line.split(" ", 3)
            if word == "TYPE":
                demand(name not in types, f"{name} has two types", text)
                types[name] = value
            demand(name in types and (word != "UNIT" or name.endswith("_" + value)), line, text)
            continue
        sample = re.fullmatch(r'(\w+)(?:\{\w+="(?:[^"\\\n]|\\.)*"(?:,\w+="(?:[^"\\\n]|\\.)*")*\})? \d+', line)
        demand(sample, f"no sample: {line}", text)
        suffix = {"counter": "_total", "info": "_info", "gauge": ""}[types[list(types)[-1]]]
        demand(sample[1] == list(types)[-1] + suffix, f"not of its family: {line}", text)
    for name in "allocated", "active", "resident", "mapped", "retained", "metadata":
        demand(types.get(f"labyrinth_{name}_bytes") == "gauge", f"no {name}", text)


def check_storm(library, file):
    """A timer interrupts threads that allocate, anywhere, and each time the handler writes all figures."""
    text = "import signal, threading, time\nsignal.setitimer(signal.ITIMER_PROF, 0.002, 0.002)\nend = time.monotonic() + 3\n" \
           "def work():\n    while time.monotonic() < end: x = [bytes(n * 7) for n in range(2000)]\n" \
           "threads = [threading.Thread(target=work) for _ in range(3)]\n[t.start() for t in threads]\n[t.join() for t in threads]"
    run_python(library, text, {"LABYRINTH_STATS_FILE": file, "LABYRINTH_STATS_FORMAT": "json", "LABYRINTH_STATS_SIGNAL": "PROF"})
    output, count = file.read_text(), 0
    while output:
        data, end = json.JSONDecoder().raw_decode(output)
        demand(data["version"] and data["classes"] and data["pid"] > 0 and data["program"], "figures that were cut off", output[:end])
        output = output[end:].lstrip()
        count += 1
    demand(count >= 5, f"{count} dumps", "")


def figures(library):
    """Figures as JSON and OpenMetrics; by a signal and by time; in a file that was opened while that was allowed; a path that cannot be."""
    with tempfile.TemporaryDirectory(prefix="labyrinth-figures-") as folder:
        folder = Path(folder)
        odd = folder / 'a"b\\c'
        run_python(library, "x = [bytes(100)] * 10", {"LABYRINTH_STATS_FILE": odd, "LABYRINTH_STATS_FORMAT": "json", "LABYRINTH_DECAY_MS": 77})
        data = json.loads(odd.read_text())
        demand(data["settings"]["decay_ms"] == {"value": "77", "source": "variable"}, "not the setting", odd.read_text())
        demand(data["settings"]["stats_file"]["value"] == str(odd) and data["classes"][0]["size_bytes"] == 16, "not the figures", odd.read_text())
        demand(0 < data["allocated_bytes"] <= data["active_bytes"] <= data["mapped_bytes"], "figures that cannot be", odd.read_text())
        demand(sum(segment["active_bytes"] for segment in data["segments_by_size"]) + data["huge_bytes"] == data["active_bytes"], "sums", odd.read_text())
        run_python(library, "pass", {"LABYRINTH_STATS_FILE": folder / "metrics", "LABYRINTH_STATS_FORMAT": "openmetrics", "LABYRINTH_LIMIT": "1G"})
        check_openmetrics((folder / "metrics").read_text())
        thrice = "import os, signal; [os.kill(os.getpid(), signal.SIGUSR2) for _ in range(3)]"
        for name, form, counted in ("lines", "json", "0"), ("counted", "json", "1"), ("last", "openmetrics", "0"):
            run_python(library, thrice, {"LABYRINTH_STATS_FILE": folder / name, "LABYRINTH_STATS_FORMAT": form, "LABYRINTH_STATS_SIGNAL": "USR2",
                                         "LABYRINTH_STATS": counted})
        lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
        demand(len(lines) == 4 and not any("allocations" in entry for entry in lines[0]["classes"]), "not an object a line", str(lines))
        counts = [sum(entry["allocations"] for entry in json.loads(line)["classes"]) for line in (folder / "counted").read_text().splitlines()]
        demand(len(counts) == 4 and 0 < counts[0] <= counts[3], "not counted", str(counts))
        check_openmetrics((folder / "last").read_text())
        name = os.fsencode(folder) + b"/a\xff\xc3\xa4"
        shutil.copy("/bin/true", name)
        subprocess.run([name], env=environment(LD_PRELOAD=library, LABYRINTH_STATS_FILE=folder / "odd", LABYRINTH_STATS_FORMAT="json"), check=True)
        demand(json.loads((folder / "odd").read_bytes())["program"] == "a?\u00e4", "not UTF-8", str((folder / "odd").read_bytes()[:200]))
        slow = subprocess.Popen(["/usr/bin/python3", "-c", "import os; os.set_blocking(2, False)"], stderr=subprocess.PIPE, text=True,
                                env=environment(LD_PRELOAD=library, LABYRINTH_STATS=1, LABYRINTH_STATS_FORMAT="json"))
        fcntl.fcntl(slow.stderr, fcntl.F_SETPIPE_SZ, 4096)
        output = ""
        while data := os.read(slow.stderr.fileno(), 500):  # a little at a time
            output += data.decode()
            time.sleep(0.002)
        demand(slow.wait() == 0 and json.loads(output)["classes"], "a pipe that does not block: cut off", output[-200:])
        output = run_python(library, thrice, {"LABYRINTH_STATS_SIGNAL": "USR2"})
        demand(output.count("labyrinth: version") == 3 and output.count("labyrinth: setting stats_signal: USR2") == 3, "not three times", output)
        text = "import time\nend = time.monotonic() + 20\n" \
               "while open('/proc/self/fd/2').read(100000).count('version') < 3 and time.monotonic() < end: x = [bytes(n) for n in range(3000)]"
        for background in "0", "1":
            variables = environment(LD_PRELOAD=library, LABYRINTH_STATS_INTERVAL=20, LABYRINTH_BACKGROUND_THREAD=background)
            with open(folder / f"times{background}", "w") as file:
                subprocess.run(["/usr/bin/python3", "-c", text], env=variables, stderr=file, check=True)
            output = (folder / f"times{background}").read_text()
            demand(output.count("labyrinth: version") >= 3, "not by time", output)
        check_storm(library, folder / "storm")
        output = run_python(library, "print('ran')", {"LABYRINTH_STATS_FILE": folder / "none" / "file"})
        demand(output.endswith("there is no such folder; no figures are written\nran\n") and output.count("\n") == 2, "not one line", output)
        if os.geteuid() != 0:
            print("not run: only root has rights to drop")
            sys.exit(77)
        locked = folder / "locked"
        locked.mkdir(mode=0o700)
        text = f"import os\nchild = os.fork()\nos.setgid({NOBODY})\nos.setuid({NOBODY})\nx = [bytes(100)] * 10\n" \
               "if child: print(child, os.waitpid(child, 0)[1])"
        output = run_python(library, text, {"LABYRINTH_STATS_FILE": locked / "stats.%p"})
        child = output.split()[0]
        files = {path.name: path.read_text() for path in locked.iterdir()}
        demand(len(files) == 2 and f"stats.{child}" in files and output.split()[1] == "0", "not a file each", str(files.keys()) + output)
        demand(all(text.count("labyrinth: version") == 1 for text in files.values()), "not the figures", str(files))


CASES = {"figures": figures, "settings": settings, "setuid": set_user_id, "deepbind": deepbind, "audit": audit, "loader": loader, "last": last, "stats-file": stats_file, "stats-stderr": stats_stderr}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[2] not in CASES:
        sys.exit(__doc__ + "cases: " + " ".join(CASES))
    CASES[sys.argv[2]](*map(os.path.abspath, [sys.argv[1], *sys.argv[3:]]))
