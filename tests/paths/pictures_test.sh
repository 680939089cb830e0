#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What users look at, to be looked at: the live line and the blocks in a terminal of 80 columns (tmux), `status --watch`, `inspect`, `check` and
# `compare` there, and the report of four ranks of which one is slowed down, in Chromium: light, dark, 400 pixels wide, printed. All of it lies
# in the build folder, pictures/, and stays. What a machine can see of it is checked: nothing is wider than the terminal, no escape is shown as
# text, and no picture is blank or cut off at the right.
set -euo pipefail
source "$(dirname "$0")/paths.sh"
for program in tmux mpirun; do command -v "$program" >/dev/null || skip "no $program"; done
pictures=${SLUICE_PICTURES:-${SLUICE_BUILD_DIR:-$work}/pictures}
mkdir -p "$pictures"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 LC_ALL=C.UTF-8
socket=$work/tmux
trap 'tmux -S "$socket" kill-server 2>/dev/null || true; rm -rf "$work"' EXIT

for k in 1 2 3 4; do head -n 150 data/tasks.jsonl | sed "s/\"id\": \"/&$k-/"; done >tasks.jsonl
printf '%s\n' '{"no": "prompt"}' 'no JSON' >>tasks.jsonl
cat >tasks.yaml <<YAML
model: {path: data/small-model}
data: {input: tasks.jsonl}
generate: {max_new_tokens: 24, temperature: 0, ignore_eos: true}
engine: {max_sequences: 8}
output: {path: tasks.h5}
YAML

# ---- A terminal ----

tmux -S "$socket" -f /dev/null new-session -d -x 80 -y 24 "cd '$PWD'; PS1='\$ ' exec bash --norc --noprofile"
type_line() { tmux -S "$socket" send-keys "$1" Enter; }
shown() { tmux -S "$socket" capture-pane -p "$@"; }
shows() { shown | grep -qE -- "$1"; }
# capture NAME: as text, and with its colours.
capture() {
    shown >"$pictures/$1.txt"
    shown -e >"$pictures/$1.ansi"
    ! grep -q '\^\[\|\[0m' "$pictures/$1.txt" || fail "$1: an escape shown as text"
}
type_line 'clear; sluice run tasks.yaml'
wait_for shows '^\[#+ *\] [0-9]+/602 [0-9.]+% '
capture live-line
[ "$(shown | grep -c '^\[#* *\] ')" -eq 1 ] || fail "the live line stands there $(shown | grep -c '^\[#* *\] ') times"
[ "$(grep -c '\[' "$pictures/live-line.ansi")" -ge 1 ] || fail "no live line"
wait_for shows '^sluice: tasks.h5: 602 rows'
wait_for shows '^\$ *$'
capture blocks
! shows '^\[#* *\] ' || fail "the live line is left"
for command in 'status tasks.h5' 'inspect tasks.h5' 'inspect tasks.h5 --ranks' 'check tasks.yaml --set output.path=x.h5' 'init data/small-model tasks.jsonl'; do
    type_line "clear; sluice $command"
    wait_for shows '^\$ *$'
    capture "${command%% *}$([ "$command" = "${command/--ranks/}" ] || echo -ranks)"
    [ "$(sluice ${command} 2>/dev/null | wc -L)" -le 80 ] || fail "$command: wider than the terminal"
done

# A watcher of a job that runs elsewhere.
sluice run tasks.yaml --quiet --set output.path=other.h5 --set generate.max_new_tokens=16 2>"$work/err" &
job=$!
wait_for rows_done other.h5 1
type_line 'clear; sluice status --watch other.h5'
wait_for shows '^other.h5: running'
capture status-watch
wait "$job" || fail "the job that is watched"
wait_for shows '^other.h5: complete'
[ "$(shown | grep -c '^other.h5: ')" -eq 1 ] || fail "--watch is not redrawn in place: $(shown)"
type_line 'clear; sluice compare tasks.h5 other.h5 | head -n 20'
wait_for shows '^row '
capture compare

# ---- The report of four ranks, one of which is stopped most of the time ----

mpirun --oversubscribe --bind-to none -n 3 sluice run tasks.yaml --quiet --set output.path=slow.h5 : \
    -n 1 bash -c "echo \$\$ >pid; exec sluice run tasks.yaml --quiet --set output.path=slow.h5" 2>"$work/err" &
job=$!
while kill -0 $job 2>/dev/null; do
    if [ -s pid ]; then kill -STOP "$(cat pid)" 2>/dev/null && sleep 0.3 && kill -CONT "$(cat pid)" 2>/dev/null || true; fi
    sleep 0.03
done
wait $job || fail "the job of four ranks"
sluice report slow.h5 -o "$pictures/slow.html" --overwrite
[ "$(grep -c 'class="alarm"' "$pictures/slow.html")" -eq 1 ] && grep -q '<b>Rank 3 is slow</b>' "$pictures/slow.html" || fail "the slow rank is not the first that one reads"
sluice report tasks.h5 -o "$pictures/even.html" --overwrite
! grep -q 'class="alarm"' "$pictures/even.html" || fail "one rank alone is slow"
for name in slow even; do
    status=0
    "$SLUICE_SOURCE_DIR/tools/report_pictures.sh" "$pictures/$name.html" "$pictures/$name" >"$work/out" 2>"$work/err" || status=$?
    [ "$status" -ne 77 ] || { echo "left out: no Chromium"; break; }
    [ "$status" -eq 0 ] || fail "pictures of $name: $(cat "$work/out")"
    for picture in light dark phone; do [ "$(stat -c %s "$pictures/$name/$picture.png")" -gt 40000 ] || fail "$name/$picture.png is blank"; done
done
if python_with PIL && [ -s "$pictures/slow/phone.png" ]; then
    "$python" - "$pictures/slow" <<'PYTHON' || fail "pictures"
import sys
from PIL import Image
folder = sys.argv[1]
red = lambda p: p[0] > 170 and p[1] < 110 and p[2] < 110
for name in ("light", "dark"):
    picture = Image.open(f"{folder}/{name}.png").convert("RGB").resize((250, 600), Image.NEAREST)
    top = [picture.getpixel((x, y)) for x in range(250) for y in range(60)]
    assert sum(map(red, top)) > 20, f"{name}: no alarm in the first tenth"
    mean = sum(sum(p) for p in picture.getdata()) / (3 * 250 * 600)
    assert (mean > 180) == (name == "light"), f"{name}: mean brightness {mean}"
phone = Image.open(f"{folder}/phone.png").convert("RGB")
strip = {phone.getpixel((x, y)) for x in range(401, 500, 7) for y in range(0, 4000, 50)}
assert len(strip) == 1, "something passes 400 pixels"
PYTHON
fi
echo "to be looked at: $pictures"
cd "$work" && finish
