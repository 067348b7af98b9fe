#!/bin/sh
# What a preload library adds to the start of a process: wall time and peak RSS of `true`, with it and without.
#
# The runs are interleaved; printed are medians, and their differences to the runs without a library. Both figures include
# exec and the loader's work on the library (relocations), as that is what a user of LD_PRELOAD pays. Peak RSS counts the
# pages of shared files that were touched, too; the kernel keeps it in batches for each processor: do not read much into
# differences below 100 KiB.
#
# usage: startup.sh [--lib FILE] [--programs DIR] [--runs N] [--peers]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
lib=$root/build/release/preload/liblabyrinth.so
programs=$root/build/release/bench
runs=200
peers=

usage() {
	sed -n 's/^# usage: /usage: /p' "$0" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--peers) peers=yes; shift; continue ;;
	--lib | --programs | --runs) [ $# -ge 2 ] || usage ;;
	*) usage ;;
	esac
	case $1 in
	--lib) lib=$2 ;;
	--programs) programs=$2 ;;
	--runs) runs=$2 ;;
	esac
	shift 2
done

[ -x "$programs/measure" ] || { echo "startup.sh: there is no program measure in $programs" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
true_program=$(PATH=/usr/bin:/bin command -pv true)
[ -x "$true_program" ] || true_program=/bin/true

# One line for each library: its name, and the path that is preloaded.
echo "none -" >"$work/libraries"
if [ -e "$lib" ]; then
	echo "labyrinth $(readlink -f "$lib")" >>"$work/libraries"
else
	echo "labyrinth: there is no $lib"
	[ -n "$peers" ] || exit 1
fi
[ -z "$peers" ] || python3 "$here/allocators.py" >>"$work/libraries"

# median COLUMN PATH: of the lines that measure printed for the path.
median() {
	awk -v path="$2" -v column="$1" '$2 == path { print $column }' "$work/measured" | sort -n |
		awk '{ value[NR] = $1 } END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}

set --
while read -r name path; do
	set -- "$@" --preload "$path"
done <"$work/libraries"
"$programs/measure" --runs "$runs" "$@" -- "$true_program" >"$work/measured" 2>"$work/messages" || {
	echo "startup.sh: a run failed" >&2
	grep -v 'exit 0 signal 0' "$work/measured" | head -5 >&2
	head -5 "$work/messages" >&2
	exit 1
}
if grep -q 'cannot be preloaded' "$work/messages"; then
	head -1 "$work/messages" >&2
	exit 1
fi

echo "$true_program, medians of $runs runs each"
while read -r name path; do
	echo "$name $(median 4 "$path") $(median 8 "$path")"
done <"$work/libraries" | awk '
	NR == 1 { time = $2; rss = $3; printf "%-10s %7.3f ms             %6d KiB\n", $1, $2 / 1e6, $3; next }
	{ printf "%-10s %7.3f ms  %+7.3f ms %6d KiB  %+6d KiB\n", $1, $2 / 1e6, ($2 - time) / 1e6, $3, $3 - rss }'
