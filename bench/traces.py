#!/usr/bin/python3
"""Records traces of real programs' allocations (record.c), for bench/play: made on the spot, so that none lies in the tree.

traces.py FOLDER [NAME…] writes FOLDER/NAME.trace for each program of PROGRAMS (or those named) that is installed. What a program is given to do
is fixed; addresses, and with them the order of a hash table, may differ between two recordings, so that a comparison uses one and the same file.
"""

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile

import allocators

PYTHON = """
import json, re, random, collections
random.seed(1)
N = {scale}
rows = [{{"id": i, "name": "row %d" % i, "tags": [str(j) for j in range(i % 20)], "size": random.random()}} for i in range(N)]
for _ in range(3):
    rows = json.loads(json.dumps(rows))
words = re.findall(r"[a-z]+", " ".join(row["name"] + "abc def" for row in rows))
print(len(rows), collections.Counter(words).most_common(1))
class Node:
    def __init__(self, value):
        self.value, self.left, self.right = value, None, None
root = Node(0.5)
for _ in range(N):
    at, value = root, random.random()
    while True:
        side = "left" if value < at.value else "right"
        if getattr(at, side) is None:
            setattr(at, side, Node(value))
            break
        at = getattr(at, side)
"""

SQLITE = """
import sqlite3
db = sqlite3.connect(":memory:")
db.execute("create table t (id integer primary key, name text, size real)")
db.execute("create index by_name on t (name)")
N = {scale}
for start in range(0, N, 500):
    db.executemany("insert into t values (?, ?, ?)", [(i, "name %d" % (i * 7919 % N), i / 3) for i in range(start, start + 500)])
    db.commit()
for i in range(0, N, 50):
    db.execute("select * from t where name = ?", ("name %d" % i,)).fetchall()
    db.execute("update t set size = size + 1 where id = ?", (i,))
print(db.execute("select count(*), avg(size) from t group by id % 10").fetchall()[:1])
"""

PERL = r"""
my ($n, %h, @l) = ({scale});
for my $i (1 .. $n) {{
    $h{{"key " . $i * 7919 % $n}} = [ map {{ "value $_" }} 1 .. $i % 8 ];
    push @l, join(",", @{{ $h{{"key " . $i * 7919 % $n}} }});
    splice(@l, 0, 100) if @l > 1000;
    delete $h{{"key " . $i * 104729 % $n}} if $i % 3 == 0;
}}
my $s = join("", sort map {{ length }} @l);
print scalar(keys %h), " ", length($s), "\n";
"""


def c_source(functions):
    """A C program whose compilation takes a while."""
    text = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nstruct s { int a[16]; double b; struct s *next; };\n"
    for i in range(functions):
        text += (f"static int f{i}(struct s *p, int n) {{ int sum = {i}; for (int i = 0; i < n; i++) {{ switch (p->a[i % 16] % 5) {{ case 0: sum += i; break; "
                 f"case 1: sum ^= p->a[(i + {i}) % 16]; break; case 2: if (p->next) sum += p->next->a[{i % 16}]; break; default: sum -= i * {i + 1}; }} }} "
                 f"return sum + (int)(p->b * {i}); }}\n")
    return text + "int main(void) { struct s s = {0}; int sum = 0;\n" + "".join(f"sum += f{i}(&s, {i});\n" for i in range(functions)) + "return sum; }\n"


def gcc(folder, scale):
    path = os.path.join(folder, "source.c")
    with open(path, "w", encoding="utf-8") as file:
        file.write(c_source(scale))
    return ["gcc", "-O2", "-c", path, "-o", os.path.join(folder, "source.o")], {}


def script(interpreter, text, **environment):
    return lambda _, scale: ([*interpreter, text.format(scale=scale)], environment)


# name: (what makes the command and its environment of a scratch folder and a scale, the scale, that of a quick run)
PROGRAMS = {
    "python": (script(["/usr/bin/python3", "-c"], PYTHON, PYTHONMALLOC="malloc", PYTHONHASHSEED="1"), 8000, 100),
    "sqlite": (script(["/usr/bin/python3", "-c"], SQLITE, PYTHONHASHSEED="1"), 40000, 500),
    "perl": (script(["perl", "-e"], PERL, PERL_HASH_SEED="1"), 60000, 300),
    "gcc": (gcc, 150, 3),
}


def record(name, recorder, output, quick=False):
    """Writes the trace of a program to `output`: that of its process which allocates most. None, or why there is none."""
    make, scale, quick_scale = PROGRAMS[name]
    with tempfile.TemporaryDirectory(prefix="labyrinth-trace-") as folder:
        command, environment = make(folder, quick_scale if quick else scale)
        if not shutil.which(command[0]):
            return f"{command[0]} is not installed"
        environment = dict(os.environ, LD_PRELOAD=recorder, TRACE_FILE=os.path.join(folder, "%p.trace"), **environment)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        found = max(glob.glob(os.path.join(folder, "*.trace")), key=os.path.getsize, default=None)
        if done.returncode != 0 or not found:
            return f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[:200]}"
        shutil.copy(found, output)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(PROGRAMS))
    parser.add_argument("--recorder", metavar="FILE", default=os.path.join(allocators.ROOT, "build", "release", "bench", "librecord.so"))
    parser.add_argument("--quick", action="store_true", help="small traces")
    arguments = parser.parse_intermixed_args()
    status = 0
    os.makedirs(arguments.folder, exist_ok=True)
    for name in arguments.names or PROGRAMS:
        if name not in PROGRAMS:
            parser.error(f"no such program: {name}")
        output = os.path.join(arguments.folder, name + ".trace")
        failure = record(name, arguments.recorder, output, arguments.quick)
        if failure:
            print(f"traces.py: {name}: {failure}", file=sys.stderr)
            status = 1
        else:
            print(f"{output}: {os.path.getsize(output)} bytes")
    return status


if __name__ == "__main__":
    sys.exit(main())
