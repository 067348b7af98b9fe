#!/usr/bin/env python3
"""What pprof itself (`go tool pprof`) reads in the heap profile of a program whose memory is known (sites.c): every type of
sample, functions and lines by the mappings, what has grown between two profiles, and the file that pprof writes of ours.

usage: pprof.py LIBRARY SITES GO
"""
import os
import re
import subprocess
import sys
import tempfile

from profile import CHILD, SITES, run  # the test beside this one

UNITS = {"": 1, "B": 1, "kB": 1 << 10, "MB": 1 << 20}


class Pprof:
    def __init__(self, go, work):
        self.go = go
        # the machine's settings do not matter, nor does it look for files outside
        self.environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": work, "PPROF_TMPDIR": work}

    def __call__(self, *arguments):
        result = subprocess.run([self.go, "tool", "pprof", *arguments], env=self.environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, (arguments, result.stdout, result.stderr)
        return result.stdout

    def top(self, index, *arguments):
        """{function: own value} of the table that pprof prints."""
        text = self("-top", "-nodefraction=0", f"-sample_index={index}", *arguments)
        rows = {}
        for line in text.splitlines():
            words = line.split()
            match = len(words) >= 6 and re.fullmatch(r"(-?[\d.]+)(kB|MB|B|)", words[0])
            if match:
                rows[words[5]] = float(match[1]) * UNITS[match[2]]
        assert "flat%" in text, text
        return text, rows


def main():
    library, program, go = sys.argv[1:]
    program = os.path.realpath(program)
    with tempfile.TemporaryDirectory() as work:
        pprof = Pprof(go, work)
        pid, _ = run(library, program, work, 1, [f"{work}/called.gz"])
        own = [name for name in os.listdir(work) if name.endswith(f".{pid}.gz")]
        assert len(own) == 1, os.listdir(work)
        path = f"{work}/{own[0]}"
        for index, column, in_use in (("alloc_objects", 0, False), ("alloc_space", 1, False), ("inuse_objects", 0, True), ("inuse_space", 1, True)):
            text, rows = pprof.top(index, path)
            assert f"Type: {index}" in text and f"File: {os.path.basename(program)}" in text, text
            for name, (blocks, size, kept) in SITES.items():
                want = (blocks, blocks * size)[column] if kept or not in_use else 0
                # pprof prints four digits
                assert abs(rows.get(name, 0) - want) <= 0.001 * want, (index, name, rows, want)
        # lines of the source come from the file that the mapping names
        assert re.search(r"site_grown \S*sites\.c:\d+", pprof("-raw", path)), "no line of the source"
        # the same profile twice: nothing has grown; pprof's own file of it is read as ours is
        assert not any(pprof.top("inuse_space", "-base", path, path)[1].values()), "something has grown"
        pprof("-proto", f"-output={work}/again.gz", path)
        assert pprof.top("inuse_space", f"{work}/again.gz")[1] == pprof.top("inuse_space", path)[1]
        # since the call: the child's blocks, in the child's profile
        children = [name for name in os.listdir(work) if name.endswith(".gz") and f".{pid}." not in name and name[0].isdigit()]
        grown = pprof.top("inuse_objects", "-base", f"{work}/called.gz", f"{work}/{children[0]}")[1]
        assert grown["site_child"] == CHILD, grown
    print("pprof.py: passed")


if __name__ == "__main__":
    main()
