#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A new developer with CONTRIBUTING.md and docs/adding.md: a clone, the preset dev, one test; then a key of the job file, by the four points
# that the page lists. Left out one by one, the test that the page names has to notice each.
set -euo pipefail
source "$(dirname "$0")/paths.sh"
cd "$work"
for program in git cmake ninja; do command -v "$program" >/dev/null || skip "no $program"; done
git -C "$SLUICE_SOURCE_DIR" rev-parse --git-dir >/dev/null 2>&1 || skip "no clone to clone"
rm -rf clone
git clone -q "$SLUICE_SOURCE_DIR" clone 2>"$work/err" || { fail "git clone"; finish; }
# What is not committed yet belongs to what is tried.
git -C "$SLUICE_SOURCE_DIR" diff --binary HEAD | git -C clone apply --allow-empty 2>"$work/err" || fail "the working tree's changes"
git -C "$SLUICE_SOURCE_DIR" ls-files -z --others --exclude-standard | tar -C "$SLUICE_SOURCE_DIR" --null -T - -cf - | tar -C clone -xf - || fail "new files"
cd clone
build() { cmake --build --preset dev --target job_test --parallel 2 >"$work/out" 2>"$work/err" || { fail "build: $(tail -n 20 "$work/out")"; return 1; }; }
cmake --preset dev >"$work/out" 2>"$work/err" || fail "cmake --preset dev"
build
job_test() { ctest --test-dir build/dev -R '^job_test$' >"$work/out" 2>&1; }
job_test || fail "job_test in a fresh clone: $(tail -n 20 "$work/out")"

# ---- run.greeting, a key that nobody needs ----

has() { grep -qF -- "$2" "docs/adding.md" || fail "docs/adding.md does not speak of $1 ($2)"; }
has "the row" '`job_field_table` of `src/job/fields.c`'
has "the member" '`struct job` in `include/sluice/job.h`'
has "the page" '`docs/job-file.md`'
has "the example" '`jobs/example.yaml`'
sed -i 's|^\( *\)int64_t silence_limit; /\*.*|&\n\1int64_t greeting;|' include/sluice/job.h
grep -q 'int64_t greeting;' include/sluice/job.h || fail "no place for the member"
row='{"run", "greeting", FIELD_INTEGER, AT(run.greeting), "3", "how often to greet", NULL, 0, 10, NULL},'
sed -i "s|^    {\"run\", \"silence_limit\",|    $row\n&|" src/job/fields.c
grep -q '"greeting"' src/job/fields.c || fail "no place for the row"
build || { finish; exit; }
! job_test || fail "job_test does not miss the key in the pages"
cmake --build --preset dev --target sluice_program --parallel 2 >"$work/out" 2>"$work/err" || fail "build of the program"
line=$(build/dev/sluice help job | grep 'run\.greeting')
[ -n "$line" ] || fail "sluice help job does not have the key"
escaped=$(printf '%s' "$line" | sed 's/[&|\\]/\\&/g')
sed -i "s|^\| \`run.silence_limit\`|$escaped\n&|" docs/job-file.md
! job_test || fail "job_test does not miss the key in jobs/example.yaml"
sed -i 's|^  silence_limit: .*|  greeting: 3                             # how often to greet\n&|' jobs/example.yaml
job_test || fail "job_test after all four points: $(tail -n 20 "$work/out")"

# It is read, checked and stored like any other.
printf 'model: {path: data/small-model}\ndata: {input: data/tasks.jsonl, limit: 3}\ngenerate: {max_new_tokens: 2}\noutput: {path: out.h5}\nrun: {greeting: 7}\n' >job.yaml
status=0
build/dev/sluice run job.yaml --set run.greeting=11 >"$work/out" 2>"$work/err" || status=$?
[ "$status" -eq 2 ] && grep -q 'run.greeting' "$work/err" || fail "a value out of its range: exit status $status"
build/dev/sluice run job.yaml --quiet 2>"$work/err" || fail "run with the key"
build/dev/sluice inspect --job out.h5 | grep -q '^      greeting: 7$' || fail "the stored job lacks the key"
cd "$work" && finish
