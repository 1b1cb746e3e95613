#!/usr/bin/env bash
# Records orders.db and orders/oom.log: a night of a small service that leaks until the kernel kills it, in about 70 seconds.
#
# Usage: sudo sample_snapshots/record-orders.sh     (needs a memory cgroup, dmesg, /usr/bin/python3 and pmapdiff on the PATH)
#
# The service (orders/orders) runs in a cgroup with a limit, customers (orders/customers.py) make requests outside of it, and pmapdiff
# records the service once a second. Nothing of what the kernel counts is made up. The times are: they are stretched by 300, so that a
# second is five minutes and the night begins at 22:00; in the database, and in the out-of-memory report.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
limit=$((56 << 20))
restart_after=25
stretch=300
night='2026-11-22T22:00:00+00:00'
group=system.slice/orders.service

[[ $(id -u) == 0 ]] || { echo "record-orders.sh: only root may limit memory: use sudo" >&2; exit 2; }
for tool in dmesg setpriv unshare /usr/bin/python3 pmapdiff; do
    command -v "$tool" >/dev/null || { echo "record-orders.sh: $tool is not installed" >&2; exit 2; }
done
if [[ -z ${ORDERS_INSIDE:-} ]]; then
    # A host of its own as far as names go: neither its name nor paths of this machine belong into a sample.
    ORDERS_INSIDE=1 exec unshare --mount --uts "$0"
fi
python=$(dirname "$(command -v pmapdiff)")/python
hostname shop1
mount -t tmpfs none /srv
mkdir /srv/orders /srv/orders/run
cp "$here/orders/orders" "$here/orders/customers.py" /srv/orders/
chown nobody /srv/orders/run
work=$(mktemp -d)

if [[ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]]; then
    cgroup=/sys/fs/cgroup/memory/$group limit_file=memory.limit_in_bytes kills_file=memory.oom_control
else
    cgroup=/sys/fs/cgroup/$group limit_file=memory.max kills_file=memory.events
fi
service="" customers="" recorder=""
clean_up() {
    for process in $recorder $customers $service; do
        kill -TERM "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    sleep 0.5
    rmdir "$cgroup" 2>/dev/null || true
    rmdir "$(dirname "$cgroup")" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

mkdir -p "$cgroup"
if [[ $limit_file == memory.max && ! -e $cgroup/$limit_file ]]; then
    echo +memory >/sys/fs/cgroup/cgroup.subtree_control
    echo +memory >"$(dirname "$cgroup")/cgroup.subtree_control"
fi
echo "$limit" >"$cgroup/$limit_file"
# No swap in between: what a limit stops is to be seen as it is.
for setting in memory.swappiness memory.swap.max; do
    [[ ! -e $cgroup/$setting ]] || echo 0 >"$cgroup/$setting"
done

# The kernel's clock against ours: the log begins with a line of which both times are known.
mark="orders: a sample is recorded, $$"
marked=$("$python" -c "
import sys, time
with open('/dev/kmsg', 'w') as log:
    moment = time.time()
    log.write(sys.argv[1])
print(moment)" "$mark")

cd /srv/orders/run
(
    echo "$BASHPID" >"$cgroup/cgroup.procs"
    exec setpriv --reuid=nobody --regid=nogroup --clear-groups env -i PATH=/usr/bin:/bin LANG=C.UTF-8 /srv/orders/orders
) &
service=$!
sleep 1.5
setpriv --reuid=nobody --regid=nogroup --clear-groups env -i PATH=/usr/bin:/bin /usr/bin/python3 /srv/orders/customers.py &
customers=$!
pmapdiff --db "$work/orders.db" record --name '^orders$' --every 1s --quiet &
recorder=$!

sleep "$restart_after"
kill -HUP "$service"
for _ in $(seq 1200); do
    grep -qE '^oom_kill [1-9]' "$cgroup/$kills_file" && break
    sleep 0.1
done
grep -qE '^oom_kill [1-9]' "$cgroup/$kills_file" || { echo "record-orders.sh: nothing was killed" >&2; exit 1; }
# The next one, which the service starts by itself, is seen a few times.
sleep 4
kill -TERM "$recorder"
wait "$recorder"
recorder=""

dmesg | sed -n "/$mark/,\$p" >"$work/dmesg"
"$python" - "$work/orders.db" "$work/dmesg" "$work/oom.log" "$marked" "$stretch" "$night" <<'PYTHON'
import os
import re
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

database, said, log, marked, stretch, night = sys.argv[1:]
factor, begin_us = int(stretch), int(datetime.fromisoformat(night).timestamp()) * 1_000_000

connection = sqlite3.connect(database, isolation_level=None)
((first_us,),) = connection.execute("SELECT min(taken_at) FROM snapshot")
connection.execute("BEGIN")
# The kernel says when it booted in whole seconds, which would be five minutes each: a start is told by its ticks.
booted_us = (time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)) * 1e6
connection.execute("UPDATE process SET started_at = CAST(? + start_ticks * ? AS INTEGER)", (booted_us, 1e6 / os.sysconf("SC_CLK_TCK")))
for table, column in (("snapshot", "taken_at"), ("process", "started_at")):
    connection.execute(f"UPDATE {table} SET {column} = ? + ({column} - ?) * ?", (begin_us, first_us, factor))
connection.execute("COMMIT")
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.execute("PRAGMA journal_mode=DELETE")
connection.execute("VACUUM")
connection.close()

# The report of the kill, as `dmesg --time-format iso` shows it, with the stretched time.
lines = re.findall(r"^\[ *(\d+\.\d+)\] ?(.*)$", Path(said).read_text(), re.MULTILINE)
offset_us = float(marked) * 1e6 - float(lines[0][0]) * 1e6
start = next(number for number, (_, text) in enumerate(lines) if "invoked oom-killer" in text)
end = next(number for number, (_, text) in enumerate(lines) if "Killed process" in text)
with open(log, "w") as report:
    for when, text in lines[start : end + 1]:
        # Names of the machine and of its kernel say nothing about the sample.
        if "Hardware name:" in text:
            continue
        text = re.sub(r"(Not tainted \d+\.\d+\.\d+)\S*.*", r"\1", text)
        moment_us = begin_us + (float(when) * 1e6 + offset_us - first_us) * factor
        moment = datetime.fromtimestamp(moment_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S,%f+00:00")
        report.write(f"{moment} {text}\n")
PYTHON
pmapdiff --db "$work/orders.db" db check
cp "$work/orders.db" "$here/orders.db"
cp "$work/oom.log" "$here/orders/oom.log"
chmod 644 "$here/orders.db" "$here/orders/oom.log"
