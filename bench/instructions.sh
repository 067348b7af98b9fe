#!/bin/sh
# Counts the instructions of a pair of malloc and free under a preload library, with valgrind --tool=callgrind.
#
# The loop of bench/pair is run with N and with 2 N pairs, and the same loop without the calls; start-up and what happens
# once cancel out:  ((with 2N - with N) - (empty 2N - empty N)) / N.  The calls themselves, PLT stubs included, are in
# the figure. Callgrind does not replace malloc, and LD_PRELOAD given to valgrind reaches the client; that the
# library then provides malloc is checked first.
#
# With --atomic also a claim and a release of the atomic tier (bench/atomic: lab_alloc with LAB_GFP_ATOMIC, lab_free), when the first try
# succeeds and when the reserve is used up; no PLT stub is in these, as the functions come from dlsym.
#
# usage: instructions.sh [--lib FILE] [--programs DIR] [--pairs N] [--size BYTES] [--held N] [--peers] [--atomic]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
lib=$root/build/release/preload/liblabyrinth.so
programs=$root/build/release/bench
pairs=100000
size=32
held=16
peers=
atomic=

usage() {
	sed -n 's/^# usage: /usage: /p' "$0" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--peers) peers=yes; shift; continue ;;
	--atomic) atomic=yes; shift; continue ;;
	--lib | --programs | --pairs | --size | --held) [ $# -ge 2 ] || usage ;;
	*) usage ;;
	esac
	case $1 in
	--lib) lib=$2 ;;
	--programs) programs=$2 ;;
	--pairs) pairs=$2 ;;
	--size) size=$2 ;;
	--held) held=$2 ;;
	esac
	shift 2
done

command -v valgrind >/dev/null || { echo "instructions.sh: valgrind is not installed" >&2; exit 2; }
[ -x "$programs/pair" ] || { echo "instructions.sh: there is no program pair in $programs" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# count LIBRARY PAIRS EMPTY: the instructions of one run of $program; with $inside set, of the calls alone.
count() {
	# shellcheck disable=SC2086 # $inside and $program are several words
	if ! LD_PRELOAD=$1 valgrind --tool=callgrind --callgrind-out-file=/dev/null $inside \
		"$programs"/$program --pairs "$2" --empty "$3" --size "$size" --held "$held" >"$work/output" 2>&1; then
		echo "instructions.sh: the run under ${1:-glibc} failed:" >&2
		tail -5 "$work/output" >&2
		return 1
	fi
	sed -n 's/^.*Collected : \([0-9]*\).*$/\1/p' "$work/output"
}

# pair_cost NAME LIBRARY: prints one line about $program and $toggles; LIBRARY is empty for glibc.
pair_cost() {
	[ -z "$2" ] || python3 "$here/allocators.py" --check "$programs/pair" "$2" || return 1
	if ! with1=$(count "$2" "$pairs" 0) || ! with2=$(count "$2" $((2 * pairs)) 0) ||
		! empty1=$(count "$2" "$pairs" 1) || ! empty2=$(count "$2" $((2 * pairs)) 1); then
		echo "$1: failed"
		return 1
	fi
	inside=$toggles
	if ! in1=$(count "$2" "$pairs" 0) || ! in2=$(count "$2" $((2 * pairs)) 0); then
		echo "$1: failed"
		return 1
	fi
	inside=
	awk -v name="$1" -v calls=$((with2 - with1)) -v empty=$((empty2 - empty1)) -v inside=$((in2 - in1)) -v pairs="$pairs" \
		'BEGIN { printf "%-10s %7.1f instructions a pair, %7.1f of them in the calls\n", name, (calls - empty) / pairs, inside / pairs }'
}

inside=
status=0
program=pair
toggles='--toggle-collect=malloc --toggle-collect=free'
echo "malloc($size) and free, $pairs and $((2 * pairs)) pairs, $held blocks held, $(valgrind --version)"
if [ -e "$lib" ]; then
	pair_cost labyrinth "$lib" || status=1
else
	echo "labyrinth: there is no $lib"
	[ -n "$peers" ] || status=1
fi
if [ -n "$peers" ]; then
	pair_cost glibc "" || status=1
	python3 "$here/allocators.py" >"$work/peers"
	while read -r name path; do
		if [ "$name" = scudo ]; then
			echo "scudo: left out, valgrind cannot run it" >&2
			continue
		fi
		pair_cost "$name" "$path" || status=1
	done <"$work/peers"
fi
if [ -n "$atomic" ]; then
	toggles='--toggle-collect=lab_alloc --toggle-collect=lab_free'
	held=4
	echo "lab_alloc($size, ATOMIC) and lab_free, $held slots held"
	program='atomic --call 1'
	pair_cost first-try "$lib" || status=1
	echo "lab_alloc($size, ATOMIC) that gets NULL, every slot being taken"
	program='atomic --call 3'
	held=0
	pair_cost full "$lib" || status=1
fi
exit $status
