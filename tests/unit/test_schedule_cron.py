"""The crontab entry: when, what, and that it goes in and out of a crontab without a trace on the lines of others."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import Runner
from strategies import law

from pmapdiff.errors import UsageError
from pmapdiff.schedule import cron
from pmapdiff.schedule.command import outsiders, record_job, without_password

# What stands between a regular expression and the recorder: python-crontab, cron, the shell.
NASTY = [
    "100%", r"\%", r"\\%", r"\\", "\\", "%", "%%", "a #b", "#", " # pmapdiff schedule", "'", "''", '"', "`id`", "$HOME", "$(id)", "a;b&c|d>e",
    "!", "~", "*", "", " ", "\t", "-x", "--all", "ü→", "^redis[0-9]+$", "\\n", "\\'", "a\\ #%'\"",
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"))) | st.text(st.sampled_from("\\%#'\"$` \ta"), max_size=12)

FAKE_CRONTAB = """#!/bin/sh
# What crontab(1) does, with a file of the test's own.
case "$1" in
-l) [ -e "$FAKE_SPOOL" ] && exec cat "$FAKE_SPOOL"; echo "no crontab for somebody" >&2; exit 1 ;;
*) if [ -n "$FAKE_FAILS" ]; then echo "$FAKE_FAILS" >&2; exit 1; fi; exec cp "$1" "$FAKE_SPOOL" ;;
esac
"""
FOREIGN = (
    "# m h  dom mon dow   command\n\n  \n#no space\nMAILTO=\"\"\nA= b\n*/5\t*  * * *   /bin/a 'x # y'   # comment  \n@daily backup%now\\%\n"
    "not a crontab line at all\n# 1 2 3 4 5 disabled # it\n61 99 * * * nonsense\n\x0cfeed\n\u2028 \u0085\n# pmapdiff schedule\nB='q'\n@reboot b\n"
)


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file behind a `crontab` program of this test."""
    program = tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(FAKE_CRONTAB)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SPOOL", str(tmp_path / "spool"))
    return tmp_path / "spool"


def as_cron_runs_it(command: str, *, collapses: bool) -> str:
    """The command that reaches the shell: do_command.c of Vixie cron; some versions take a backslash off another, too."""
    out, escaped = "", False
    for character in command:
        if escaped:
            escaped = False
            if character == "%" or (collapses and character == "\\"):
                out = out[:-1]
        elif character == "\\":
            escaped = True
        else:
            assert character != "%", f"cron would end the command here: {out!r}"
        out += character
    return out


def words_of(command: str) -> list[str]:
    """What /bin/sh makes of a command, asked of itself."""
    done = subprocess.run(["/bin/sh", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize(
    ("every", "fields"),
    [
        (60, "* * * * *"),
        (300, "*/5 * * * *"),
        (1800, "*/30 * * * *"),
        (3600, "0 * * * *"),
        (6 * 3600, "0 */6 * * *"),
        (86400, "0 0 * * *"),
    ],
)
def test_interval(every: float, fields: str) -> None:
    assert cron.cron_fields(every) == fields


@pytest.mark.parametrize(
    ("every", "near"), [(0.5, "1m"), (30, "1m"), (90, "1m and 2m"), (420, "6m and 10m"), (5400, "1h and 2h"), (172800, "1d"), (18000, "4h and 6h")]
)
def test_interval_that_a_crontab_cannot_say(run: Runner, every: float, near: str) -> None:
    with pytest.raises(UsageError, match=rf"\(the nearest that it can: {near}\).*schedule systemd.*record --every"):
        cron.cron_fields(every)
    run.here("schedule", "cron", "--all", "--every", f"{every}s").refused(near)


@pytest.mark.parametrize("collapses", [False, True])
@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("word", NASTY)
def test_nasty_word_survives(word: str, system: bool, collapses: bool) -> None:
    check_word(word, system, collapses)


@law(150)
@given(word=TEXT, system=st.booleans(), collapses=st.booleans())
def test_any_word_survives(word: str, system: bool, collapses: bool) -> None:
    check_word(word, system, collapses)


def check_word(word: str, system: bool, collapses: bool) -> None:
    target = cron.SystemCrontab() if system else cron.UserCrontab()
    words = ["/x y/python", "--name", word, "end"]
    line = cron.entry(target, "*/5 * * * *", " ".join(map(cron.quote, words)))
    fields, _, command = line.partition(" root " if system else " /") if system else (line[:11], "", line[12:])
    assert fields == "*/5 * * * *"
    assert words_of(as_cron_runs_it(command, collapses=collapses)) == words
    # Read again it is the same entry, and the only one.
    tab = cron._Tab(user=False if system else None, tab=f"{line}\n")
    assert [item.render() for item in tab.crons] == [line]


def test_line_that_is_printed(bare: Runner) -> None:
    result = bare.here("schedule", "cron", "--name", "^redis", "--keep-all", "24h", "--timeout", "2s").ok()
    fields, command = result.out[:11], result.out[12:]
    assert fields == "*/5 * * * *"
    assert command.endswith(" # pmapdiff schedule\n")
    words = words_of(command)
    assert words[-13:] == [
        sys.executable, "-P", "-m", "pmapdiff", "--db", str(bare.db), "record", "--quiet", "--name", "^redis", "--timeout", "2s", "--keep-all", "24h",
    ][-13:]  # fmt: skip
    assert Path(words[0]).is_absolute()
    assert words[1:3] == ["-n", f"{bare.db}.cron.lock"]
    assert "mkdir -p -m 700" in result.err
    assert not bare.db.parent.exists()


def test_the_line_records(bare: Runner, tmp_path: Path) -> None:
    """By /bin/sh, with the environment that cron gives."""
    name = Path(sys.executable).resolve().name
    line = bare.here("schedule", "cron", "--name", f"^{name}$|%d #\\\\").ok().out
    bare.db.parent.mkdir()
    command = as_cron_runs_it(line[12:].rstrip("\n"), collapses=False)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "x"}
    done = subprocess.run(["/bin/sh", "-c", command], env=environment, cwd="/", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(bare.here("snapshots", "--format", "json").json["snapshots"]) == 1


def test_second_recorder_gives_way(bare: Runner, tmp_path: Path) -> None:
    line = bare.here("schedule", "cron", "--all").ok().out
    bare.db.parent.mkdir()
    with open(f"{bare.db}.cron.lock", "w") as held:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(["/bin/sh", "-c", line[12:]], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert not bare.db.exists()


SYNCED = re.compile(
    r"(?P<record>.* record .*?); s=\$\?; (?P<sync>.*) 2>&1 \| \S*/logger -t pmapdiff-sync 2>/dev/null & exit \$s # pmapdiff schedule\n"
)


@pytest.mark.parametrize(("every", "splay"), [("1m", "30s"), ("2m", "60s"), ("5m", "120s"), ("1d", "120s")])
def test_line_that_syncs(run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, every: str, splay: str) -> None:
    monkeypatch.chdir(tmp_path)
    without = run.here("schedule", "cron", "--all", "--every", every).ok().out
    for other, meant in (
        ("postgresql+psycopg://web3@db/pmapdiff", "postgresql+psycopg://web3@db/pmapdiff"),
        ("100% #'b/x.db", f"{tmp_path}/100% #'b/x.db"),
        ("sqlite:///y.db", f"{tmp_path}/y.db"),
    ):
        line = run.here("schedule", "cron", "--all", "--every", every, "--sync", other).ok().out
        found = SYNCED.fullmatch(line)
        assert found is not None, line
        assert f"{found['record']} # pmapdiff schedule\n" == without
        for collapses in (False, True):
            words = words_of(as_cron_runs_it(found["sync"], collapses=collapses))
            assert words[1:3] == ["-n", f"{run.db}.cron.sync.lock"]
            assert words[3:] == [sys.executable, "-P", "-m", "pmapdiff", "--db", str(run.db), "sync", meant, "--quiet", "--splay", splay]
        # Read again it is the same entry.
        assert [item.render() for item in cron._Tab(tab=line).crons] == [line.rstrip("\n")]


def test_host_without_flock_and_logger(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    line = run.here("schedule", "cron", "--all", "--sync", "/y.db").ok().out
    command = f"{sys.executable} -P -m pmapdiff --db {run.db}"
    assert line == (
        f"*/5 * * * * {command} record --quiet --all; s=$?; {command} sync /y.db --quiet --splay 120s >/dev/null 2>&1 & exit $s # pmapdiff schedule\n"
    )


def run_entry(line: str, tmp_path: Path) -> tuple[int, str]:
    """The exit code of an entry, and all that it and what it leaves behind ever say."""
    command = as_cron_runs_it(line[12:], collapses=True)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "x"}
    # Whoever has the pipe open is waited for, as some daemons do.
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What goes to the system's log."""
    program = tmp_path / "log" / "logger"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$*" = "-t pmapdiff-sync" ] && cat >> {program.parent}/said; echo complains >&2\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program.parent / "said"


def test_the_line_records_and_syncs(run: Runner, tmp_path: Path, log: Path) -> None:
    name = Path(sys.executable).resolve().name
    other = tmp_path / "100% #b" / "all.db"
    line = run.here("schedule", "cron", "--name", f"^{name}$", "--sync", other).ok().out.replace("--splay 120s", "--splay 1ms")
    for number in (1, 2):
        assert run_entry(line, tmp_path) == (0, "")
        assert len(run.here("--db", other, "snapshots", "--format", "json", store=False).json["snapshots"]) == number
    assert log.read_text() == ""


def test_server_that_is_away_sends_no_mail(run: Runner, tmp_path: Path, log: Path) -> None:
    name = Path(sys.executable).resolve().name
    url = f"postgresql+psycopg://u@/x?host={tmp_path}"
    line = run.here("schedule", "cron", "--name", f"^{name}$", "--sync", url).ok().out.replace("--splay 120s", "--splay 1ms")
    assert run_entry(line, tmp_path) == (0, "")
    assert log.read_text().startswith("pmapdiff: cannot connect to postgresql+psycopg://u@/x?host=")
    assert log.read_text().count("\n") == 1
    # What becomes of the recording is told as before.
    failing = line.replace("record --quiet", "record --quiet --pid 0")
    code, said = run_entry(failing, tmp_path)
    assert code != 0
    assert said.startswith("pmapdiff: ")
    assert log.read_text().count("\n") == 2


def test_sync_that_hangs_holds_nothing_up(run: Runner, tmp_path: Path) -> None:
    """Neither the entry, which ends, nor the next recorder; and there is never a second one."""
    name = Path(sys.executable).resolve().name
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"postgresql+psycopg://u@127.0.0.1:{listening.getsockname()[1]}/x?connect_timeout=600"
    line = run.here("schedule", "cron", "--name", f"^{name}$", "--sync", url).ok().out.replace("--splay 120s", "--splay 1ms")
    with listening, subprocess.Popen(["/bin/sh", "-c", line[12:]], stdout=subprocess.DEVNULL, start_new_session=True) as first:
        try:
            assert first.wait(60) == 0
            listening.settimeout(60)
            connection, _ = listening.accept()
            with connection:
                # It says what it wants, and waits for the answer.
                assert connection.recv(8)
                # This one gives way, and so its line leaves nobody behind.
                assert run_entry(line, tmp_path) == (0, "")
                assert len(run.here("snapshots", "--format", "json").json["snapshots"]) == 2
        finally:
            os.killpg(first.pid, signal.SIGKILL)


def test_relative_store_and_store_of_the_host(run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert f" --db {tmp_path}/a.db " in run.here("--db", "a.db", "schedule", "cron", "--all", store=False).ok().out
    assert f" --db {tmp_path}/b.db " in run.here("--db", "sqlite:///b.db", "schedule", "cron", "--all", store=False).ok().out
    system = run.here("schedule", "cron", "--all", "--system", store=False).ok().out
    assert system.startswith("*/5 * * * * root ")
    assert " --db /var/lib/pmapdiff/pmapdiff.db " in system
    url = "postgresql+psycopg://recorder@db.example/pmapdiff"
    assert f" --db {url} " in run.here("--db", url, "schedule", "cron", "--all", "--system", store=False).ok().out


def test_install_show_and_remove(run: Runner, spool: Path) -> None:
    spool.write_text(FOREIGN)
    printed = run.here("schedule", "cron", "--all").ok().out
    assert spool.read_text() == FOREIGN
    result = run.here("schedule", "cron", "--all", "--install").ok()
    assert result.out == f"added to your crontab\n{printed}"
    assert spool.read_bytes() == (FOREIGN + printed).encode()
    assert run.db.parent.stat().st_mode & 0o777 == 0o700
    assert run.here("schedule", "cron", "--all", "--install").ok().out == f"unchanged in your crontab\n{printed}"
    assert run.here("schedule", "cron", "--show").ok().out == printed
    other = run.here("schedule", "cron", "--name", "x", "--every", "1h", "--install").ok().out
    assert other.startswith("replaced in your crontab\n0 * * * * ")
    assert spool.read_bytes() == (FOREIGN + other.partition("\n")[2]).encode()
    assert run.here("schedule", "cron", "--remove").ok().out == "removed from your crontab\n"
    assert spool.read_bytes() == FOREIGN.encode()
    assert run.here("schedule", "cron", "--remove").ok().out == "there was no entry in your crontab\n"
    run.here("schedule", "cron", "--show").refused("there is no entry")


def test_there_is_exactly_one(run: Runner, spool: Path) -> None:
    """The new one is where the first one was; one that was turned off by a # counts."""
    line = run.here("schedule", "cron", "--all").ok().out
    spool.write_text(f"a\n# {line}b\n{line}c\n{line}")
    run.here("schedule", "cron", "--all", "--every", "1h", "--install").ok()
    assert spool.read_text() == f"a\n{line.replace('*/5 *', '0 *')}b\nc\n"


def test_first_crontab(run: Runner, spool: Path) -> None:
    run.here("schedule", "cron", "--remove").ok()
    assert not spool.exists()
    line = run.here("schedule", "cron", "--all", "--install").ok().out.splitlines()[1]
    assert spool.read_text() == f"{line}\n"


def test_crontab_that_fails(run: Runner, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAILS", "disk full")
    run.here("schedule", "cron", "--all", "--install").refused("cannot write your crontab", "disk full")
    monkeypatch.delenv("FAKE_FAILS")
    spool.write_bytes(b"# \xff\n")
    run.here("schedule", "cron", "--all", "--install").refused("not UTF-8")
    assert spool.read_bytes() == b"# \xff\n"
    monkeypatch.setenv("PATH", "/nowhere")
    run.here("schedule", "cron", "--all", "--install").refused("there is no program `crontab`", "schedule systemd")


def test_system_file(run: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "cron.d"
    folder.mkdir()
    file = folder / "pmapdiff"
    args = ("schedule", "cron", "--system", "--file", file)
    printed = run.here(*args, "--all").ok().out
    assert not file.exists()
    assert run.here(*args, "--all", "--install").ok().out == f"added to {file}\n{printed}"
    assert file.read_text() == printed
    assert file.stat().st_mode & 0o777 == 0o644
    assert printed.split(" ")[5] == "root"
    assert run.here(*args, "--show").ok().out == printed
    assert run.here(*args, "--remove").ok().out == f"removed from {file}\n"
    assert not file.exists()
    file.write_bytes(FOREIGN.encode())
    run.here(*args, "--all", "--install").ok()
    assert file.read_bytes() == (FOREIGN + printed).encode()
    run.here(*args, "--remove").ok()
    assert file.read_bytes() == FOREIGN.encode()
    assert list(folder.iterdir()) == [file]
    run.here("schedule", "cron", "--system", "--file", "/proc/nothing/here", "--all", "--install").refused("cannot write /proc/nothing/here")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "say what to record: --all, --name, --user or --cgroup"),
        (("--tree",), "say what to record"),
        (("--name", "("), "no regular expression"),
        (("--name", "a\nb"), "control character"),
        (("--user", "no-such-user"), "no user"),
        (("--all", "--keep-all", "1x"), "no duration"),
        (("--all", "--timeout", "0s"), "no time at all"),
        (("--all", "--every", "soon"), "no duration"),
        (("--all", "--install", "--show"), "one at a time"),
        (("--all", "--remove"), "takes no options"),
        (("--name", "x" * 990), "cuts it off"),
        (("--name", "x" * 500, "--sync", "/" + "y" * 200), "cuts it off"),
        (("--sync", "/x"), "say what to record"),
        (("--all", "--sync", "/a\nb"), "control character"),
        (("--sync", "/x", "--show"), "takes no options"),
    ],
)
def test_what_is_refused(run: Runner, args: tuple[str, ...], said: str) -> None:
    run.here("schedule", "cron", *args).refused(said)


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/d", "postgresql+psycopg://u@h/d?password=secret", "postgresql://u@h/d?sslpassword=secret"])
@pytest.mark.parametrize("form", ["cron", "systemd"])
def test_no_password_in_a_schedule(run: Runner, url: str, form: str) -> None:
    assert "secret" not in run.here("schedule", form, "--all", store=False, env={"PMAPDIFF_DB": url}).refused("~/.pgpass").err


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/d", "postgresql+psycopg://u@h/d?password=secret"])
@pytest.mark.parametrize("form", ["cron", "systemd"])
def test_no_password_in_what_is_synced_with(run: Runner, url: str, form: str) -> None:
    assert "secret" not in run.here("schedule", form, "--all", "--sync", url).refused("leave it out of --sync", "~/.pgpass").err


@pytest.mark.parametrize("form", ["cron", "systemd"])
def test_sync_with_itself_is_refused(run: Runner, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.chdir(run.db.parent.parent)
    for other in (run.db, f"{run.db.parent.name}/{run.db.name}", f"sqlite:///{run.db}"):
        run.here("schedule", form, "--all", "--sync", other).refused("is the store itself")


@pytest.mark.parametrize("form", ["cron", "systemd"])
def test_what_the_other_store_needs_is_there(run: Runner, spool: Path, tmp_path: Path, form: str) -> None:
    """Nothing goes in that cannot work; what needs a server is found out by the sync itself."""
    options = ("--folder", tmp_path / "units") if form == "systemd" else ()
    args = ("schedule", form, "--all", *options, "--install", "--sync")
    run.here(*args, "mysql+oursql://u@h/d").refused("that can be used")
    run.here(*args, "oracle+cx_oracle://u@h/d").refused("is not installed")
    assert not spool.exists()
    assert not (tmp_path / "units").exists()
    run.here(*args, "postgresql+psycopg://u@nowhere.invalid/d").ok()


def test_passwords_are_not_shown() -> None:
    text = "--db 'postgresql://u:secret@h/d?sslpassword=secret&x=1' postgresql://u@h/d /a:b@c"
    assert without_password(text) == "--db 'postgresql://u:***@h/d?sslpassword=***&x=1' postgresql://u@h/d /a:b@c"


def test_every_option_of_what_is_recorded_is_one_of_record(run: Runner) -> None:
    """A schedule hands its options on by their names: `record` must have them all."""
    from dataclasses import fields

    from pmapdiff.cli.schedule import Recorded

    values: dict[str, Any] = {field.name: "1s" if field.default is not False else True for field in fields(Recorded)}
    given = Recorded(**values)
    helped = run.here("record", "--help").ok().out
    assert all(f" {option} " in helped for option, _ in given.options())
    assert len(given.options()) == len(fields(Recorded))
    assert shlex.join(record_job("/x", given.options()).words).endswith("--keep-last 1s --max-size 1s")


def test_outsiders(tmp_path: Path) -> None:
    assert outsiders([Path("/usr/bin")]) == []
    if os.geteuid() == 0:
        (tmp_path / "bin").mkdir()
        os.chown(tmp_path / "bin", pwd.getpwnam("nobody").pw_uid, -1)
        assert outsiders([tmp_path / "bin" / "python", tmp_path]) == [tmp_path / "bin"]


def test_daemon(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "comm").write_text("crontab\n")
    assert not cron.daemon_runs(tmp_path)
    (tmp_path / "12" / "comm").write_text("crond\n")
    assert cron.daemon_runs(tmp_path)
