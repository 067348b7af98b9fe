"""Purpose: what the tests of real programs share: a box to run a program in, with a time limit, and its witnesses.

A case (a file in cases/) describes one real program by
    COMMANDS   what must be in PATH for it to run
    PACKAGES   the Debian packages that have these commands
    MAIN       the programs that must be seen to run on the library (names, default: COMMANDS)
    QUICK      whether it belongs to the quick half
    TIMEOUT    seconds for each of its two runs; longer is a hang
    run(box)   what to do; called once without and once with the library preloaded
Every command's output and exit status, and what run() records besides, must be the same in both runs.
"""

import contextlib
import hashlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import time

PATH = "/usr/bin:/bin:/usr/sbin:/sbin"  # Debian's programs, not what is in the caller's PATH
PROJECT = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(__file__).resolve().parent / "work"  # programs for the interpreters to run


class Failure(Exception):
    """Something that the program under test did, or did not, do. The text says what."""


def find_command(name):
    """The full path of a command of Debian's, or None. Postgres keeps its server programs out of PATH."""
    postgres = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    return shutil.which(name, path=":".join([PATH, *map(str, postgres)]))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def unprivileged_user(*names):
    """The first of these users that exists, for a server that refuses to run as root; None if we are not root."""
    if os.geteuid() != 0:
        return None
    for name in names:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise Failure(f"no user to run as: {', '.join(names)}")


class Box:
    """One run of a case: a folder to work in, the environment, and the record of what the programs answered."""

    def __init__(self, folder, shared, library, witness, witness_file, timeout):
        self.folder = folder  # the current folder, HOME and TMPDIR of all that runs here; empty at first
        self.shared = shared  # a folder that both runs of a case see
        self.records = []  # (label, bytes): what must be equal in both runs
        self.stderr_path = folder / "stderr.log"
        self.deadline = time.monotonic() + timeout
        self.timeout = timeout
        self.user = None  # a passwd entry: whom to run as from now on
        self.env = {
            "PATH": PATH,
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "LD_PRELOAD": ":".join(filter(None, [str(witness), library and str(library)])),
            "WITNESS_FILE": str(witness_file),
        }

    # --- what a case calls ---

    def run(self, *argv, stdin=b"", status=0, record=True, env=None):
        """Run a command to its end, and return its standard output. It must end with the given exit status."""
        argv = [str(a) for a in argv]
        process = self._start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        try:
            out, _ = process.communicate(stdin, timeout=self.time_left())
        except subprocess.TimeoutExpired:
            raise Failure(self._report_hang(process, argv)) from None
        self._check_status(process, argv, status, out)
        if record:
            self.record(" ".join(argv), out)
        return out

    def record(self, label, value):
        """Remember something that must be the same in both runs."""
        self.records.append((label, value if isinstance(value, bytes) else str(value).encode()))

    def record_files(self, pattern):
        """Remember the names and contents of the files that match the pattern, of which there must be at least one."""
        files = sorted(p for p in self.folder.glob(pattern) if p.is_file())
        self.check(files, f"no file {pattern} was made")
        for path in files:
            self.record(str(path.relative_to(self.folder)), hashlib.sha256(path.read_bytes()).hexdigest())

    def check(self, condition, why):
        if not condition:
            raise Failure(f"{why}{self._stderr_tail()}")

    @contextlib.contextmanager
    def serve(self, *argv, ready, stop=signal.SIGTERM, env=None):
        """Run a server while the `with` block runs; `ready()` says when it answers. It must end by `stop` with status 0."""
        argv = [str(a) for a in argv]
        process = self._start(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env)
        try:
            while not ready():
                self.check(process.poll() is None, f"{argv[0]} ended at once, status {process.returncode}")
                if self.time_left() <= 0.1:
                    raise Failure(self._report_hang(process, argv))
                time.sleep(0.05)
            yield process
            process.send_signal(stop)
            try:
                process.wait(self.time_left())
            except subprocess.TimeoutExpired:
                raise Failure(self._report_hang(process, argv)) from None
            self._check_status(process, argv, 0)
        finally:
            kill_session(process)

    def become(self, user):
        """Run everything from now on as this user (a passwd entry, or None for no change)."""
        if user is not None:
            for path in [self.folder, *self.folder.rglob("*")]:
                os.chown(path, user.pw_uid, user.pw_gid)
        self.user = user

    # --- how it is done ---

    def _start(self, argv, env, **streams):
        command = find_command(argv[0]) or argv[0]
        identity = {}
        if self.user is not None:
            identity = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        with open(self.stderr_path, "ab") as stderr:
            return subprocess.Popen([command, *argv[1:]], cwd=self.folder, env=self.env | (env or {}), stderr=stderr,
                                    start_new_session=True, **streams, **identity)

    def time_left(self):
        return max(0.1, self.deadline - time.monotonic())

    def _check_status(self, process, argv, expected, out=b""):
        status = process.returncode
        if status == expected:
            return
        what = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        raise Failure(f"{' '.join(argv)[:200]}: {what} instead of {expected}"
                      f"{tail('stdout', out)}{self._stderr_tail()}")

    def _stderr_tail(self):
        return tail("stderr", self.stderr_path.read_bytes() if self.stderr_path.exists() else b"")

    def _report_hang(self, process, argv):
        """Where every thread of every process stands that the command started; then they are ended."""
        traces = [backtrace(pid) for pid in session_members(process.pid)]
        kill_session(process)
        return "\n".join([f"{' '.join(argv)[:200]}: no end after {self.timeout} s (a hang)", *traces])


def tail(title, text):
    """The last lines of a text, to be added to a message."""
    return "".join(f"\n    {title}: {line[:300]}" for line in text.decode(errors="replace").splitlines()[-12:])


def session_members(leader):
    """The processes of the session that this process began: its descendants, if none has begun another."""
    members = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()  # state ppid pgrp session …
            if int(fields[3]) == leader:
                members.append(int(stat.parent.name))
    return sorted(members)


def kill_session(process):
    """End what is left of a command that we started. After an orderly end there is nothing left."""
    for pid in session_members(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if process.stdout:
        process.stdout.close()
    process.wait()


def backtrace(pid):
    """The stacks of all threads of a process, by gdb if it is there."""
    title = f"    process {pid} ({pathlib.Path(f'/proc/{pid}/comm').read_text().strip()})"
    if not shutil.which("gdb"):
        return f"{title}: no gdb, no backtrace"
    command = ["gdb", "-nx", "-batch", "-p", str(pid), "-ex", "set width 0", "-ex", "thread apply all backtrace 30"]
    try:
        out = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60)
    except subprocess.TimeoutExpired:
        return f"{title}: gdb did not end"
    lines = [line for line in out.stdout.splitlines() if line.startswith(("Thread", "#"))]
    return "\n".join([f"{title}:", *(f"        {line}" for line in lines)])
