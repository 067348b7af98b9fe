"""Purpose: Python work with the same output in every run: threads, processes, json, sqlite3 and other C modules.

Run by cases/python3.py.
"""

import concurrent.futures
import ctypes
import decimal
import gc
import hashlib
import json
import multiprocessing
import random
import re
import sqlite3
import subprocess
import sys
import threading
import zlib


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def make_tree(seed, depth=5):
    chance = random.Random(seed)
    if depth == 0:
        return "x" * chance.randrange(200)
    return {f"k{i}": make_tree(chance.random(), depth - 1) for i in range(4)} | {"n": [chance.random() for _ in range(8)]}


def json_work(seed):
    text = json.dumps(make_tree(seed), indent=1)
    return digest(json.loads(text)), len(text)


def sqlite_work(seed):
    chance = random.Random(seed)
    base = sqlite3.connect(":memory:")
    base.execute("create table t (id integer primary key, name text, value real)")
    base.executemany("insert into t (name, value) values (?, ?)",
                     ((f"name{chance.randrange(500)}" * 5, chance.random()) for _ in range(5000)))
    base.execute("create index i on t (name, value)")
    base.create_aggregate("joined", 1, Joined)
    return digest(base.execute("select name, count(*), sum(value), joined(id) from t group by name").fetchall())


class Joined:
    def __init__(self):
        self.items = []

    def step(self, item):
        self.items.append(str(item))

    def finalize(self):
        return ",".join(sorted(self.items))


def bytes_work(seed):
    data = random.Random(seed).randbytes(200_000)
    packed = zlib.compress(data * 3)
    growing = bytearray()
    for i in range(0, len(data), 100):
        growing += data[i:i + 100]
    buffers = [ctypes.create_string_buffer(n) for n in range(1, 3000, 7)]
    words = re.findall(r"[a-f]+\d", data.hex())
    return digest((zlib.decompress(packed) == data * 3, bytes(growing) == data, len(buffers), words))


def all_work(seed):
    decimal.getcontext().prec = 200
    return [json_work(seed), sqlite_work(seed), bytes_work(seed), str(decimal.Decimal(seed + 2).sqrt())]


def hand_over():
    """Objects that one thread makes and another drops."""
    made, taken = [], []

    def make():
        for i in range(20_000):
            made.append("%d" % i * (i % 50))

    def take():
        while len(taken) < 20_000:
            if made:
                taken.append(len(made.pop()))

    threads = [threading.Thread(target=make), threading.Thread(target=take)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(taken), sum(taken)


def main():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print("threads", digest(list(pool.map(all_work, range(6)))))
    print("hand-over", hand_over())
    for method in "fork", "spawn":
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, digest(pool.map(all_work, range(4))))
    child = "import json; print(len(json.dumps(list(range(100000)))))"
    print("subprocess", [subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout for _ in range(3)])
    for _ in range(2000):  # short-lived threads
        thread = threading.Thread(target=bytes, args=(4000,))
        thread.start()
        thread.join()
    print("garbage", gc.collect() >= 0)


if __name__ == "__main__":
    main()
