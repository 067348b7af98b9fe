#!/bin/sh
# What it would cost to link liburcu, by flavour, and what it does where Labyrinth's walks may be (docs/adr/0013): the figures behind a
# decision. Needs liburcu-dev and a C compiler. Times are medians of pairs of `true` with and without the library preloaded.
#
# usage: urcu.sh [--pairs N]
set -eu

pairs=101
case $# in
0) ;;
2)
	[ "$1" = --pairs ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
	pairs=$2
	;;
*)
	sed -n 's/^# usage: /usage: /p' "$0" >&2
	exit 2
	;;
esac

here=$(cd "$(dirname "$0")" && pwd)
if ! pkg-config --exists liburcu 2>/dev/null; then
	echo "not run: liburcu-dev is not installed"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

file_of() { ldconfig -p | sed -n "s/^.*$1\.so\.[0-9]* .*=> //p" | head -n 1; }
tls_bytes() {
	hex=$(readelf -lW "$1" | awk '$1 == "TLS" { print $6 }')
	printf '%d' "${hex:-0}"
}

echo "liburcu $(pkg-config --modversion liburcu), kernel $(uname -r), $(nproc) processors, $pairs pairs"
for flavour in mb memb bp; do
	name=liburcu-$flavour
	[ "$flavour" = memb ] && name=liburcu
	file=$(file_of "$name")
	cc -O2 -D_GNU_SOURCE -DURCU_API_MAP "-DURCU=<urcu/urcu-$flavour.h>" \
		-o "$work/urcu" "$here/urcu.c" "$(printf '%s' "-l${name#lib}")" -pthread
	ask() { "$work/urcu" "$@"; }
	echo "$name ($file)"
	echo "  needs                            $(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | tr '\n' ' ')"
	echo "  pthread keys                     $(ask keys)"
	echo "  bytes of static TLS              $(tls_bytes "$file")"
	echo "  start-up                         $(ask start "$file" "$pairs")"
	echo "  membarrier denied from then on   $(ask membarrier 2>/dev/null)"
	echo "  after a jump out of a reader     synchronize_rcu $(ask jump)"
	echo "  in a handler, while it is waited synchronize_rcu $(ask handler)"
	echo "  in the child, a reader beside    synchronize_rcu $(ask fork)"
done
