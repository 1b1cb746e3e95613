"""A process with at least so many mappings: neighbours of different permissions, every second one touched."""

import ctypes
import mmap
import os
import sys

BASE = 0x100000000000
PAGE = mmap.PAGESIZE


def main() -> None:
    number = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(41, 1, 0, 0, 0)
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mmap.restype = ctypes.c_void_p
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert libc.mmap(BASE, max(number, 1) * 2 * PAGE, 3, 0x22 | 0x100000, -1, 0) == BASE
    for i in range(0, number, 2):
        assert libc.mprotect(BASE + i * 2 * PAGE, 2 * PAGE, 1) == 0
    for i in range(1, number, 2):
        ctypes.memset(BASE + i * 2 * PAGE, 1, PAGE)
    print("ready", os.getpid(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
