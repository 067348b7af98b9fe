# Purpose: which Debian packages Labyrinth's commands need, and how the missing ones are installed.
# Sourced by ./dev. The packages of the real programs are named by those tests themselves:
# `tests/programs/run.py --packages`.
# shellcheck shell=bash disable=SC2034  # the lists are used by ./dev

# Enough to configure and to build every target of the project.
BUILD_PACKAGES=(build-essential meson ninja-build pkg-config libcriterion-dev libdw-dev libjansson-dev libncurses-dev liburcu-dev
    systemtap-sdt-dev zlib1g-dev python3)

# What `./dev run` shows when it is not told a program.
DEMO_PACKAGES=(redis-server redis-tools)

# The allocators that the benches run against.
PEER_PACKAGES=(libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4 libtbbmalloc2 libclang-rt-14-dev)

# What draws the benches' pictures.
PLOT_PACKAGES=(gnuplot-nox)

# The other compiler, the checkers (valgrind needs libc6-dbg to start), gdb for the backtrace of a hang, the tracers and the
# emulator that tests/boot runs the drop-in under, Rust, which tests/install links with the archives, what tests/package tries: CMake
# and Debian packages, and Go, whose pprof reads the heap profile in tests/insight.
TEST_PACKAGES=(clang clang-format clang-tidy valgrind libc6-dbg binutils gdb strace ltrace qemu-user mandoc shellcheck rustc cmake debhelper lintian python3-yaml heaptrack
    golang-go)

# missing_packages PACKAGE…: print those that are not installed, one a line.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
    done
}

# as_root COMMAND…: run it as root, through sudo where that is needed; sudo asks for a password only at a terminal.
as_root() {
    local environment=(env LC_ALL=C DEBIAN_FRONTEND=noninteractive) sudo=()
    if [ "$(id -u)" != 0 ]; then
        sudo=(sudo)
        [ -t 2 ] || sudo+=(-n)
    fi
    ${sudo[@]+"${sudo[@]}"} "${environment[@]}" "$@"
}

can_be_root() {
    [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && as_root true; }
}

# Packages of servers start them when they are installed, and nginx would listen on every address. Debian asks this
# file first: 101 means "do not start". One that is there already is the machine's own and stays.
POLICY=/usr/sbin/policy-rc.d
forbid_service_starts() {
    [ -e "$POLICY" ] && return
    printf '#!/bin/sh\n# Labyrinth, while it installs packages: start no services\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
    trap allow_service_starts EXIT
}
allow_service_starts() {
    grep -qs '^# Labyrinth, while it installs' "$POLICY" || return 0
    as_root rm -f "$POLICY"
}

apt_install() {
    as_root apt-get install -y -q --no-install-recommends "$@" </dev/null
}

# install_packages PACKAGE…: install those that are missing; silent when there is nothing to do.
# The package lists are fetched only if the installation fails without that (none yet, or too old).
install_packages() {
    local missing log
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "not a Debian system, so nothing is installed; needed are (Debian's names): $*"
        return
    fi
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    can_be_root || die "needs packages and is neither root nor has sudo; install: apt-get install ${missing[*]}"
    say "installing: ${missing[*]}"
    log=$(mktemp)
    forbid_service_starts
    if ! apt_install "${missing[@]}" >"$log" 2>&1; then
        as_root apt-get update -q </dev/null >>"$log" 2>&1 || true
        if ! apt_install "${missing[@]}" >>"$log" 2>&1; then
            tail -n 30 "$log" >&2
            allow_service_starts
            die "apt-get could not install: ${missing[*]} (log: $log)"
        fi
    fi
    allow_service_starts
    rm -f "$log"
}
