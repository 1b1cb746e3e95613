"""A hostile process: whoever reads its smaps or cmdline waits until somebody answers, and nobody does.

Usage: blocking.py FOLDER [later]. Prints `ready PID`, reads from standard input, and never ends by itself. Needs root.
With `later` it begins to block when it gets a line, and then prints `blocked`.

A thread reads, through /proc/self/mem, a page of a FUSE file whose server never answers: it waits with mmap_lock held
for reading (mm/memory.c, __access_remote_vm: no FAULT_FLAG_ALLOW_RETRY). Another thread maps memory: it waits for the lock to write, and a
waiting writer keeps out every new reader. (The older ways no longer block: /proc/PID/cmdline takes only anonymous pages since
CVE-2018-1120, and without ALLOW_RETRY userfaultfd answers with an error.)

The server is a child, because a process that waits for itself could not even be killed; it dies with its parent, and so
does the mount, which is in a namespace of their own.
"""

import ctypes
import mmap
import os
import signal
import struct
import sys
import threading

CLONE_NEWNS, MS_REC, MS_PRIVATE, PR_SET_PDEATHSIG = 0x20000, 0x4000, 0x40000, 1
# linux/fuse.h
LOOKUP, FORGET, GETATTR, OPEN, READ, INIT = 1, 2, 3, 14, 15, 26
REGULAR, FOLDER = 0o100644, 0o40755
FILE_SIZE = 1 << 20

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attributes(inode: int, mode: int, size: int) -> bytes:
    return struct.pack("<QQQQQQIIIIIIIIII", inode, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(operation: int, node: int) -> bytes | None:
    """What the server says; None for what it does not know."""
    if operation == INIT:
        return struct.pack("<IIIIHHIIHH", 7, 31, 4096, 0, 1, 1, 4096, 1, 0, 0) + bytes(28)
    if operation == LOOKUP:
        return struct.pack("<QQQQII", 2, 0, 1000, 1000, 0, 0) + attributes(2, REGULAR, FILE_SIZE)
    if operation == GETATTR:
        return struct.pack("<QII", 1000, 0, 0) + (attributes(1, FOLDER, 0) if node == 1 else attributes(2, REGULAR, FILE_SIZE))
    if operation == OPEN:
        return struct.pack("<QII", 1, 0, 0)
    return None


def serve(device: int, asked: int) -> None:
    """Answer everything but the reading of a page; say on `asked` when that was wanted."""
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    while True:
        request = os.read(device, 1 << 17)
        _, operation, unique, node = struct.unpack_from("<IIQQ", request)
        if operation == READ:
            os.write(asked, b"!")
        elif operation != FORGET:
            body = answer(operation, node)
            error = 0 if body is not None else -38
            os.write(device, struct.pack("<IiQ", 16 + len(body or b""), error, unique) + (body or b""))


def main() -> None:
    folder = sys.argv[1]
    check(libc.unshare(CLONE_NEWNS))
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    device = os.open("/dev/fuse", os.O_RDWR)
    check(libc.mount(b"hostile", folder.encode(), b"fuse", 0, b"fd=%d,rootmode=40000,user_id=0,group_id=0" % device))
    asked, asked_end = os.pipe()
    if os.fork() == 0:
        try:
            serve(device, asked_end)
        finally:
            os._exit(1)
    os.close(device)
    file = os.open(f"{folder}/file", os.O_RDONLY)
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    address = libc.mmap(None, FILE_SIZE, mmap.PROT_READ, mmap.MAP_PRIVATE, file, 0)
    # The last words come from a thread that needs no more memory: from here on, whoever wants some waits.
    reading = threading.Thread(target=os.pread, args=(memory, 1, address), daemon=True)
    writer_ready = threading.Event()
    go = threading.Event()
    writer_id = []

    def write() -> None:
        writer_id.append(threading.get_native_id())
        writer_ready.set()
        go.wait()
        libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)

    threading.Thread(target=write, daemon=True).start()
    writer_ready.wait()
    # wchan needs no lock of ours; everything that follows is imported and mapped.
    state = os.open(f"/proc/self/task/{writer_id[0]}/stat", os.O_RDONLY)

    def waits() -> bool:
        # No more than small objects, of which there are free ones from the times before: to ask the kernel for memory would wait for ever.
        return os.pread(state, 256, 0).rpartition(b")")[2].split(None, 1)[0] == b"D"

    for _ in range(100):
        assert not waits()
    ready, later = b"ready %d\n" % os.getpid(), sys.argv[2:] == ["later"]
    if later:
        os.write(1, ready)
        os.read(0, 1)
    reading.start()
    os.read(asked, 1)
    go.set()
    while not waits():
        pass
    os.write(1, b"blocked\n" if later else ready)
    os.read(0, 1)


if __name__ == "__main__":
    main()
