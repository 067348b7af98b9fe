#!/usr/bin/env bash
# overcommit.sh - runs a program (limits-overcommit of the build) with vm.overcommit_memory set to 2, and puts it back. The setting is the whole
# machine's: for seconds large programs may get no memory (small ones do: vm.user_reserve_kbytes is raised as well). So it is not part of any
# suite, and has to be asked for in full.
#
# usage: overcommit.sh --change-this-machine LIBRARY PROGRAM
set -euo pipefail

settings=/proc/sys/vm

not_run() {
    echo "not run: $*" >&2
    exit 77
}

if [ $# -ne 3 ] || [ "$1" != --change-this-machine ]; then
    sed -n '2,6s/^#$/# /; 2,6s/^# //p' "$0" >&2
    exit 2
fi
[ "$(id -u)" = 0 ] || not_run "only root can set vm.overcommit_memory"
[ -w "$settings/overcommit_memory" ] || not_run "$settings cannot be written"

mode=$(cat "$settings/overcommit_memory") reserve=$(cat "$settings/user_reserve_kbytes")
trap 'echo "$mode" >"$settings/overcommit_memory"; echo "$reserve" >"$settings/user_reserve_kbytes"' EXIT
trap 'exit 1' INT TERM HUP
echo $((4 << 20)) >"$settings/user_reserve_kbytes"
echo 2 >"$settings/overcommit_memory"
LD_PRELOAD=$2 "$3"
