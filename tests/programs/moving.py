"""A process that moves a mapping between two places as fast as it can, with many others in between.

Usage: moving.py MAPPINGS BYTES. At every moment the mapping is in exactly one of the two places. Ends when its standard input does.
"""

import ctypes
import os
import sys
import threading

LOW, HIGH = 0x100000000000, 0x300000000000
BETWEEN = 0x200000000000
PAGE = 4096


def main() -> None:
    number, size = int(sys.argv[1]), int(sys.argv[2])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(41, 1, 0, 0, 0)
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
    libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
    for i in range(number):
        assert libc.mmap(BETWEEN + 2 * i * PAGE, PAGE, 1, 0x22 | 0x100000, -1, 0) == BETWEEN + 2 * i * PAGE
    assert libc.mmap(LOW, size, 0, 0x22 | 0x100000, -1, 0) == LOW
    ended = threading.Event()

    def wait() -> None:
        os.read(0, 1)
        ended.set()

    threading.Thread(target=wait).start()
    print("ready", os.getpid(), flush=True)
    here, there = LOW, HIGH
    while not ended.is_set():
        assert libc.mremap(here, size, size, 3, there) == there
        here, there = there, here


if __name__ == "__main__":
    main()
