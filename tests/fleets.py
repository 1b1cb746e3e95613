"""A fleet as it is recorded, made by hand: hosts with clocks, pids and address spaces of their own, and a service that leaks since a deploy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from strategies import file, make

from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status

# 2026-11-22 10:00:00 UTC.
BEGIN_US = 1_795_341_600_000_000
MINUTE_US = 60_000_000
STEP_US = 20 * MINUTE_US
STEPS = 72
DEPLOY_STEP = 24
DEPLOY_US = BEGIN_US + DEPLOY_STEP * STEP_US
GIB = 1024 * 1024
HOSTS, DEPLOYED = 12, 8

# KiB of the heap at a step, of the incarnation that runs there.
Course = Callable[["Host", int], int]


@dataclass
class Service:
    """A program on every host: `release` is its version at a step, and it is started anew wherever that changes."""

    name: bytes
    unit: str | None
    cgroup: bytes
    course: Course
    release: Callable[[Host, int], bytes] = lambda _host, _step: b""


class Host:
    """One host, the same for the same number."""

    def __init__(self, number: int, name: str | None = None) -> None:
        self.number = number
        self.name = name or f"web{number:02}"
        self.random = Random(number)
        # Nobody's cron begins with the second, and clocks differ.
        self.shift_us = self.random.randrange(90_000_000)
        self.boot = f"boot-{number}"
        self.pids = self.random.randrange(1000, 30000)
        self.slide = self.random.randrange(1 << 20) << 12
        self.container = "".join(self.random.choice("0123456789abcdef") for _ in range(64)).encode()
        self.noise = [self.random.randrange(-6, 7) * 4 for _ in range(STEPS)]

    @property
    def is_deployed(self) -> bool:
        """Whether it got the new release."""
        return self.number < DEPLOYED

    def moment_us(self, step: int) -> int:
        return BEGIN_US + step * STEP_US + self.shift_us

    def snapshots(self, services: tuple[Service, ...], steps: range = range(STEPS)) -> Iterator[Snapshot]:
        """What is recorded of it."""
        born: dict[bytes, tuple[bytes, int]] = {}
        for step in steps:
            captures = []
            for number, service in enumerate(services):
                release = service.release(self, step)
                if born.setdefault(service.name, (release, -40))[0] != release:
                    born[service.name] = (release, step)
                captures.append(self._capture(number, service, release, born[service.name][1], step))
            ref = SnapshotRef(None, self.moment_us(step), self.name, None, "live", 200_000, "--all", 65530, 16 * GIB)
            yield Snapshot(ref, tuple(captures))

    def _capture(self, number: int, service: Service, release: bytes, born: int, step: int) -> Capture:
        restarts = int(born > 0)
        pid = self.pids + 10 * number + restarts
        started_us = self.moment_us(born) - 30_000_000
        program = b"/opt/" + service.name + release + b"/bin/" + service.name
        identity = ProcessIdentity(self.boot, pid, 100 * (born + 100), f"exec-{pid}")
        cgroup = service.cgroup.replace(b"ID", self.container)
        info = ProcessInfo(identity, service.name, program + b"\0--serve\0", program, 1, 1000, cgroup, unit=service.unit, started_at_us=started_us)
        base = 0x550000000000 + self.slide + (number << 32) + (restarts << 28)
        kib = service.course(self, step)
        table = (
            file(base, base + 0x40000, "r-xp", 0, program, 100 + number, rss=256, pss=256, private_clean=256, referenced=256),
            make(base + 0x100000, base + 0x100000 + GIB * 1024, name=b"[heap]", rss=kib, pss=kib, private_dirty=kib, anonymous=kib, referenced=kib),
            make(0x7FFD00000000 + self.slide, 0x7FFD00000000 + self.slide + 0x21000, name=b"[stack]", rss=64, pss=64, private_dirty=64, anonymous=64),
        )
        return Capture(info, Status.COMPLETE, MappingTable(table), None, None, 4, None, 2 * GIB * 1024 if number == 0 else None, None, 300)


def _orders(host: Host, step: int) -> int:
    since = step - DEPLOY_STEP
    grown = 2000 * since + 4 * (7 * since % 11) if host.is_deployed and since > 0 else 0
    return 100_000 + host.noise[step] + grown * (10 + host.number) // 10


ORDERS = Service(
    b"orders",
    "orders.service",
    b"/system.slice/orders.service",
    _orders,
    lambda h, step: b"-1.10" if h.is_deployed and step >= DEPLOY_STEP else b"-1.9",
)
WEB = Service(b"web", None, b"/kubepods/burstable/pod1b2c3d4e-0000-4000-8000-00000000000a/ID", lambda h, step: 60_000 + 8 * h.noise[step])
QUEUE = Service(b"queue", "queue.service", b"/system.slice/queue.service", lambda h, step: 30_000 + 1500 * ((step + h.number) % 9))
SERVICES = (ORDERS, WEB, QUEUE)


def fleet(hosts: int = HOSTS, services: tuple[Service, ...] = SERVICES) -> Iterator[Snapshot]:
    """All that is recorded of so many hosts, host by host."""
    for number in range(hosts):
        yield from Host(number).snapshots(services)
