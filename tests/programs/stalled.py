"""The same as stalled.c, for where there is no C compiler."""

import ctypes
import json
import mmap
import os
import select
import sys
import time

EACH = 16 * mmap.PAGESIZE
PAUSE_S = 0.0001
LONG_NS = 1_000_000


def main() -> None:
    ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
    resident = mmap.mmap(-1, int(sys.argv[1]) << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(resident), mmap.PAGESIZE):
        resident[at] = 1
    print("ready", os.getpid(), flush=True)
    largest = longer = 0
    while True:
        started = time.monotonic_ns()
        with mmap.mmap(-1, EACH, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory[0] = 1
        took = time.monotonic_ns() - started
        largest = max(largest, took)
        longer += took > LONG_NS
        if select.select([0], [], [], 0)[0]:
            if not os.read(0, 4096):
                return
            print(json.dumps([largest / 1000, longer]), flush=True)
            largest = longer = 0
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
