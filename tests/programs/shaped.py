"""A process with memory of a shape that is dear to read, or cheap. Usage: shaped.py dense|huge|sparse|paged-out GIB, or many MAPPINGS."""

import ctypes
import mmap
import os
import sys

PAGE, HUGE, GIB = mmap.PAGESIZE, 2 << 20, 1 << 30
MADV_HUGEPAGE, MADV_PAGEOUT, PR_SET_THP_DISABLE = 14, 21, 41


def main() -> None:
    shape, number = sys.argv[1], int(sys.argv[2])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mmap.restype = ctypes.c_void_p
    libc.mprotect.argtypes = libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if shape != "huge":
        libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    size = number * (2 * PAGE if shape == "many" else GIB)
    # Private, anonymous, without reserve: sparse memory is larger than the machine's.
    address = libc.mmap(None, size + HUGE, 3, 0x4022, -1, 0)
    assert address not in (None, ctypes.c_void_p(-1).value)
    address += -address % HUGE
    if shape == "many":
        for at in range(address, address + size, 4 * PAGE):
            assert libc.mprotect(at, 2 * PAGE, 1) == 0
            ctypes.memset(at + 2 * PAGE, 1, PAGE)
    elif shape == "sparse":
        for at in range(address, address + size, HUGE):
            ctypes.memset(at, 1, 1)
    else:
        if shape == "huge":
            libc.madvise(address, size, MADV_HUGEPAGE)
        ctypes.memset(address, 1, size)
        if shape == "paged-out":
            libc.madvise(address, size, MADV_PAGEOUT)
    print("ready", os.getpid(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
