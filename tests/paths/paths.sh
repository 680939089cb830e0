# SPDX-License-Identifier: Apache-2.0
# What the scripts of this folder share: a user's folder, $work/clone, that looks like a clone which has been built, with `sluice` in the PATH.
# shellcheck source=../cli/expect.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cli/expect.sh"
fail() { # as there, whatever folder this is
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$*"
    sed 's/^/    stderr: /' "$work/err"
}
mkdir bin clone
ln -s "$(realpath "$SLUICE")" bin/sluice
for part in data docs jobs models slurm tools; do
    [ ! -e "$SLUICE_SOURCE_DIR/$part" ] || ln -s "$SLUICE_SOURCE_DIR/$part" clone
done
export PATH=$PWD/bin:$PATH OMP_NUM_THREADS=1
: >"$work/err"
cd clone

skip() {
    echo "skipped: $*"
    exit 77
}

# page_commands PAGE: the commands of its blocks for a shell, without building.
page_commands() {
    sed -n '/^```sh$/,/^```$/{ /^```/!p }' "$SLUICE_SOURCE_DIR/docs/$1" | grep -vE '^(cmake|export PATH|module) '
}

# wait_for COMMAND…: until it succeeds, for three minutes.
wait_for() {
    local i
    for ((i = 0; i < 1800; i++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    fail "nothing of \"$*\""
    return 1
}

# rows_done OUT.h5 COUNT: whether so many are.
rows_done() {
    local rows
    rows=$(sluice status --json "$1" 2>/dev/null | sed -n 's/.*"rows_done":\([0-9]*\).*/\1/p')
    [ "${rows:-0}" -ge "$2" ]
}

# python_with PACKAGE…: sets python to one that has them all, or fails.
python_with() {
    local package
    python=${SLUICE_PYTHON:-python3}
    for package; do "$python" -c "import $package" 2>/dev/null || return 1; done
}
