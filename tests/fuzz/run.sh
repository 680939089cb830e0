#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes every parser and prints a line each: executions, coverage (edges), findings.
#   tests/fuzz/run.sh [--jobs N] [SECONDS [TARGET…]]     N at a time (default 1), SECONDS each (default 60)
#   tests/fuzz/run.sh --bundle FOLDER                    all that another x86-64 machine with this or a newer C library needs:
#                                                        there, FOLDER/run.sh [--jobs N] [SECONDS [TARGET…]]
# A target starts from corpus/NAME; what was once found stays in regressions/NAME and comes first. Inputs that were found to be new,
# logs and findings are left in work/ (here build/fuzz/work). Exit status 1: there are findings.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
jobs=1 bundle=
while [ $# -gt 0 ]; do
    case $1 in
    --jobs) jobs=$2; shift 2 ;;
    --bundle) bundle=$2; shift 2 ;;
    -h | --help) sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;;
    -*) echo "$0: no option $1; --help says which there are" >&2; exit 2 ;;
    *) break ;;
    esac
done
seconds=${1:-60}
shift || true

if [ -d "$here/targets" ]; then # a bundle
    targets=$here/targets work=$here/work data=$here/data
    export LD_LIBRARY_PATH=$here/lib
else
    root=$here/../..
    targets=$root/build/fuzz/targets work=$root/build/fuzz/work data=$root/tests/data
    cd "$root"
    . scripts/common.sh
    build fuzz --target fuzz
fi

if [ -n "$bundle" ]; then
    mkdir -p "$bundle"/{targets,lib,data}
    cp "$here/run.sh" "$bundle/"
    cp -r "$here/corpus" "$here/regressions" "$bundle/"
    cp -r "$data/templates" "$bundle/data/"
    for target in "$targets"/*_fuzz; do
        strip --strip-debug -o "$bundle/targets/${target##*/}" "$target"
        # Everything but what comes with the system's C and C++ compilers.
        ldd "$target" | awk '$2 == "=>" { print $3 }' | grep -vE '/(ld-linux|lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\+\+)\.so)' |
            xargs -r cp -L -n -t "$bundle/lib" || true
    done
    du -sh "$bundle"
    exit
fi

[ $# -gt 0 ] || set -- $(cd "$targets" && ls -- *_fuzz)
mkdir -p "$work"

# fuzz_one TARGET: leaves TARGET.log and TARGET.status.
fuzz_one() {
    local target=$1 seeds=() folder status=0
    mkdir -p "$work/$target/corpus" "$work/$target/findings" "$work/$target/scratch"
    for folder in "$here/regressions/$target" "$here/corpus/$target"; do
        [ -d "$folder" ] && seeds+=("$folder")
    done
    [ "$target" = template_fuzz ] && seeds+=("$data/templates")
    (
        cd "$work/$target/scratch"
        export TMPDIR=$PWD
        "$targets/$target" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=60 -print_final_stats=1 -verbosity=1 \
            -artifact_prefix="$work/$target/findings/" "$work/$target/corpus" "${seeds[@]}"
    ) >"$work/$target.log" 2>&1 || status=$?
    rm -rf "$work/$target/scratch"
    echo "$status" >"$work/$target.status"
}

print_one() {
    local target=$1 log=$work/$1.log executions coverage findings=0
    executions=$(grep -a -o "^stat::number_of_executed_units: *[0-9]*" "$log" | tail -n 1 | grep -a -o "[0-9]*$" || echo -)
    coverage=$(grep -a -o 'cov: [0-9]*' "$log" | tail -n 1 | grep -a -o '[0-9]*' || echo -)
    [ "$(cat "$work/$target.status")" -eq 0 ] || findings=1
    printf '%-26s %12s %9s %9s\n' "$target" "$executions" "$coverage" "$findings"
    if [ "$findings" -ne 0 ]; then
        failed=1
        grep -a -E 'ERROR|SUMMARY|runtime error|Test unit written|^ *#[0-9] ' "$log" | head -n 20 | sed 's/^/    /'
    fi
}

failed=0
printf '%-26s %12s %9s %9s\n' target executions coverage findings
running=()
for target in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    fuzz_one "$target" &
    running+=($!)
done
wait "${running[@]}" || true
for target in "$@"; do print_one "$target"; done
exit "$failed"
