# SPDX-License-Identifier: Apache-2.0
# What the scripts of this folder share. They run in a folder of their own, $work, with data sets and jobs that they write.
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
model=$SLUICE_SOURCE_DIR/data/small-model
failures=0

fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$*"
    sed 's/^/    stderr: /' err
}

# run_program ARGUMENTS…: leaves status, out and err. In a build with sanitizers leaks are looked for in every command but those that run jobs:
# MPI unloads its plug-ins at the end, so that what they leak has no name any more to be told from ours by.
run_program() {
    status=0
    ASAN_OPTIONS=detect_leaks=$([[ "${1:-}" =~ ^(run|rerun|append|bench)$ ]] && echo 0 || echo 1) "$SLUICE" "$@" >out 2>err || status=$?
}

# expect_error STATUS TEXT ARGUMENTS…: this exit status, and one line on standard error that holds the text.
expect_error() {
    local wanted=$1 text=$2
    shift 2
    run_program "$@"
    [ "$status" -eq "$wanted" ] || fail "$*: exit status $status instead of $wanted"
    [ "$(wc -l <err)" -eq 1 ] || fail "$*: $(wc -l <err) lines on standard error"
    grep -qF -- "$text" err || fail "$*: nothing of \"$text\""
    grep -q '^sluice: ' err || fail "$*: the line does not begin with the program's name"
}

# expect_output TEXT ARGUMENTS…: success, nothing on standard error, and the text in the output.
expect_output() {
    local text=$1
    shift
    run_program "$@"
    [ "$status" -eq 0 ] || fail "$*: exit status $status"
    [ ! -s err ] || fail "$*: standard error is not empty"
    grep -qF -- "$text" out || fail "$*: nothing of \"$text\" in the output"
}

# expect_quiet ARGUMENTS…: success, and not a word.
expect_quiet() {
    run_program "$@"
    [ "$status" -eq 0 ] || fail "$*: exit status $status"
    [ ! -s err ] && [ ! -s out ] || fail "$*: is not quiet"
}

# expect_warned TEXT ARGUMENTS…: success, and one line, a warning with this text.
expect_warned() {
    local text=$1
    shift
    run_program "$@"
    [ "$status" -eq 0 ] || fail "$*: exit status $status"
    [ "$(wc -l <err)" -eq 1 ] && [ ! -s out ] || fail "$*: more than a warning, or less"
    grep -qF -- "warning: $text" err || fail "$*: nothing of \"$text\""
}

# need TOOL…: what the rest of the test looks with; without it that rest is skipped, and says why. Faults found before count.
need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null && continue
        echo "skipped from here: there is no $tool"
        [ "$failures" -eq 0 ] && exit 77 || exit 1
    done
}

finish() {
    echo "$failures failures"
    [ "$failures" -eq 0 ]
}
