"""Memory under load in Python, as it is told: a word in, a word out."""

import gc
import os
import sys
import threading

kept: list[object] = []
gates: list[tuple[threading.Thread, threading.Event]] = []


def grow() -> None:
    kept.append([{"number": i, "text": "x" * (i % 300)} for i in range(20000)])
    kept.append(bytearray(3 << 20))
    kept.append([bytes(5000 + i) for i in range(300)])


def enlarge() -> None:
    for thing in kept:
        if isinstance(thing, bytearray):
            thing.extend(bytes(1 << 20))
        elif isinstance(thing, list):
            thing.extend(range(50000))


def release() -> None:
    del kept[::2]
    gc.collect()


def start() -> None:
    for _ in range(8):
        ready, gate = threading.Event(), threading.Event()

        def work(ready: threading.Event = ready, gate: threading.Event = gate) -> None:
            mine = [bytes(3000) for _ in range(500)]
            ready.set()
            gate.wait()
            mine.clear()

        thread = threading.Thread(target=work)
        thread.start()
        ready.wait()
        gates.append((thread, gate))


def join() -> None:
    while gates:
        thread, gate = gates.pop()
        gate.set()
        thread.join()


def load() -> None:
    """Libraries, and what they bring along."""
    import ctypes
    import decimal
    import sqlite3
    import ssl

    kept.append((ctypes, decimal, sqlite3, ssl))


WORDS = {"grow": grow, "enlarge": enlarge, "release": release, "start": start, "join": join, "load": load}


if __name__ == "__main__":
    print("ready", os.getpid(), flush=True)
    for line in iter(sys.stdin.readline, ""):
        WORDS[line.strip()]()
        print("done", flush=True)
