"""A process that does to its memory what it is told, no more: a line of JSON in, a line of JSON out.

Ends when its standard input does. Runs without transparent huge pages, so that a touched page is one page.
"""

import ctypes
import fcntl
import json
import mmap
import os
import signal
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

PAGE = mmap.PAGESIZE
PR_SET_THP_DISABLE, PR_SET_NAME = 41, 15
MAP_FIXED_NOREPLACE, MREMAP_MAYMOVE, MREMAP_FIXED = 0x100000, 1, 2
SYS_EXIT = {"x86_64": 60, "aarch64": 93}
SYS_USERFAULTFD = {"x86_64": 323, "aarch64": 282}
SYS_CLONE3 = 435
PR_SET_DUMPABLE, PR_SET_MM, PR_SET_MM_MAP = 4, 35, 14
# linux/userfaultfd.h
UFFD_API, UFFDIO_API, UFFDIO_REGISTER, UFFDIO_REGISTER_MODE_MISSING = 0xAA, 0xC018AA3F, 0xC020AA00, 1

libc = ctypes.CDLL(None, use_errno=True)
_LONG, _INT, _POINTER = ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
libc.mmap.restype = libc.mremap.restype = libc.sbrk.restype = libc.shmat.restype = _POINTER
libc.mmap.argtypes = [_POINTER, _LONG, _INT, _INT, _INT, ctypes.c_long]
libc.munmap.argtypes = [_POINTER, _LONG]
libc.mprotect.argtypes = [_POINTER, _LONG, _INT]
libc.madvise.argtypes = [_POINTER, _LONG, _INT]
libc.mlock.argtypes = libc.munlock.argtypes = [_POINTER, _LONG]
libc.mremap.argtypes = [_POINTER, _LONG, _LONG, _INT, _POINTER]
libc.sbrk.argtypes = [ctypes.c_ssize_t]
FAILED = ctypes.c_void_p(-1).value

children: list[tuple[int, int]] = []


def check(result: int | None) -> int:
    if result in (-1, FAILED):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result or 0


def do_map(size: int, address: int | None = None, prot: int = 3, flags: int = 0x22, fd: int = -1, offset: int = 0) -> int:
    """Map at an address, or where the kernel likes."""
    return check(libc.mmap(address, size, prot, flags if address is None else flags | MAP_FIXED_NOREPLACE, fd, offset))


def do_unmap(address: int, size: int) -> int:
    return check(libc.munmap(address, size))


def do_protect(address: int, size: int, prot: int) -> int:
    return check(libc.mprotect(address, size, prot))


def do_advise(address: int, size: int, advice: int) -> int:
    return check(libc.madvise(address, size, advice))


def do_lock(address: int, size: int) -> int:
    return check(libc.mlock(address, size))


def do_unlock(address: int, size: int) -> int:
    return check(libc.munlock(address, size))


def do_load(path: str) -> int:
    """Load a library; returns where its `memory` is."""
    return ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(path), "memory"))


def do_stack(pages: int) -> int:
    """Write so far below the stack's lowest page; returns where it begins then."""
    with open("/proc/self/maps", "rb") as file:
        (line,) = (line for line in file if line.endswith(b"[stack]\n"))
    address = int(line.split(b"-")[0], 16) - pages * PAGE
    # It grows by page faults, wherever the stack pointer is (arch/x86/mm/fault.c since 5.0).
    ctypes.memset(address, 1, 1)
    return address


def do_remap(address: int, size: int, new_size: int, to: int | None = None) -> int:
    flags = 0 if to is None else MREMAP_MAYMOVE | MREMAP_FIXED
    return check(libc.mremap(address, size, new_size, flags, to))


def do_write(address: int, pages: int, first: int = 0) -> int:
    for page in range(first, first + pages):
        ctypes.memset(address + page * PAGE, 1, 1)
    return pages


def do_read(address: int, pages: int) -> int:
    return sum(ctypes.string_at(address + page * PAGE, 1)[0] for page in range(pages))


def do_open(path: str, create: int | None = None) -> int:
    fd = os.open(os.fsencode(path), os.O_RDWR | (0 if create is None else os.O_CREAT), 0o600)
    if create is not None:
        os.ftruncate(fd, create)
    return fd


loaded: list[ctypes.CDLL] = []


def do_dlopen(path: str) -> int:
    """Load a library, and keep it."""
    loaded.append(ctypes.CDLL(path))
    return len(loaded)


def do_memfd(name: str, size: int) -> int:
    fd = os.memfd_create(name)
    os.ftruncate(fd, size)
    return fd


def do_shm(size: int) -> int:
    """Attach a segment of SysV shared memory, which goes when this process does; returns where."""
    segment = check(libc.shmget(0, size, 0o600))
    address = check(libc.shmat(segment, None, 0))
    check(libc.shmctl(segment, 0, None))
    return address


def do_thread() -> int:
    """Start a thread that does nothing; returns its id."""
    thread = threading.Thread(target=signal.pause, daemon=True)
    # Returns when it runs.
    thread.start()
    return thread.native_id or 0


def do_brk(size: int) -> int:
    """Grow the heap; returns where it ended before."""
    return check(libc.sbrk(size))


def fork_as(pid: int) -> int:
    """fork, and the child gets this pid, if nobody has it (linux/sched.h, clone_args.set_tid). Needs CAP_CHECKPOINT_RESTORE."""
    wanted = (ctypes.c_int * 1)(pid)
    arguments = struct.pack("<11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
    return check(libc.syscall(SYS_CLONE3, arguments, len(arguments)))


def do_fork(pid: int | None = None, argv: list[str] | None = None) -> int:
    """Start a child, with this pid if one is given; returns its pid when it runs.

    It does nothing until told to end, or becomes a program that ends with its standard input.
    """
    running, running_end = os.pipe()
    end, end_end = os.pipe()
    pid = os.fork() if pid is None else fork_as(pid)
    if pid == 0:
        os.close(end_end)
        if argv is not None:
            os.dup2(end, 0)
            os.execv(argv[0], argv)
        os.write(running_end, b"!")
        os.read(end, 1)
        os._exit(0)
    os.close(end)
    os.close(running_end)
    # It says that it runs, or the pipe ends with its exec.
    os.read(running, 1)
    os.close(running)
    children.append((pid, end_end))
    return pid


def do_reap() -> int:
    while children:
        pid, end = children.pop()
        os.close(end)
        os.waitpid(pid, 0)
    return 0


def do_zombie() -> int:
    """Start a child that ends at once and is not reaped; returns its pid when it is a zombie."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def do_exec() -> None:
    os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv])


def do_name(name: str) -> int:
    return check(libc.prctl(PR_SET_NAME, os.fsencode(name), 0, 0, 0))


def do_enter(folder: str) -> int:
    """Make a folder, and go there."""
    os.mkdir(folder)
    os.chdir(folder)
    return 0


def do_undumpable() -> int:
    """What is secret about this process is root's from now on."""
    return check(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))


def do_lose_command_line(address: int) -> int:
    """Have the command line at an address where every access waits for a userfaultfd, which nobody serves; returns that."""
    do_map(PAGE, address)
    fd = check(libc.syscall(SYS_USERFAULTFD[os.uname().machine], os.O_CLOEXEC))
    fcntl.ioctl(fd, UFFDIO_API, struct.pack("<3Q", UFFD_API, 0, 0))
    fcntl.ioctl(fd, UFFDIO_REGISTER, struct.pack("<4Q", address, PAGE, UFFDIO_REGISTER_MODE_MISSING, 0))
    with open("/proc/self/stat", "rb") as file:
        fields = [0, *map(int, file.read().rpartition(b")")[2].split()[1:])]
    # From proc(5), field 3 on: start_code, end_code, startstack, start_data, end_data, start_brk, arg_start, arg_end, env_start, env_end.
    code, data, stack, environment = fields[23:25], fields[42:44], fields[25], fields[47:49]
    layout = struct.pack("<11QQIi", *code, *data, fields[44], libc.sbrk(0), stack, address, address + PAGE, *environment, 0, 0, -1)
    check(libc.prctl(PR_SET_MM, PR_SET_MM_MAP, layout, len(layout), 0))
    return fd


def do_kill(number: int) -> int:
    signal.signal(number, signal.SIG_DFL) if number not in (9, 19) else None
    os.kill(os.getpid(), number)
    return 0


def serve() -> None:
    commands: dict[str, Callable[..., Any]] = {name.removeprefix("do_"): do for name, do in globals().items() if name.startswith("do_")}
    for line in iter(sys.stdin.readline, ""):
        name, arguments = json.loads(line)
        if name == "leave_main":
            # Another thread goes on, and the main one ends alone (exit, not exit_group).
            threading.Thread(target=serve_after, args=(os.getpid(),)).start()
            libc.syscall(SYS_EXIT[os.uname().machine], 0)
        try:
            reply = commands[name](**arguments)
        except OSError as error:
            reply = {"error": str(error)}
        print(json.dumps(reply), flush=True)


def serve_after(thread: int) -> None:
    while True:
        with open(f"/proc/self/task/{thread}/stat", "rb") as file:
            if b") Z" in file.read():
                break
    print(json.dumps(threading.get_native_id()), flush=True)
    serve()
    os._exit(0)


if __name__ == "__main__":
    check(libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
    print("ready", os.getpid(), flush=True)
    serve()
