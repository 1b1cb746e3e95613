#!/usr/bin/env bash
# Records the series redis-series/*.smaps and redis.db from a real redis-server, in about 20 seconds.
#
# Usage: sample_snapshots/record-redis.sh        (needs redis-server, redis-cli, awk and pmapdiff on the PATH)
#
# The server gets a socket in a temporary folder, saves nothing and is stopped at the end. It stands still (SIGSTOP)
# while pmapdiff records it and its smaps is copied; the script makes sure that both are the same, byte for byte.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
keys=100000
work=$(mktemp -d)
server=""

clean_up() {
    if [[ -n $server ]]; then
        kill -CONT "$server" 2>/dev/null || true
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT

for tool in redis-server redis-cli awk pmapdiff; do
    command -v "$tool" >/dev/null || { echo "record-redis.sh: $tool is not installed" >&2; exit 2; }
done
python=$(dirname "$(command -v pmapdiff)")/python

# A relative socket, and no environment: neither belongs into a sample that other people read.
cd "$work"
env -i "$(command -v redis-server)" --port 0 --unixsocket redis.sock --daemonize no --save '' --appendonly no --loglevel warning >redis.log &
server=$!
for _ in $(seq 100); do
    redis-cli -s redis.sock ping >/dev/null 2>&1 && break
    sleep 0.1
done
redis-cli -s redis.sock ping >/dev/null

load() { # load FIRST LAST: 100-byte values under the keys of these numbers
    awk -v first="$1" -v last="$2" 'BEGIN {
        value = "0123456789"; while (length(value) < 100) value = value value; value = substr(value, 1, 100)
        for (i = first; i <= last; i++) printf "SET key:%08d %s\r\n", i, value
    }' | redis-cli -s redis.sock --pipe >/dev/null
}

delete_odd() { # every second key, so that the holes lie all over the memory
    awk -v last="$keys" 'BEGIN { for (i = 1; i <= last; i += 2) printf "DEL key:%08d\r\n", i }' | redis-cli -s redis.sock --pipe >/dev/null
}

# One process takes both forms of a moment, and again until they are the same: the Pss of a library in the server's
# table depends on how many processes map it, so whatever starts or ends on the host in between changes the table.
cat >take.py <<'PYTHON'
import hashlib
import io
import shutil
import sqlite3
import sys
from contextlib import closing, redirect_stdout
from pathlib import Path

from pmapdiff.cli import load_app

pid, label, copy = sys.argv[1:]
store, attempt = Path("redis.db"), Path("attempt.db")
for _ in range(200):
    attempt.unlink(missing_ok=True)
    if store.exists():
        shutil.copy(store, attempt)
    said = io.StringIO()
    with redirect_stdout(said):
        load_app()(["--db", str(attempt), "record", "--pid", pid, "--label", label], standalone_mode=False)
    text = Path(f"/proc/{pid}/smaps").read_bytes()
    with closing(sqlite3.connect(attempt)) as connection:
        (digest,) = connection.execute("SELECT digest FROM totals ORDER BY first_seq DESC LIMIT 1").fetchone()
    if digest == hashlib.sha256(text).digest()[:16]:
        break
else:
    sys.exit("this host is too busy to take the same table twice")
attempt.rename(store)
Path(copy).write_bytes(text)
print(said.getvalue(), end="")
PYTHON

mkdir series
number=0
take() { # take LABEL: both forms of one moment
    number=$((number + 1))
    sleep 0.5
    kill -STOP "$server"
    while [[ $(awk '{ print $3 }' "/proc/$server/stat") != T ]]; do sleep 0.01; done
    copy=series/$(printf '%02d' "$number")-$1.smaps
    "$python" take.py "$server" "$1" "$copy"
    kill -CONT "$server"
    pmapdiff --db redis.db show "$1" --format smaps | cmp - "$copy"
}

quarter=$((keys / 4))
sleep 1
take start
load 1 $quarter
take loading-25
load $((quarter + 1)) $((2 * quarter))
take loading-50
load $((2 * quarter + 1)) $((3 * quarter))
take loading-75
load $((3 * quarter + 1)) $keys
take loaded
delete_odd
take half-deleted
# jemalloc gives unused pages back about ten seconds after they were freed.
sleep 12
take idle

# One file without a journal beside it, so that reading it never writes to the checkout. Where the server ran on this
# machine (its cgroup) says nothing about the sample and is left out.
"$python" - redis.db <<'PYTHON'
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("UPDATE process SET cgroup_id = NULL, container = NULL, unit = NULL")
connection.execute("DELETE FROM string WHERE id NOT IN (SELECT comm_id FROM process UNION SELECT cmdline_id FROM process UNION "
                   "SELECT exe_id FROM process WHERE exe_id IS NOT NULL UNION SELECT name_id FROM backing UNION "
                   "SELECT flags_id FROM protection WHERE flags_id IS NOT NULL)")
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.execute("PRAGMA journal_mode=DELETE")
connection.execute("VACUUM")
connection.close()
PYTHON
pmapdiff --db redis.db db check

rm -rf "$here/redis-series"
mkdir "$here/redis-series"
cp series/*.smaps "$here/redis-series/"
cp redis.db "$here/redis.db"
chmod 644 "$here/redis.db" "$here"/redis-series/*.smaps
