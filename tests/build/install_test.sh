#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What scripts/common.sh installs and says: as root, with sudo, with neither, with --no-install, and where a tool fails. The tools are
# stand-ins that write down how they were called.
set -euo pipefail
cd "${SLUICE_SOURCE_DIR:?the root of the repository}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$*"
    sed 's/^/    /' "$work/out"
}

# stand_in FOLDER NAME: a program that reads its script from standard input.
stand_in() {
    mkdir -p "$work/$1"
    { echo "#!/bin/bash"; cat; } >"$work/$1/$2"
    chmod +x "$work/$1/$2"
}
for name in bash mktemp cat rm grep env nproc; do
    mkdir -p "$work/tools"
    ln -s "$(command -v "$name")" "$work/tools/$name"
done
stand_in tools dpkg-query <<<'[ "${!#}" = there ] && echo "install ok installed"'
stand_in tools apt-get <<<'echo "apt-get $*"; echo "CALLED $*" >>"$CALLS"; [ "${*: -1}" != broken ] || { echo "E: Unable to locate package broken" >&2; exit 100; }'
stand_in root id <<<'echo 0'
stand_in user id <<<'echo 1000'
stand_in sudo sudo <<<'echo "SUDO" >>"$CALLS"; exec "$@"'

# try WHO STATUS PACKAGE…: install_packages, with the tools of WHO's folders; what it says is in out, calls are in calls.
try() {
    local who=$1 wanted=$2 path= folder status=0
    shift 2
    for folder in $who tools; do path+=${path:+:}$work/$folder; done
    : >"$work/calls"
    CALLS=$work/calls PATH=$path bash -c '. scripts/common.sh; install_packages "$@"' bash "$@" >"$work/out" 2>&1 || status=$?
    [ "$status" -eq "$wanted" ] || fail "$who: $*: status $status instead of $wanted"
}
says() {
    grep -qF -- "$1" "$work/out" || fail "nothing of \"$1\""
}
is_quiet() {
    [ ! -s "$work/out" ] || fail "says something"
}
calls() { # COUNT PATTERN
    [ "$(grep -c -- "$2" "$work/calls")" -eq "$1" ] || fail "not $1 calls of $2: $(paste -s -d ';' "$work/calls")"
}

try root 0 there
is_quiet
calls 0 .
try root 0 there one two
[ "$(<"$work/out")" = "Installing: one two" ] || fail "says not just what is installed"
calls 1 'install .*one two$'
calls 0 SUDO
try "user sudo" 0 one
says "Installing with sudo: one"
calls 2 SUDO
calls 1 'install .*one$'
try user 1 one two
says "apt-get install one two"
says "--no-install"
calls 0 .
# What a tool says is shown where it fails.
try root 1 one broken
says "E: Unable to locate package broken"
says "apt-get install one broken"
SLUICE_INSTALL=no try root 0 there one
says "Not installed (--no-install): one"
calls 0 .
rm "$work/tools/dpkg-query"
try root 0 one
says "docs/install.md"
calls 0 .

# Programs that are not there are named, and what CMake or a compiler says is shown.
status=0
PATH=$work/root:$work/tools bash -c '. scripts/common.sh; build release' >"$work/out" 2>&1 || status=$?
[ "$status" -eq 1 ] || fail "without CMake: status $status"
says "cmake is not installed, or not in PATH; docs/install.md"
stand_in tools cmake <<<'echo "CMake Error: the reason"; exit 1'
stand_in tools ninja <<<'exit 1'
mkdir "$work/project"
cp -r scripts "$work/project"
status=0
(cd "$work/project" && PATH=$work/root:$work/tools bash -c '. scripts/common.sh; build release') >"$work/out" 2>&1 || status=$?
[ "$status" -ne 0 ] || fail "a configuration that fails ends well"
says "CMake Error: the reason"
for script in demo test; do
    scripts/$script.sh --help >"$work/out"
    says "--no-install"
    status=0
    scripts/$script.sh --no-such >"$work/out" 2>&1 || status=$?
    [ "$status" -eq 2 ] || fail "$script.sh --no-such: status $status"
    says "--no-such: unknown argument"
done
echo "$failures failures"
[ "$failures" -eq 0 ]
