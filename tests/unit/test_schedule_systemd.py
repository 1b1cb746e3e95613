"""The units: that systemd takes them, that words survive it, and that they go in and out."""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from programs import Runner, unprivileged_prefix
from programs.schedulers import SYSTEMD

from pmapdiff.errors import PmapdiffError, UsageError
from pmapdiff.schedule import systemd
from pmapdiff.schedule import units as texts
from pmapdiff.schedule.command import Job, splay_of, sync_job
from pmapdiff.schedule.units import SYNC_SERVICE, SYNC_TIMER

WORDS = [
    "100%", "%%", "%n", "%h/x", "$HOME", "${HOME}", "$$", "a$b", "$", '"', "'", "\\", "\\\\", "\\x41", "\\n", ";", "a;b", "#", "# x", " ", "", "a b ",
    "-x", "@x", "+x", "!x", "^redis[0-9]+$", "ü→", "`id`", "*", "~", "a\\", "'\"'", "%i'$\"\\;#",
]  # fmt: skip


def units(run: Runner, *args: object, location: str | None = None) -> tuple[str, str]:
    """The service and the timer as printed, for the test's own store unless another is named."""
    text = run.here("--db", location or run.db, "schedule", "systemd", *args, store=False).ok().out
    head, _, rest = text.partition("pmapdiff.service\n")
    assert head.startswith("# /")
    service, _, timer = rest.rpartition("\n# /")
    return service, timer.partition("\n")[2]


def all_units(run: Runner, *args: object, location: str | None = None) -> dict[str, str]:
    """Each unit that is printed, by its name."""
    text = run.here("--db", location or run.db, "schedule", "systemd", *args, store=False).ok().out
    parts = re.split(r"^# /.*/(pmapdiff.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def recorder(location: str) -> str:
    return texts.make_units(Job(["/usr/bin/python3"], (location,)), 60, system=True)["pmapdiff.service"]


def syncer(location: str, other: str) -> dict[str, str]:
    """What is set for the service that syncs."""
    record = Job(["/usr/bin/python3"], (location,))
    return settings(texts.make_units(record, 60, system=True, sync=sync_job(location, other))[SYNC_SERVICE])


def settings(unit: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize("scope", ["--system", "--own"])
@pytest.mark.parametrize("store", ["/var/lib/pmapdiff/pmapdiff.db", '%/a b $x/"q"/x.db', "postgresql+psycopg://u@db.example/x", "postgresql:///x"])
@pytest.mark.parametrize("sync", ["postgresql+psycopg://u@other.example/y", "/srv/a 100% $b/y.db"])
def test_systemd_takes_the_units(run: Runner, tmp_path: Path, scope: str, store: str, sync: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("not installed: systemd-analyze (.ci/run installs it)")
    folder = tmp_path / "units"
    location = store.replace("%", f"{tmp_path}/%") if store.startswith("%") else store
    # Printed, not installed: that would make the folder of the store, which may be outside of the test's own.
    found = all_units(run, scope, "--name", "%i'$\"\\;#", "--every", "30s", "--sync", sync, location=location)
    assert len(found) == 4
    folder.mkdir()
    for name, text in found.items():
        (folder / name).write_text(text)
    argv = [analyze, "verify", *(["--user"] if scope == "--own" else ["--system"]), "--man=no", "--recursive-errors=one"]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run([*argv, *map(str, sorted(folder.iterdir()))], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_words_survive_systemd(tmp_path: Path) -> None:
    """What a real systemd makes of the commands: it prints them when it is asked what it would start."""
    if not os.path.exists(SYSTEMD):
        pytest.skip("not installed: systemd (.ci/run installs it)")
    chosen = random.Random(1)
    words = WORDS + ["".join(chosen.choices("%$\\\"'; #ab{}`~", k=chosen.randint(1, 9))) for _ in range(300)]
    for name in ("units", "run", "home"):
        (tmp_path / name).mkdir(mode=0o700)
    lines = [f"ExecStart=/bin/true {texts.quote(word)} {texts.quote('end')}" for word in words]
    (tmp_path / "units" / "x.service").write_text("\n".join(["[Service]", "Type=oneshot", *lines, ""]))
    prefix = unprivileged_prefix()
    if prefix:
        # It refuses to be the manager of root outside of a session.
        for folder in (tmp_path, *tmp_path.iterdir(), tmp_path / "units" / "x.service"):
            os.chown(folder, 65534, 65534)
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o711)
    for name in ("basic", "shutdown", "sockets", "timers", "paths"):
        (tmp_path / "units" / f"{name}.target").write_text(f"[Unit]\nDescription={name}\n")
    environment = {"HOME": f"{tmp_path}/home", "XDG_RUNTIME_DIR": f"{tmp_path}/run", "SYSTEMD_UNIT_PATH": f"{tmp_path}/units", "LC_ALL": "C.UTF-8"}
    argv = [*prefix, SYSTEMD, "--user", "--test", "--unit=x.service", "--log-target=console"]
    done = subprocess.run(argv, env=environment, capture_output=True, check=False, timeout=60)
    told = [line.partition("Command Line: ")[2] for line in done.stdout.decode().splitlines() if "Command Line: /bin/true" in line]
    if not told:
        pytest.skip(f"systemd --user --test does not run here: {done.stderr.decode()[-200:]}")
    # Printed with the quotes of a shell; variables are only put in when it starts.
    found = [word for line in told for word in shlex.split(re.sub(r"\\([$`])", r"\1", line))]
    assert found[::3] == ["/bin/true"] * len(words)
    assert found[2::3] == ["end"] * len(words)
    taken = found[1::3]
    assert all("$" not in word.replace("$$", "") for word in taken)
    assert [word.replace("$$", "$") for word in taken] == words


def test_command_is_that_of_the_recorder(run: Runner) -> None:
    service, _ = units(run, "--name", "^redis", "--keep-last", 3)
    words = shlex.split(settings(service)["ExecStart"])
    assert words[1:] == ["-P", "-m", "pmapdiff", "--db", str(run.db), "record", "--quiet", "--name", "^redis", "--keep-last", "3"]


def test_timer(run: Runner) -> None:
    for every, span, accuracy in (("5m", "300s", "1s"), ("90s", "90s", "1s"), ("1.5s", "1500ms", "150ms"), ("7d", "604800s", "1s")):
        found = settings(units(run, "--all", "--every", every)[1])
        assert (found["OnUnitActiveSec"], found["AccuracySec"]) == (span, accuracy)
    run.here("schedule", "systemd", "--all", "--every", "500ms").refused("pmapdiff record --every")


def test_recorder_is_not_nice(run: Runner) -> None:
    """A niced reader is preempted while it holds the lock of the process that it reads."""
    for scope in ("--system", "--own"):
        found = settings(units(run, "--all", scope)[0])
        assert not {"Nice", "CPUSchedulingPolicy", "IOSchedulingClass", "CPUWeight"} & found.keys()


def test_sandbox(run: Runner) -> None:
    found = settings(units(run, "--all", "--system", location="/var/lib/pmapdiff/pmapdiff.db")[0])
    assert found["CapabilityBoundingSet"].split()[0] == "CAP_SYS_PTRACE"
    assert (found["StateDirectory"], found["StateDirectoryMode"], found["ProtectSystem"]) == ("pmapdiff", "0700", "strict")
    assert found["PrivateNetwork"] == "yes"
    assert not {"ProtectProc", "ProcSubset", "PrivateUsers", "PrivatePIDs", "ReadWritePaths"} & found.keys()
    # The store of the tests is in /tmp.
    found = settings(units(run, "--all", "--system")[0])
    assert found["ReadWritePaths"] == str(run.db.parent)
    assert "PrivateTmp" not in found
    assert "StateDirectory" not in found


def test_sandbox_where_everything_is_in_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "program_paths", lambda: [Path("/usr/bin/python3"), Path("/usr/lib")])
    found = settings(recorder("/var/lib/pmapdiff/pmapdiff.db"))
    assert found["CapabilityBoundingSet"] == "CAP_SYS_PTRACE"
    assert (found["ProtectHome"], found["PrivateTmp"]) == ("yes", "yes")
    found = settings(recorder("/home/someone/p.db"))
    assert (found["ProtectHome"], found["ReadWritePaths"]) == ("read-only", "/home/someone")
    found = settings(recorder("/srv/100%/p.db"))
    assert found["ReadWritePaths"] == "/srv/100%%"


def test_sandbox_of_what_belongs_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to have files that are not its own")
    os.chown(tmp_path, 65534, 65534)
    monkeypatch.setattr(texts, "program_paths", lambda: [tmp_path / "python"])
    found = settings(recorder(str(tmp_path / "p.db")))
    assert found["CapabilityBoundingSet"] == "CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE"


@pytest.mark.parametrize(
    ("url", "private", "families"),
    [
        ("postgresql+psycopg://u@db.example/x", False, "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
        ("postgresql+psycopg://u@/x?host=db.example", False, "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
        ("postgresql+psycopg://u@/x?host=/run/postgresql", True, "AF_UNIX"),
        ("postgresql+psycopg:///x", True, "AF_UNIX"),
    ],
)
def test_network_for_a_server(run: Runner, url: str, private: bool, families: str) -> None:
    service = run.here("--db", url, "schedule", "systemd", "--all", "--system", store=False).ok().out
    found = settings(service)
    assert ("PrivateNetwork" in found) == private
    assert found["RestrictAddressFamilies"] == families
    assert found["ProtectHome"] == "read-only"
    assert ("network-online.target" in service) != private


def test_units_of_a_user(run: Runner, tmp_path: Path) -> None:
    """A user's manager can neither give nor take capabilities, nor make namespaces without losing sight of the processes."""
    text = run.here("schedule", "systemd", "--all", "--own").ok().out
    assert f"# {tmp_path}/.config/systemd/user/pmapdiff.service\n" in text
    found = settings(text)
    assert not [name for name in found if name.startswith(("Protect", "Private", "Capability", "ReadWrite", "State"))]
    assert found["NoNewPrivileges"] == "yes"


def test_install_show_and_remove(run: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "units"
    args = ("schedule", "systemd", "--folder", folder)
    run.here(*args, "--show").refused("there are no units")
    printed = run.here(*args, "--all").ok().out
    assert not folder.exists()
    result = run.here(*args, "--all", "--install").ok()
    assert result.out.splitlines()[0] == f"installed in {folder}"
    assert result.out.splitlines()[1:][-1].endswith("enable --now pmapdiff.timer")
    assert "systemd does not run here" in result.err
    assert run.db.parent.stat().st_mode & 0o777 == 0o700
    assert run.here(*args, "--show").ok().out == printed.removesuffix("\n")
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {"pmapdiff.service": 0o644, "pmapdiff.timer": 0o644}
    assert run.here(*args, "--all", "--install").ok().out.startswith("unchanged in ")
    assert run.here(*args, "--all", "--every", "1h", "--install").ok().out.startswith("installed in ")
    assert "3600s" in (folder / "pmapdiff.timer").read_text()
    assert run.here(*args, "--remove").ok().out == f"removed from {folder}\n"
    assert list(folder.iterdir()) == []
    assert run.here(*args, "--remove").ok().out == f"there were no units in {folder}\n"


def test_unit_of_somebody_else_stays(run: Runner, tmp_path: Path) -> None:
    service = tmp_path / "pmapdiff.service"
    service.write_text("[Service]\nExecStart=/bin/true\n")
    for action in (["--all", "--install"], ["--remove"]):
        run.here("schedule", "systemd", "--folder", tmp_path, *action).refused("was not made by")
    assert service.read_text() == "[Service]\nExecStart=/bin/true\n"
    assert not (tmp_path / "pmapdiff.timer").exists()


def test_systemctl_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order: a timer that runs already keeps to its old interval until it is started anew."""
    told = tmp_path / "told"
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {told}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    manager = systemd.Manager(tmp_path / "units", system=True, runs=True)
    made = texts.make_units(Job(["/usr/bin/python3"], ("/var/lib/pmapdiff/pmapdiff.db",)), 60, system=True)
    assert manager.install(made)
    assert not manager.install(made)
    assert manager.remove()
    assert not manager.remove()
    assert told.read_text().splitlines() == [
        "daemon-reload", "enable pmapdiff.timer", "restart pmapdiff.timer",
        "daemon-reload", "enable pmapdiff.timer", "start pmapdiff.timer",
        "disable --now pmapdiff.timer", "daemon-reload",
    ]  # fmt: skip
    program.write_text("#!/bin/sh\necho first >&2; echo Access denied >&2; exit 4\n")
    with pytest.raises(PmapdiffError, match=r"systemctl --user daemon-reload failed: Access denied"):
        systemd.Manager(tmp_path / "units", system=False, runs=True).install(made)


def test_half_installed_is_shown_and_removed(run: Runner, tmp_path: Path) -> None:
    args = ("schedule", "systemd", "--folder", tmp_path)
    run.here(*args, "--all", "--install").ok()
    (tmp_path / "pmapdiff.service").unlink()
    assert "OnUnitActiveSec" in run.here(*args, "--show").ok().out
    assert run.here(*args, "--remove").ok().out == f"removed from {tmp_path}\n"


def test_folder_that_may_not_be_written(run: Runner) -> None:
    run.here("schedule", "systemd", "--folder", "/proc/nothing", "--all", "--install").refused("cannot write to /proc/nothing")


def test_interval_needs_units() -> None:
    with pytest.raises(UsageError):
        texts.make_units(Job(["/x"], ("/x",)), 0.999, system=True)


def test_sync_beside_the_recorder(run: Runner) -> None:
    url = "postgresql+psycopg://web3@db.example/pmapdiff"
    without = all_units(run, "--all", "--system")
    found = all_units(run, "--all", "--system", "--sync", url)
    assert list(found) == ["pmapdiff.service", "pmapdiff.timer", SYNC_SERVICE, SYNC_TIMER]
    # All that the recorder has of it: it starts the timer, and neither waits for anything nor gets a network.
    more = "# Started with it, and not waited for.\nWants=pmapdiff-sync.timer\n"
    assert found["pmapdiff.service"].replace(more, "") == without["pmapdiff.service"]
    assert more not in without["pmapdiff.service"]
    assert settings(found["pmapdiff.service"])["PrivateNetwork"] == "yes"
    assert found["pmapdiff.timer"] == without["pmapdiff.timer"]
    words = shlex.split(settings(found[SYNC_SERVICE])["ExecStart"])
    assert words[1:] == ["-P", "-m", "pmapdiff", "--db", str(run.db), "sync", url, "--quiet"]
    assert not any(line.startswith(("After=pmapdiff", "Before=pmapdiff", "Requires=")) for text in found.values() for line in text.splitlines())


@pytest.mark.parametrize(
    ("every", "begin", "splay"),
    [("5m", "10s", "120s"), ("1d", "10s", "120s"), ("1m", "10s", "30s"), ("10s", "2500ms", "5s"), ("1s", "250ms", "500ms")],
)
def test_sync_is_over_before_the_next_snapshot_if_it_takes_no_time(run: Runner, every: str, begin: str, splay: str) -> None:
    found = settings(all_units(run, "--all", "--every", every, "--sync", "/srv/y.db")[SYNC_TIMER])
    assert (found["OnActiveSec"], found["RandomizedDelaySec"], found["RemainAfterElapse"]) == (begin, splay, "no")
    # By default systemd starts a unit no more often than five times in ten seconds, and then not at all for a while.
    assert found["StartLimitIntervalSec"] == "0"


def test_splay_is_a_part_of_the_interval() -> None:
    assert [splay_of(every) for every in (60, 120, 180, 300, 86400)] == [30, 60, 90, 120, 120]


def test_sandbox_of_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "program_paths", lambda: [Path("/usr/bin/python3"), Path("/usr/lib")])
    own = "/var/lib/pmapdiff/pmapdiff.db"
    found = syncer(own, "postgresql+psycopg://u@db.example/x")
    # The password is in ~/.pgpass.
    assert (found["Environment"], found["ProtectHome"], found["ProtectProc"]) == ("HOME=%h", "read-only", "invisible")
    assert (found["CapabilityBoundingSet"], found["StateDirectory"], found["ProtectSystem"]) == ("", "pmapdiff", "strict")
    assert found["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6 AF_NETLINK"
    assert "PrivateNetwork" not in found
    assert "PrivateTmp" in found
    found = syncer(own, "/srv/100%/all.db")
    assert (found["StateDirectory"], found["ReadWritePaths"]) == ("pmapdiff", "/srv/100%%")
    assert (found["PrivateNetwork"], found["ProtectHome"], found["RestrictAddressFamilies"]) == ("yes", "yes", "AF_UNIX")
    assert syncer(own, "/home/someone/all.db")["ProtectHome"] == "read-only"
    assert "PrivateTmp" not in syncer(own, "/tmp/all.db")
    assert "PrivateTmp" not in syncer(own, "postgresql:///x")
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
        assert syncer(own, str(tmp_path / "all.db"))["CapabilityBoundingSet"] == "CAP_DAC_OVERRIDE"


def test_sync_goes_in_and_out(run: Runner, tmp_path: Path) -> None:
    folder, other = tmp_path / "units", tmp_path / "other" / "all.db"
    args = ("schedule", "systemd", "--folder", folder)
    without = run.here(*args, "--all").ok().out
    printed = run.here(*args, "--all", "--sync", other).ok().out
    assert not other.parent.exists()
    run.here(*args, "--all", "--sync", other, "--install").ok()
    assert other.parent.is_dir()
    assert run.here(*args, "--show").ok().out == printed.removesuffix("\n")
    assert run.here(*args, "--all", "--sync", other, "--install").ok().out.startswith("unchanged in ")
    assert run.here(*args, "--all", "--install").ok().out.startswith("installed in ")
    assert run.here(*args, "--show").ok().out == without.removesuffix("\n")
    assert {path.name for path in folder.iterdir()} == {"pmapdiff.service", "pmapdiff.timer"}
    run.here(*args, "--all", "--sync", other, "--install").ok()
    (folder / "pmapdiff.timer").unlink()
    assert run.here(*args, "--remove").ok().out == f"removed from {folder}\n"
    assert list(folder.iterdir()) == []


def test_sync_unit_of_somebody_else_stays(run: Runner, tmp_path: Path) -> None:
    """It is refused where it is in the way, and only there."""
    theirs = tmp_path / SYNC_SERVICE
    theirs.write_text("[Service]\nExecStart=/bin/true\n")
    args = ("schedule", "systemd", "--folder", tmp_path)
    run.here(*args, "--all", "--sync", "/srv/y.db").ok()
    run.here(*args, "--all", "--sync", tmp_path / "y.db", "--install").refused("was not made by")
    assert list(tmp_path.glob("pmapdiff*")) == [theirs]
    run.here(*args, "--all", "--install").ok()
    run.here(*args, "--remove").ok()
    assert list(tmp_path.glob("pmapdiff*")) == [theirs]


def test_systemctl_is_told_of_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {told}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    manager = systemd.Manager(tmp_path / "units", system=True, runs=True)
    record = Job(["/usr/bin/python3"], ("/srv/a.db",))
    with_sync = texts.make_units(record, 60, system=True, sync=sync_job("/srv/a.db", "/srv/b.db"))
    assert manager.install(with_sync)
    assert manager.install(texts.make_units(record, 60, system=True))
    assert manager.install(with_sync)
    assert manager.remove()
    installed = ["daemon-reload", "enable pmapdiff.timer", "restart pmapdiff.timer"]
    stopped = ["stop pmapdiff-sync.timer pmapdiff-sync.service"]
    assert told.read_text().splitlines() == [
        *installed, *stopped, *installed, *installed, "disable --now pmapdiff.timer", *stopped, "daemon-reload",
    ]  # fmt: skip
