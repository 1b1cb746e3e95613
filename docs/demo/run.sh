#!/usr/bin/env bash
# The demo: two small programs, one of which leaks; both are recorded a few times and compared. Ten seconds.
#
# Usage: make demo        (or docs/demo/run.sh with pmapdiff and its python on the PATH)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
programs=()

clean_up() {
    trap - EXIT
    if ((${#programs[@]})); then
        kill "${programs[@]}" 2>/dev/null || true
        wait "${programs[@]}" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

export PMAPDIFF_DB="$work/demo.db"
export COLUMNS="${COLUMNS:-80}"

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

cd "$here"
python leaking.py &
leaking=$!
programs+=("$leaking")
python steady.py &
steady=$!
programs+=("$steady")
echo "Two programs do the same work: leaking.py (pid $leaking) keeps every answer,"
echo "steady.py (pid $steady) forgets the old ones."
sleep 1.5

run pmapdiff record --pid "$leaking" --pid "$steady" --label start
sleep 1
run pmapdiff record --pid "$leaking" --pid "$steady" --every 1s --count 5
run pmapdiff snapshots
run pmapdiff compare start latest
run pmapdiff history --pid "$leaking" '[heap]'

echo
echo "Both programs and the database are removed again. For a process of your own:"
echo "  pmapdiff record --pid PID     now and later, then    pmapdiff compare first latest"
