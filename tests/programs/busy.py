"""A process whose table is another one at every look: pages come and go, mappings split and merge, for ever.

Usage: busy.py MAPPINGS. Ends when its standard input does.
"""

import ctypes
import mmap
import os
import random
import sys
import threading

BASE = 0x100000000000
PAGE = mmap.PAGESIZE
EACH = 8 * PAGE


def main() -> None:
    number = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(41, 1, 0, 0, 0)
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mmap.restype = ctypes.c_void_p
    libc.mprotect.argtypes = libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for i in range(number):
        assert libc.mmap(BASE + 2 * i * EACH, EACH, 3, 0x22 | 0x100000, -1, 0) == BASE + 2 * i * EACH
    ended = threading.Event()

    def wait() -> None:
        os.read(0, 1)
        ended.set()

    threading.Thread(target=wait).start()
    print("ready", os.getpid(), flush=True)
    chosen = random.Random(0)
    # A thousand times a second or so: it must leave something of the processor to the recorder.
    while not ended.wait(0.0005):
        address = BASE + 2 * chosen.randrange(number) * EACH
        what = chosen.randrange(4)
        if what == 0:
            libc.madvise(address, EACH, 4)
        elif what == 1:
            # Split or merge: never two permissions for longer than a moment.
            libc.mprotect(address + 2 * PAGE, PAGE, chosen.choice((1, 3)))
        else:
            ctypes.memset(address + chosen.choice((0, 1, 4, 5)) * PAGE, 1, 1)


if __name__ == "__main__":
    main()
