"""What to do next: the tool that tells a leak from memory that is kept, for the family and the runtime.

A mapping table shows what kind of memory grows, not who asked for it: that is the business of allocators, runtimes and their profilers.
"""

from __future__ import annotations

import re
from enum import StrEnum

from pmapdiff.align import ServiceHistory
from pmapdiff.model import ProcessInfo
from pmapdiff.text import decode


class Runtime(StrEnum):
    """What runs in a process, as far as its files tell."""

    JVM = "JVM"
    PYTHON = "Python"
    NODE = "Node.js"
    RUBY = "Ruby"
    PHP = "PHP"
    DOTNET = ".NET"
    ERLANG = "Erlang"
    GO = "Go"
    NATIVE = "native"


class Allocator(StrEnum):
    """Whose malloc it is."""

    GLIBC = "glibc"
    MUSL = "musl"
    JEMALLOC = "jemalloc"
    TCMALLOC = "tcmalloc"
    MIMALLOC = "mimalloc"
    UNKNOWN = "unknown"


_BY_FILE = (
    (Runtime.JVM, re.compile(r"libjvm\.so")),
    (Runtime.DOTNET, re.compile(r"libcoreclr\.so|libclrjit\.so|libmonosgen")),
    (Runtime.NODE, re.compile(r"(^|/)(node|nodejs|libnode\.so[^/]*)$")),
    (Runtime.PYTHON, re.compile(r"libpython[23]|(^|/)python[23]?(\.\d+)?$|/uwsgi$")),
    (Runtime.RUBY, re.compile(r"libruby|(^|/)ruby[\d.]*$")),
    (Runtime.PHP, re.compile(r"(^|/)php(-fpm|-cgi)?[\d.]*$|libphp")),
    (Runtime.ERLANG, re.compile(r"beam(\.smp)?$")),
)
_ALLOCATORS = (
    (Allocator.JEMALLOC, re.compile(r"libjemalloc")),
    (Allocator.TCMALLOC, re.compile(r"libtcmalloc")),
    (Allocator.MIMALLOC, re.compile(r"libmimalloc")),
    (Allocator.MUSL, re.compile(r"(ld-musl|libc\.musl)-")),
    (Allocator.GLIBC, re.compile(r"(^|/)libc(\.so\.6|-2\.\d+\.so)$")),
)


def _files(service: ServiceHistory) -> list[str]:
    paths = {known.region.label.path for known in service.regions if known.region.label.family in ("image", "file")}
    exe = service.process.exe
    return sorted({path for path in paths if path is not None} | ({decode(exe)} if exe else set()))


def runtime_of(service: ServiceHistory) -> Runtime:
    """What runs in a process."""
    files = _files(service)
    found = next((runtime for runtime, pattern in _BY_FILE if any(pattern.search(path) for path in files)), None)
    if found is not None:
        return found
    # Go links everything into one file.
    return Runtime.GO if any(known.region.label.family == "managed-heap" for known in service.regions) else Runtime.NATIVE


def allocator_of(service: ServiceHistory) -> Allocator:
    """Whose malloc a process uses."""
    files = _files(service)
    return next((allocator for allocator, pattern in _ALLOCATORS if any(pattern.search(path) for path in files)), Allocator.UNKNOWN)


def suggestion_for(family: str, runtime: Runtime, allocator: Allocator, process: ProcessInfo) -> str:
    """What to do next about memory of a family that keeps growing, in one or two sentences."""
    pid = str(process.pid) if process.pid else "PID"
    if family in _BY_FAMILY:
        return _BY_FAMILY[family].replace("PID", pid)
    if family == "managed-heap":
        return _MANAGED.get(runtime, _MANAGED[Runtime.NATIVE]).replace("PID", pid)
    # heap, malloc-arena, anon and bss: what malloc gave, or what the runtime keeps outside its heap.
    parts = [_NATIVE_OF.get(runtime, "")]
    if family == "malloc-arena":
        parts.append(
            "MALLOC_ARENA_MAX=2 in its environment: if the growth stops, arenas kept free memory for threads; if it moves to [heap], it is a leak"
        )
    elif allocator is Allocator.GLIBC:
        parts.append(
            f"malloc_trim(0), as by gdb -p {pid} -batch -ex 'call (int)malloc_trim(0)': what falls was free and only kept, what stays is held"
        )
    elif allocator in _KEPT_BY:
        parts.append(_KEPT_BY[allocator])
    parts.append(f"who allocates: heaptrack -p {pid}, or BCC's memleak" if runtime is Runtime.NATIVE else "")
    return "; ".join(part for part in parts if part).replace("PID", pid)


_BY_FAMILY = {
    "thread-stack": (
        "Which threads, and where they wait: gdb -p PID -batch -ex 'thread apply all bt', or /proc/PID/task/*/comm; threads "
        "that ended but were never joined keep their stacks, and Threads does not count them"
    ),
    "memfd": "Who keeps them open: ls -l /proc/PID/fd | grep memfd; as long as a descriptor or a mapping is left, the memory is",
    "shm": ("Who made them, and who else maps them: ls -l /dev/shm, lsof +D /dev/shm; a file there is memory until it is removed and nobody maps it"),
    "sysv-shm": (
        "ipcs -m -p: who made the segments, and when somebody was last attached; a segment lives until ipcrm or IPC_RMID, also without a process"
    ),
    "mapping-count": (
        "Which mappings: `pmapdiff compare` of two of the snapshots; then strace -f -k -e trace=mmap,mprotect,munmap -p PID "
        "shows who makes them. At vm.max_map_count mmap fails with ENOMEM, however much memory is free"
    ),
    "jit": (
        "Generated code: a JVM tells by jcmd PID Compiler.codecache, V8 by --trace-code-creation; code that is made anew for "
        "each request is never reused"
    ),
    "device": "Which driver's memory it is: ls -l /proc/PID/map_files; GPU and network drivers have tools of their own",
    "file": "Files mapped privately and written to: which, is in the name; each written page is a copy that stays until munmap",
    "image": "Data of a program or library: large tables without a heap; nm -S --size-sort shows what is in it",
    "stack": "Recursion that goes deeper and deeper, or large local arrays: gdb -p PID -batch -ex bt",
}
_MANAGED = {
    Runtime.JVM: (
        "jcmd PID GC.heap_info, and jcmd PID GC.class_histogram twice some time apart: what grows there is held by objects; "
        "what falls after jcmd PID GC.run was only not collected yet"
    ),
    Runtime.NODE: (
        "kill -USR1 PID and two heap snapshots in chrome://inspect some time apart, compared; --max-old-space-size shows "
        "whether it is only not collected"
    ),
    Runtime.GO: (
        "go tool pprof http://.../debug/pprof/heap twice, with -base; GODEBUG=gctrace=1 shows live heap and goal; "
        "debug.FreeOSMemory() tells what was only kept"
    ),
    Runtime.DOTNET: ("dotnet-gcdump collect -p PID twice, and compare; dotnet-counters monitor -p PID shows the heap's size after each collection"),
    Runtime.NATIVE: "The heap profiler of the runtime, twice some time apart: what grows between two full collections is held",
}
_NATIVE_OF = {
    Runtime.JVM: (
        "jcmd PID VM.native_memory summary.diff (start it with -XX:NativeMemoryTracking=summary): direct buffers "
        "(-XX:MaxDirectMemorySize), threads, classes; what it does not count is native code's"
    ),
    Runtime.PYTHON: (
        "memray attach PID --native for allocations from now on, or tracemalloc (PYTHONTRACEMALLOC=1) twice and compared: "
        "Python objects and buffers; gc.collect() and sys._debugmallocstats() tell cycles and arenas that are kept"
    ),
    Runtime.NODE: "process.memoryUsage(): external and arrayBuffers are Buffers; if neither grows, it is a native addon",
    Runtime.RUBY: "ObjectSpace.memsize_of_all and GC.stat(:heap_live_slots) twice: objects; if they do not grow, a C extension",
    Runtime.PHP: "memory_get_usage(true) in the worker; pm.max_requests ends workers that only keep memory",
    Runtime.DOTNET: "dotnet-counters monitor -p PID: if the GC heap does not grow, native memory of P/Invoke does",
    Runtime.ERLANG: "erlang:memory() and recon_alloc:memory(allocated_types): binaries, ets and processes",
    Runtime.GO: "memory of cgo: the Go heap is not this; pprof does not see it, heaptrack -p PID does",
}
_KEPT_BY = {
    Allocator.JEMALLOC: (
        "jemalloc's malloc_stats_print: allocated is held, active and retained less allocated is kept; "
        "MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0 gives it back"
    ),
    Allocator.TCMALLOC: ("MallocExtension::ReleaseFreeMemory() gives back what is only kept; HEAPPROFILE=/tmp/heap shows who holds the rest"),
    Allocator.MIMALLOC: "MIMALLOC_SHOW_STATS=1 tells what is held; MIMALLOC_PURGE_DELAY=0 gives back the rest",
    Allocator.MUSL: "musl keeps little: what grows is most likely held",
}
