"""Purpose: the demonstration of `./dev run`: two real programs on glibc's malloc and on Labyrinth, side by side.

A Python program and a Redis server run several times in turn on either. It prints times and peak memory, checks that the
results are the same, and then what Labyrinth did, from one more run that keeps statistics. Usage: demo.py [--quick] LIBRARY
"""

import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
RUNS = 1 if "--quick" in sys.argv[1:] else 3  # of each, in turn; the median counts
CLASSES = 12  # size classes to show: those with the most allocations
TOLD = ("allocated ", "active ", "resident ", "purged ", "blocks ", "large_blocks ", "huge_blocks ", "heaps ", "remote_frees ", "reentrant_calls ", "adopted_heaps ")


class Measurement:
    """What one run took, and what it answered."""

    def __init__(self, seconds, peak_kib, result):
        self.seconds, self.peak_mib, self.result = seconds, peak_kib / 1024, result


def glibc_path():
    """The C library's own file: preloaded, it puts glibc's malloc before one that the program is linked with (Redis is
    linked with jemalloc in Debian)."""
    found = re.search(r"\S*/libc\.so\.6", pathlib.Path("/proc/self/maps").read_text())
    return found.group() if found else "libc.so.6"


def environment(preload, stats_file=None):
    env = {key: value for key, value in os.environ.items() if not key.startswith("LABYRINTH_")}
    env |= {"LD_PRELOAD": str(preload), "PYTHONHASHSEED": "0"}
    if stats_file:
        env |= {"LABYRINTH_STATS": "1", "LABYRINTH_STATS_FILE": f"{stats_file}.%p"}
    return env


def run_python(env, _folder):
    """The whole life of the Python program. Returns its measurement and its process id.

    The kernel's peak of a child is never below that of its parent when it forked: this job must come first, while
    demo.py itself is small.
    """
    begin = time.monotonic()
    command = [sys.executable, "-B", HERE / "demo_workload.py"]
    process = subprocess.Popen(command, env=env | {"PYTHONMALLOC": "malloc"}, stdout=subprocess.PIPE)
    result = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"demo: the Python program failed, status {process.returncode}")
    return Measurement(time.monotonic() - begin, usage.ru_maxrss, result), process.pid


def run_redis(env, folder):
    """A server that is filled, put under redis-benchmark, and asked for a digest of all its data. The clients run on
    glibc's malloc always. Returns the server's measurement and process id."""
    data = pathlib.Path(tempfile.mkdtemp(dir=folder))
    path = data / "redis.sock"
    options = ["--port", "0", "--unixsocket", path, "--dir", data, "--save", "", "--enable-debug-command", "local"]
    server = subprocess.Popen(["redis-server", *options], env=env, stdout=subprocess.DEVNULL)
    try:
        wait_for_socket(path, server)
        begin = time.monotonic()
        client(path, "redis-cli", "--pipe", stdin=redis_commands())
        client(path, "redis-benchmark", "-q", "-n", "60000", "-c", "20", "-P", "8", "-d", "300",
               "-t", "set,get,incr,lpush,lpop,hset,lrange_100,mset")
        seconds = time.monotonic() - begin
        result = client(path, "redis-cli", "DEBUG", "DIGEST") + client(path, "redis-cli", "DBSIZE")
        peak = peak_kib(server.pid)
    finally:
        server.terminate()
        server.wait(20)
    if server.returncode != 0:
        sys.exit(f"demo: redis-server ended with status {server.returncode}")
    return Measurement(seconds, peak, result), server.pid


def client(path, program, *argv, stdin=b""):
    out = subprocess.run([program, "-s", path, *argv], input=stdin, capture_output=True, timeout=120)
    if out.returncode != 0:
        sys.exit(f"demo: {program} failed: {out.stderr.decode(errors='replace').strip()}")
    return out.stdout


def redis_commands():
    """Keys of several kinds and many sizes, replaced and deleted in between; deterministic."""
    commands = []
    for i in range(60_000):
        commands.append(f"SET string:{i % 40000} {'v' * (i * 7 % 900 + 1)}")
        commands.append(f"HSET hash:{i % 500} field{i} {i * i}")
        commands.append(f"RPUSH list:{i % 200} {'e' * (i % 150 + 1)}")
        if i % 7 == 0:
            commands.append(f"DEL string:{i // 2}")
    return "\r\n".join(commands).encode() + b"\r\n"


def wait_for_socket(path, server):
    for _ in range(400):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                return s.connect(str(path))
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.05)
    sys.exit("demo: redis-server does not answer")


def peak_kib(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def compare(job, library, folder):
    """Runs in turn on glibc's malloc and on the library. Returns the two lists of measurements."""
    glibc, loaded = [], []
    for _ in range(RUNS):
        glibc.append(job(environment(glibc_path()), folder)[0])
        loaded.append(job(environment(library), folder)[0])
    return glibc, loaded


def print_comparison(glibc, loaded):
    """Two lines of figures. Returns whether all results were the same."""
    for name, unit, figure in ("time", "s", lambda m: m.seconds), ("peak memory", "MiB", lambda m: m.peak_mib):
        before, after = (statistics.median(map(figure, runs)) for runs in (glibc, loaded))
        print(f"  {name:12} glibc {before:8.2f} {unit:4} Labyrinth {after:8.2f} {unit:4} ratio {after / before:.2f}")
    same = len({measurement.result for measurement in glibc + loaded}) == 1
    print(f"  results      {'the same in all runs' if same else 'DIFFERENT'}")
    return same


def print_statistics(job, library, folder):
    """One more run, with LABYRINTH_STATS: what the allocator did in the program's main process."""
    stats = pathlib.Path(folder) / "stats"
    _, pid = job(environment(library, stats), folder)
    file = pathlib.Path(f"{stats}.{pid}")
    print("  what the allocator did (one more run, with LABYRINTH_STATS=1; the main process, at its end):")
    if not file.exists():
        print("    the library wrote no figures")
        return
    lines = [line.removeprefix("labyrinth: ") for line in file.read_text().splitlines()]
    heading = next((i for i, line in enumerate(lines) if line.split()[:2] == ["class", "size"]), len(lines))
    for line in lines[:heading]:
        if line.startswith(TOLD):
            print("    " + line)
    print("    " + "".join(lines[heading:heading + 1]))
    for line in busiest([line for line in lines[heading + 1:] if re.fullmatch(r"[\d\s]+", line)]):
        print("    " + line)


def busiest(table):
    """The lines of the size classes with the most allocations (the last column), and what the others add up to."""
    by_allocations = sorted(table, key=lambda line: -int(line.split()[-1]))
    kept, rest = set(by_allocations[:CLASSES]), by_allocations[CLASSES:]
    lines = [line for line in table if line in kept]
    if rest:
        lines.append(f"and {len(rest)} more classes with {sum(int(line.split()[-1]) for line in rest)} allocations")
    return lines


def main():
    library = pathlib.Path(sys.argv[-1]).resolve()
    jobs = [("Python: threads, subprocesses, json, sqlite3 (PYTHONMALLOC=malloc)", run_python)]
    if shutil.which("redis-server"):
        jobs.append(("Redis: filled through redis-cli, then under redis-benchmark", run_redis))
    else:
        print("Redis is not installed: not run")
    print(f"{library.name} against glibc's malloc, medians of {RUNS} runs in turn, {os.cpu_count()} CPUs", flush=True)
    all_same = True
    with tempfile.TemporaryDirectory(prefix="labyrinth-demo-") as folder:
        for title, job in jobs:
            print(f"\n{title}", flush=True)
            all_same &= print_comparison(*compare(job, library, folder))
            print_statistics(job, library, folder)
    if not all_same:
        sys.exit("demo: the results differ between glibc's malloc and Labyrinth")


main()
