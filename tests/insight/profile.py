#!/usr/bin/env python3
"""The heap profile of a program whose memory is known (sites.c), read by a decoder of its own: what each site has asked for
and has in use; exactly where every block is sampled, within six standard deviations where some are. Also the dumps by
signal, by call and at exit, the child's, the report of leaks, and what `labyrinth profile` makes of the file.

usage: profile.py LIBRARY SITES [TOOL]
"""
import gzip
import json
import math
import os
import re
import subprocess
import sys
import tempfile

KIB, MIB = 1024, 1 << 20
SMALL, MEDIUM, REMOTE, HANDLED, CHILD = 20000, 1000, 4000, 200, 1000
# site: (blocks, bytes of each, in use)
SITES = {
    "site_malloc": (SMALL, 200, True),
    "site_freed": (SMALL, 200, False),
    "site_medium": (MEDIUM, 8000, True),
    "site_calloc": (MEDIUM, 8000, True),
    "site_aligned": (MEDIUM, 8000, True),
    "site_remote": (REMOTE, 1000, False),
    "site_handler": (HANDLED, 4000, True),
}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            assert key & 7 == 2, "numbers and bytes alone"
            length, at = varint(data, at)
            value = data[at : at + length]
            assert len(value) == length
            at += length
        yield key >> 3, value


def packed(data):
    at, numbers = 0, []
    while at < len(data):
        value, at = varint(data, at)
        numbers.append(value)
    return numbers


class Profile:
    """A file, as profile.proto of pprof has it."""

    def __init__(self, path):
        self.strings, self.samples, self.mappings, self.locations, self.types = [], [], {}, {}, []
        self.period = 0
        with gzip.open(path) as file:  # checks length and CRC
            data = file.read()
        for number, value in fields(data):
            if number == 1:
                self.types.append(dict(fields(value)))
            elif number == 2:
                parts = dict(fields(value))
                self.samples.append((packed(parts[1]), packed(parts[2])))
            elif number == 3:
                parts = dict(fields(value))
                assert parts[1] not in self.mappings
                self.mappings[parts[1]] = parts
            elif number == 4:
                parts = dict(fields(value))
                assert parts[1] not in self.locations, "an id is one location's"
                self.locations[parts[1]] = parts
            elif number == 6:
                self.strings.append(value.decode())
            elif number == 12:
                self.period = value
        assert self.strings[0] == "" and any(re.fullmatch(r".*\d+\.\d+\.\d+", text) for text in self.strings), "its version"
        names = [(self.strings[t[1]], self.strings[t[2]]) for t in self.types]
        assert names == [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")]
        for ids, values in self.samples:
            assert len(values) == 4 and ids and all(i in self.locations for i in ids)
            assert values[2] <= values[0] and values[3] <= values[1]
        for location in self.locations.values():
            if 3 in location:
                mapping = self.mappings[location[2]]
                assert mapping[2] <= location[3] < mapping[3]

    def by_site(self, symbols, program):
        """{function of the program that is innermost: [values]}"""
        sums = {}
        for ids, values in self.samples:
            for i in ids:
                location = self.locations[i]
                mapping = self.mappings.get(location.get(2))
                if not mapping or self.strings[mapping[5]] != program:
                    continue
                address = location[3] - mapping[2] + mapping.get(4, 0)
                name = symbols(address)
                if name == "kept":
                    continue
                total = sums.setdefault(name, [0, 0, 0, 0])
                for k in range(4):
                    total[k] += values[k]
                break
        return sums


def symbols_of(program):
    """Functions by the offset of their code in the file: the program is position-independent."""
    table = []
    bias = 0
    for line in subprocess.run(["readelf", "-lW", program], check=True, capture_output=True, text=True).stdout.splitlines():
        words = line.split()
        if words[:1] == ["LOAD"] and "E" in words[6:8]:
            bias = int(words[2], 16) - int(words[1], 16)
    for line in subprocess.run(["nm", "-S", program], check=True, capture_output=True, text=True).stdout.splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tT":
            table.append((int(words[0], 16) - bias, int(words[1], 16), words[3].split(".")[0]))

    def find(address):
        for start, size, name in table:
            if start <= address < start + size:
                return name
        return "?"

    return find


def build_id(path):
    text = subprocess.run(["readelf", "-n", path], check=True, capture_output=True, text=True).stdout
    return next((line.split()[-1] for line in text.splitlines() if "Build ID" in line), "")


def run(library, program, work, distance, arguments=(), **settings):
    environment = dict(os.environ, LD_PRELOAD=library, LABYRINTH_HEAP_PROFILE=str(distance), LABYRINTH_HEAP_PROFILE_FILE=f"{work}/%n.%p.gz", MALLOC_PERTURB_="0", **settings)
    process = subprocess.Popen([program, *arguments], env=environment, stderr=subprocess.PIPE, text=True)
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, (process.returncode, errors)
    return process.pid, errors


def check(name, got, blocks, size, distance):
    p = 1.0 if distance <= 1 else -math.expm1(-size / distance)
    deviation = math.sqrt(blocks * (1 - p) / p)
    # rounding: each sum is of rounded numbers
    slack = 6 * deviation + (0 if distance <= 1 else 0.001 * blocks + 1)
    assert abs(got[0] - blocks) <= slack, (name, got, blocks, slack)
    assert abs(got[1] - blocks * size) <= slack * size, (name, got, blocks * size)


def check_profile(profile, program, distance, child=False):
    assert profile.period == distance
    sums = profile.by_site(symbols_of(program), program)
    for name, (blocks, size, in_use) in SITES.items():
        check(name, sums.get(name, [0] * 4), blocks, size, distance)
        check(name + " in use", sums.get(name, [0] * 4)[2:], blocks if in_use else 0, size, distance)
    if child:
        check("site_child", sums.get("site_child", [0] * 4)[2:], CHILD, 3000, distance)
    # realloc: one block in use, as large as it has become; larger than any distance here by far
    grown = sums["site_grown"]
    assert grown[2:] == [1, 16 * MIB], grown
    mapping = next(m for m in profile.mappings.values() if profile.strings[m[5]] == program)
    assert profile.strings[mapping[6]] == build_id(program)


def check_tool(tool, path, work):
    result = subprocess.run([tool, "profile", "--json", "--type", "inuse_objects", path], check=True, capture_output=True, text=True)
    rows = {row["name"]: row for row in json.loads(result.stdout)["functions"]}
    assert rows["site_malloc"]["own"] + rows.get("kept", {"own": 0})["own"] >= SMALL, rows
    assert rows["main"]["all"] >= SMALL + 3 * MEDIUM, rows
    table = subprocess.run([tool, "profile", path], check=True, capture_output=True, text=True).stdout
    assert "site_grown" in table and "MiB" in table
    picture = f"{work}/picture.svg"
    folded = subprocess.run([tool, "profile", "--folded", "--svg", picture, path], check=True, capture_output=True, text=True).stdout
    assert any(line.startswith("_start;") and "main;site_malloc" in line for line in folded.splitlines()), folded
    with open(picture, encoding="utf-8") as file:
        text = file.read()
    import xml.etree.ElementTree

    xml.etree.ElementTree.fromstring(text)
    assert "site_medium" in text
    with open(f"{work}/bad", "wb") as file:
        file.write(b"no profile at all")
    for bad in (f"{work}/bad", f"{work}/not-there"):
        result = subprocess.run([tool, "profile", bad], capture_output=True, text=True)
        assert result.returncode == 1 and result.stderr.startswith("labyrinth: "), result
    assert subprocess.run([tool, "profile"], capture_output=True).returncode == 2


def main():
    library, program = sys.argv[1:3]
    program = os.path.realpath(program)
    tool = sys.argv[3] if len(sys.argv) > 3 else None
    with tempfile.TemporaryDirectory() as work:
        pid, errors = run(library, program, work, 1, [f"{work}/called.gz"], LABYRINTH_LEAKS="1", LABYRINTH_HEAP_PROFILE_SIGNAL="USR2", SITES_SIGNAL="12")
        # 0: by the call, under its own name; 1: by the signal; 2: at exit. The child's is its second, at its exit.
        check_profile(Profile(f"{work}/called.gz"), program, 1)
        check_profile(Profile(f"{work}/1.{pid}.gz"), program, 1)
        check_profile(Profile(f"{work}/2.{pid}.gz"), program, 1)
        children = [name for name in os.listdir(work) if name.startswith("2.") and f".{pid}." not in name]
        assert len(children) == 1, os.listdir(work)
        check_profile(Profile(f"{work}/{children[0]}"), program, 1, child=True)
        leaks = [line for line in errors.splitlines() if line.startswith("labyrinth: in use at exit: ")]
        assert len(leaks) == 2, errors
        assert f"labyrinth:     {program}+0x" in errors
        if tool:
            check_tool(tool, f"{work}/2.{pid}.gz", work)
        for distance in (4 * KIB, 64 * KIB):
            pid, errors = run(library, program, work, distance)
            assert not errors, errors
            check_profile(Profile(f"{work}/0.{pid}.gz"), program, distance)
        # nowhere to write to: one line
        _, errors = run(library, program, "/nonexistent", 1 << 20)
        assert errors.count("the heap profile cannot be written") >= 1, errors
        # beside `check`: one line, and no file
        process = subprocess.run([program, f"{work}/off.gz"], env=dict(os.environ, LD_PRELOAD=library, LABYRINTH_CHECK="secure", LABYRINTH_HEAP_PROFILE="1"),
                                 capture_output=True, text=True, check=False)
        assert process.returncode == 2 and process.stderr.count("no heap profile is made") == 1, process
        # off: no file, and the call says so
        process = subprocess.run([program, f"{work}/off.gz"], env=dict(os.environ, LD_PRELOAD=library), check=False)
        assert process.returncode == 2 and not os.path.exists(f"{work}/off.gz")
    print("profile.py: passed")


if __name__ == "__main__":
    main()
