#!/usr/bin/env bash
# Runs handler.c (malloc in a signal handler that interrupts malloc) under glibc, jemalloc, mimalloc, tcmalloc and Labyrinth, and prints
# how each run ended, and when. Fails if a run under Labyrinth ends badly. `./dev demo` builds both and calls this.
#
# usage: run.sh [--program FILE] [--lib FILE] [--seconds N] [--runs N] [--only NAMES]
#   --seconds  how long a run goes on if nothing goes wrong (default 5)
#   --runs     runs under each malloc (default 1); with more than one, a summary follows
#   --only     e.g. glibc,labyrinth
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
program=$root/build/release/examples/handler
lib=$root/build/release/preload/liblabyrinth.so
seconds=5
runs=1
only=

check_only=
bad_usage() {
    echo "run.sh: $* (try --help)" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --check-arguments)
        check_only=1
        shift
        continue
        ;;
    -h | --help)
        sed -n '/^# usage/,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
        exit 0
        ;;
    --program | --lib | --seconds | --runs | --only) [ $# -ge 2 ] || bad_usage "$1 wants a value" ;;
    esac
    case $1 in
    --program) program=$2 ;;
    --lib) lib=$2 ;;
    --seconds) seconds=$2 ;;
    --runs) runs=$2 ;;
    --only) only=$2 ;;
    *) bad_usage "unknown argument: $1" ;;
    esac
    shift 2
done
[ -z "$check_only" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# seconds_since MICROSECONDS [LESS]: with two digits after the point.
now() { echo "${EPOCHREALTIME//[!0-9]/}"; }
seconds_since() { awk -v us=$(($(now) - $1 - ${2:-0})) 'BEGIN { printf "%.2f", us < 0 ? 0 : us / 1e6 }'; }

# run_once LIBRARY: one line; status 0 if the program went on to its end. The watchdog needs a second to see a hang.
run_once() {
    local begin status=0 line
    begin=$(now)
    # Braces, as bash would announce a crash on stderr.
    { timeout -k 1 $((seconds + 60)) env LD_PRELOAD="$1" "$program" "$seconds" >"$work/output" 2>&1 || status=$?; } 2>/dev/null
    line=$(tail -n 1 "$work/output" | tr -d '\0')
    case $status in
    0) echo "ran on: $line" ;;
    124 | 137)
        if [ "$line" = "no progress for a second" ]; then
            echo "hung after $(seconds_since "$begin" 1000000) s"
        else
            echo "hung, and its watchdog with it" # timeout has ended it
        fi
        ;;
    1) echo "failed after $(seconds_since "$begin") s: $line" ;;
    *) echo "crashed after $(seconds_since "$begin") s: SIG$(kill -l "$status" 2>/dev/null || echo ?)${line:+, \"$line\"}" ;;
    esac
    return "$status"
}

# run_all NAME LIBRARY: all its runs; status 0 if all went on to the end.
run_all() {
    local bad=0
    for ((i = 0; i < runs; i++)); do
        run_once "$2" >"$work/line" || bad=$((bad + 1))
        echo "$1: $(cat "$work/line")" | tee -a "$work/lines"
    done
    [ "$runs" = 1 ] || awk -v name="$1" -v runs="$runs" -v bad="$bad" '
        $1 == name ":" && $3 == "after" {
            how[$2]++
            if (least == "" || $4 < least) least = $4
            if ($4 > most) most = $4
        }
        END {
            printf "%s: %d of %d runs went wrong", name, bad, runs
            if (bad) printf ", after %.2f to %.2f s:", least, most
            for (word in how) printf " %s %d", word, how[word]
            print ""
        }' "$work/lines"
    [ "$bad" = 0 ]
}

[ -x "$program" ] || { echo "run.sh: there is no $program" >&2; exit 2; }
[ -f "$lib" ] || { echo "run.sh: there is no $lib" >&2; exit 2; }
printf 'glibc\t\n' >"$work/mallocs"
python3 "$root/bench/allocators.py" >>"$work/mallocs"
printf 'labyrinth\t%s\n' "$(readlink -f "$lib")" >>"$work/mallocs"

good=0
while IFS=$'\t' read -r name path; do
    case ,$only, in ,, | *",$name,"*) ;; *) continue ;; esac
    [ -z "$path" ] || python3 "$root/bench/allocators.py" --check "$program" "$path" || exit 2
    status=0
    run_all "$name" "$path" || status=1
    [ "$name" != labyrinth ] || good=$status
done <"$work/mallocs"
exit "$good"
