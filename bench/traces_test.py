#!/usr/bin/python3
"""A trace says what a program has done: one of known allocations is recorded, read, and played.

usage: traces_test.py RECORDER PLAY
"""

import os
import subprocess
import sys
import tempfile

PROGRAM = r"""
#include <pthread.h>
#include <stdlib.h>
static void *made[100];
static void *make(void *unused)
{
	(void)unused;
	for (int i = 0; i < 100; i++)
		made[i] = malloc(1000 + i);
	return NULL;
}
int main(void)
{
	pthread_t thread;
	void *aligned;
	pthread_create(&thread, NULL, make, NULL);
	pthread_join(thread, NULL);
	for (int i = 0; i < 100; i++)
		made[i] = realloc(made[i], 5000 + i);
	for (int i = 0; i < 99; i++)
		free(made[i]);
	if (posix_memalign(&aligned, 4096, 7777) != 0)
		return 1;
	return calloc(3, 2222) == NULL;
}
"""
THREAD, MALLOC, CALLOC, ALIGNED, REALLOC, FREE = range(6)


def events(data):
    """(thread, event, size, number of the block that goes) of each event."""
    at, thread, made = len(b"allocations 1\n"), 0, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        event = data[at]
        at += 1
        if event == THREAD:
            thread = number()
            continue
        if event == ALIGNED:
            at += 1
        gone = made - number() if event in (REALLOC, FREE) else None
        size = number() if event != FREE else None
        yield thread, event, size, gone
        made += event != FREE


def main():
    recorder, play = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        program, trace = os.path.join(folder, "program"), os.path.join(folder, "trace")
        subprocess.run(["cc", "-x", "c", "-", "-o", program, "-pthread"], input=PROGRAM, text=True, check=True)
        subprocess.run([program], env=dict(os.environ, LD_PRELOAD=recorder, TRACE_FILE=trace), check=True)
        with open(trace, "rb") as file:
            data = file.read()
        found = list(events(data))
        made = [e for e in found if e[1] == MALLOC and e[2] in range(1000, 1100)]
        assert [e[2] for e in made] == list(range(1000, 1100)), made
        assert len({e[0] for e in made}) == 1 and made[0][0] != 0, "by a thread that is not the first"
        numbers = [i for i, e in enumerate(e for e in found if e[1] != FREE) if e in made]
        moved = [e for e in found if e[1] == REALLOC and e[2] in range(5000, 5100)]
        assert [e[3] for e in moved] == numbers, "each block is the one that was made"
        assert [e for e in found if e[1] == ALIGNED and e[2] == 7777] and [e for e in found if e[1] == CALLOC and e[2] == 6666]
        assert sum(e[1] == FREE for e in found) >= 99
        done = subprocess.run([play, trace, "--repeat", "2"], capture_output=True, text=True, check=True)
        assert f"ops {2 * len(found)} " in done.stdout, done.stdout
        for end in range(len(data) - 40, len(data)):  # cut anywhere it is played as far as it goes
            with open(trace, "wb") as file:
                file.write(data[:end])
            subprocess.run([play, trace], capture_output=True, check=True)
        with open(trace, "wb") as file:
            file.write(data[:14] + bytes([FREE, 5]))
        done = subprocess.run([play, trace], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "has not made" in done.stderr, done


if __name__ == "__main__":
    main()
