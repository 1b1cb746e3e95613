"""Asking one host after the other, here or on the workers of Dask: a local cluster, or one that is there already.

Whoever does the work, each host is done by itself, and what comes of it does not depend on when. A worker that dies takes nothing with it: Dask has
its host done again.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pmapdiff import __version__
from pmapdiff.errors import PmapdiffError, UsageError
from pmapdiff.model.fleet import Failure
from pmapdiff.text import printable

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")

# A host that could not be read is tried once more: a network may have been slow.
_TRIES = 2
# So many hosts for each worker are in the hands of Dask, so that none waits, and neither they nor their results pile up.
_AHEAD = 4
_FEWEST_AHEAD = 16
# Nobody looks at local workers while they work; the web server that Dask starts in any case has nothing to say.
_UNATTENDED: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
# How long to wait for the scheduler, and for the first of its workers.
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class _OtherVersion:
    version: str


@dataclass(frozen=True, slots=True)
class _Attempt(Generic[T]):
    """One host on whichever worker. `version` is that of who asks: results of another one would not be of the same functions."""

    task: Callable[[str], T]
    version: str

    def __call__(self, host: str) -> T | Failure | _OtherVersion:
        if __version__ != self.version:
            return _OtherVersion(__version__)
        # Tables have no cycles, and looking for some among a million mappings takes its time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self.task(host)
        except PmapdiffError as error:
            return Failure(host, str(error))
        except Exception as error:
            # What a damaged file brings about; that one host is damaged must not be the end of the others.
            return Failure(host, f"{type(error).__name__}: {error}")
        finally:
            if collecting:
                gc.enable()


def sweep_here(task: Callable[[str], T], hosts: Sequence[str]) -> Iterator[T | Failure]:
    """Ask one host after the other in this very process."""
    attempt = _Attempt(task, __version__)
    for host in hosts:
        found: T | Failure | _OtherVersion = attempt(host)
        for _ in range(_TRIES - 1):
            if isinstance(found, Failure):
                found = attempt(host)
        assert not isinstance(found, _OtherVersion)
        yield found


def sweep(client: Client, task: Callable[[str], T], hosts: Sequence[str]) -> Iterator[T | Failure]:
    """Ask the hosts on the workers of a client, a few for each at a time; results come as they are done. Raises UsageError."""
    from distributed import as_completed

    attempt = _Attempt(task, __version__)
    waiting, tries = iter(hosts), dict.fromkeys(hosts, 0)
    asked: dict[Any, str] = {}
    numbers = count()

    def ask(host: str) -> Any:
        tries[host] += 1
        # Not pure: a host that is tried again is looked at again.
        future = client.submit(attempt, host, pure=False, key=f"pmapdiff-{next(numbers)}")
        asked[future] = host
        return future

    ahead = max(_FEWEST_AHEAD, _AHEAD * sum(client.nthreads().values()))
    first = [ask(host) for host, _ in zip(waiting, range(ahead), strict=False)]
    done = as_completed(first, raise_errors=False)
    for future in done:
        host = asked.pop(future)
        found = _result(future, host)
        future.release()
        if isinstance(found, _OtherVersion):
            raise UsageError(f"a worker has pmapdiff {printable(found.version)}, and this is {__version__}: install the same on all of them")
        if isinstance(found, Failure) and tries[host] < _TRIES:
            done.add(ask(host))
            continue
        yield found
        following = next(waiting, None)
        if following is not None:
            done.add(ask(following))


def _result(future: Any, host: str) -> Any:
    """What a worker has found, or why it could not even be asked."""
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.cancelled():
        raise UsageError("the scheduler of Dask is gone, or has thrown the work away: ask it why")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return Failure(host, "each worker that looked at it was killed: it may need more memory than there is")
    if isinstance(error, ModuleNotFoundError):
        raise UsageError(f"a worker cannot do this ({error}): install pmapdiff {__version__} with its extras on all of them")
    return Failure(host, f"{type(error).__name__}: {error}")


@contextmanager
def local_client(workers: int) -> Generator[Client]:
    """So many processes on this machine, which end with the block; nobody else on it can reach them. Raises UsageError."""
    import tempfile

    _demand_dask()
    import logging

    import dask
    from distributed import Client, LocalCluster
    from distributed.security import Security

    from pmapdiff.fleet.worker import Silence

    try:
        # Whoever can talk to a scheduler can have it run anything: on a machine with other users a port of its own is not enough.
        security = Security.temporary()
    except ImportError as error:
        raise UsageError(f"local workers need cryptography ({error}): pip install 'pmapdiff[fleet]', or --workers 0") from None
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pmapdiff-fleet-", ignore_cleanup_errors=True))
        stack.enter_context(dask.config.set({"temporary-directory": folder, **_UNATTENDED}))
        with _interrupts_later():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    protocol="tls://",
                    security=security,
                    # None would be port 8787, and a warning where another cluster has it.
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    silence_logs=logging.CRITICAL,
                    local_directory=folder,
                )
            )
            client = stack.enter_context(Client(cluster, security=security))
            client.register_plugin(Silence())
        yield client


@contextmanager
def _interrupts_later() -> Generator[None]:
    """Put off SIGINT to the end of the block, and for good in all threads and programs that are started in it: they inherit the mask.

    A terminal interrupts all of them, but it is for this one to end the others.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def remote_client(address: str) -> Generator[Client]:
    """The scheduler at an address, `tcp://host:8786`; how to get through to it by TLS is Dask's own configuration. Raises UsageError."""
    _demand_dask()
    from distributed import Client

    with ExitStack() as stack:
        stack.enter_context(_quiet())
        try:
            client = stack.enter_context(Client(address, timeout=PATIENCE_S))
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError:
            raise UsageError(f"--scheduler {printable(address)}: it has no workers: start some with `dask worker {printable(address)}`") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"--scheduler {printable(address)}: there is no scheduler that answers ({printable(str(error))})") from None
        yield client


def usable_processors() -> int:
    """How many processors this process may use, by its affinity and the limits of its cgroup."""
    _demand_dask()
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def _demand_dask() -> None:
    try:
        import distributed  # noqa: F401 - whether it is there
    except ImportError as error:
        raise UsageError(f"a sweep on several processors needs Dask ({error}): pip install 'pmapdiff[fleet]', or --workers 0") from None


@contextmanager
def _quiet() -> Generator[None]:
    """What Dask says of its own comings and goings is nobody's business here."""
    import logging

    names = ("distributed", "asyncio", "tornado")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
