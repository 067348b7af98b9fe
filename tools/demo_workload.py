"""Purpose: the Python program of the demonstration: threads, subprocesses, json and sqlite3, with a fixed output.

Run by demo.py with PYTHONMALLOC=malloc, so that every Python object is a block of the allocator's.
With an argument it is the child of itself: it does one piece of the work in a process of its own.
"""

import hashlib
import json
import queue
import random
import sqlite3
import subprocess
import sys
import threading


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def make_tree(chance, depth):
    if depth == 0:
        return "leaf" * chance.randrange(40)
    return {f"k{i}": make_tree(chance, depth - 1) for i in range(5)} | {"n": [chance.random() for _ in range(6)]}


def json_work(seed):
    """Trees of small objects, written as text and read again: small blocks and growing strings."""
    chance = random.Random(seed)
    sizes = []
    for _ in range(5):
        text = json.dumps(make_tree(chance, 6))
        sizes.append((len(text), digest(json.loads(text))))
    return digest(sizes)


def sqlite_work(rows):
    """A table in memory, indexed, grouped and thinned out: SQLite's pages and Python's rows."""
    chance = random.Random(rows)
    base = sqlite3.connect(":memory:")
    base.execute("create table t (id integer primary key, name text, value real)")
    base.executemany("insert into t (name, value) values (?, ?)",
                     ((f"name {chance.randrange(3000)} " * 4, chance.random()) for _ in range(rows)))
    base.execute("create index i on t (name, value)")
    groups = base.execute("select name, count(*), sum(value) from t group by name order by name").fetchall()
    base.execute("delete from t where id % 3 = 0")
    return digest((groups, base.execute("select count(*), max(name) from t").fetchall()))


def hand_over(items):
    """One thread makes objects that another one drops: every one of them is a remote free."""
    channel = queue.Queue(1000)

    def make():
        for i in range(items):
            channel.put("x" * (i % 700))
        channel.put(None)

    maker = threading.Thread(target=make)
    maker.start()
    total = sum(map(len, iter(channel.get, None)))
    maker.join()
    return total


def in_threads(function, arguments):
    results = {}
    threads = [threading.Thread(target=lambda a=a: results.update({a: function(a)})) for a in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[a] for a in arguments]


def in_processes(seeds):
    children = [subprocess.Popen([sys.executable, __file__, str(seed)], stdout=subprocess.PIPE, text=True) for seed in seeds]
    return [child.communicate()[0].strip() for child in children]


def main():
    print("json in threads    ", *in_threads(json_work, range(4)))
    print("handed over        ", hand_over(150_000))
    print("sqlite             ", sqlite_work(60_000))
    print("json in processes  ", *in_processes(range(4)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json_work(int(sys.argv[1])))
    else:
        main()
