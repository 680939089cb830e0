#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The page about a job: a slow rank is named with the reason, gaps are marked, nothing of an input is markup, nothing is loaded from elsewhere.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
run_mpi=(mpirun --oversubscribe --bind-to none)
[ "$(id -u)" -eq 0 ] && run_mpi+=(--allow-run-as-root)

# check_page FILE: whole, by itself, and small.
check_page() {
    [ "$(head -c 15 "$1")" = '<!DOCTYPE html>' ] && [ "$(tail -n 1 "$1")" = '</body></html>' ] || fail "$1: is not whole"
    ! grep -qiE '(src|href|action) *=|url\(|@import|https?:|<(script|link|img|iframe|object|embed|form)' "$1" || fail "$1: loads something"
    grep -qF "content=\"default-src 'none'; style-src 'unsafe-inline'\"" "$1" || fail "$1: lets scripts run"
    [ "$(wc -c <"$1")" -lt 300000 ] || fail "$1: $(wc -c <"$1") bytes"
    if command -v python3 >/dev/null; then
        python3 - "$1" <<'PYTHON' || fail "$1: tags are not closed as they are opened"
import sys
from html.parser import HTMLParser
class Check(HTMLParser):
    open, void = [], {"meta", "br"}
    def handle_starttag(self, tag, attributes):
        if tag not in self.void:
            self.open.append(tag)
        if not set(name for name, _ in attributes) <= {"lang", "charset", "name", "content", "http-equiv", "class", "style", "title",
                "viewbox", "preserveaspectratio", "role", "d", "fill", "fill-opacity", "stroke", "stroke-width", "stroke-linejoin",
                "stroke-dasharray", "vector-effect", "x", "y", "width", "height", "colspan"}:
            sys.exit(f"attributes {attributes}")
    def handle_startendtag(self, tag, attributes):
        pass
    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            sys.exit(f"</{tag}>")
check = Check(convert_charrefs=True)
check.feed(open(sys.argv[1], encoding="utf-8").read())
sys.exit(str(check.open) if check.open else 0)
PYTHON
    fi
}

# ---- Hostile texts: in rows, in errors, in names of files and in the job ----

data="d'<b>\"&.jsonl"
printf '%s\n' '{"id": "<script>alert(1)</script>", "prompt": "<img src=x onerror=alert(2)>"}' \
    '{"prompt": "x", "seed": "</pre><script>alert(3)</script>"}' '{"prompt": ["</td><svg onload=alert(4)>"]}' \
    '{"messages": [{"role": "user", "content": "x"}], "chat_template": "<script>alert(5)</script>{{ raise_exception(\"<iframe>\\u202e\") }}"}' >"$data"
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: '${data//\'/\'\'}', prompt_field: null}
generate: {max_new_tokens: 3, temperature: 0}
output: {path: "o'<i>&\".h5"}
YAML
run_program run --quiet job.yaml
[ "$status" -eq 0 ] || fail "run: exit status $status"
expect_quiet report "o'<i>&\".h5" -o hostile.html
check_page hostile.html
! grep -qE "<b>\"|<i>&\"|<svg onload|<iframe" hostile.html || fail "markup of an input"
grep -qF 'o&#39;&lt;i&gt;&amp;&quot;.h5' hostile.html || fail "the file's name is not shown"
grep -qF '&lt;iframe&gt;' hostile.html || fail "an error's text is not shown"
! grep -qP '\x{202e}' hostile.html || fail "a character that turns the direction of others"
grep -qF 'sluice compare &#39;o&#39;\&#39;&#39;&lt;i&gt;&amp;&quot;.h5&#39; again.h5' hostile.html || fail "the command is not quoted for a shell"
expect_error 1 'hostile.html exists; --overwrite replaces it' report "o'<i>&\".h5" -o hostile.html
expect_quiet report "o'<i>&\".h5" -o hostile.html --overwrite
expect_error 1 'no-such.h5' report no-such.h5 -o x.html
[ ! -e x.html ] || fail "a page about nothing"

# The command of the page makes the same output.
if command -v python3 >/dev/null; then
    python3 - <<'PYTHON' >again.sh
import html, re
print("set -e\n" + html.unescape(re.search("<pre>(.*?)</pre>", open("hostile.html", encoding="utf-8").read(), re.S).group(1)))
PYTHON
    mkdir -p bin && ln -sf "$(realpath "$SLUICE")" bin/sluice
    PATH=$PWD/bin:$PATH bash again.sh >out 2>err || fail "the page's command: $(cat again.sh)"
    grep -q 'equal: 4 results' out || fail "the page's command makes another output"
fi

# ---- One rank of four is stopped most of the time ----

for k in 1 2 3 4; do head -n 150 "$SLUICE_SOURCE_DIR/data/tasks.jsonl" | sed "s/\"id\": \"/&$k-/"; done >many.jsonl
cat >slow.yaml <<YAML
model: {path: "$model"}
data: {input: many.jsonl}
generate: {max_new_tokens: 12, temperature: 0}
engine: {max_sequences: 8}
output: {path: slow.h5}
YAML
"${run_mpi[@]}" -n 3 "$SLUICE" run slow.yaml --quiet : -n 1 bash -c "echo \$\$ >pid; exec '$SLUICE' run slow.yaml --quiet" >out 2>err &
job=$!
while kill -0 $job 2>/dev/null; do
    if [ -s pid ]; then kill -STOP "$(cat pid)" 2>/dev/null && sleep 0.3 && kill -CONT "$(cat pid)" 2>/dev/null || true; fi
    sleep 0.03
done
wait $job || fail "the job of four ranks"
expect_quiet report slow.h5 # beside it
check_page slow.html
[ "$(grep -c 'class="alarm"' slow.html)" -eq 1 ] || fail "not one rank is named: $(grep 'class="alarm"' slow.html)"
grep -qE '<b>Rank 3 is slow</b>: [0-9.]+ answer tokens/s, [0-9]+% below the others’ [0-9.]+\. Why: computing a token takes it [0-9.]+ times as long' slow.html ||
    fail "the reason: $(grep 'class="alarm"' slow.html)"
grep -qE '<tr class="slow"><td>3 <span' slow.html || fail "the table does not mark rank 3"
grep -q 'slow: rank 3</span>' slow.html && grep -q 'stroke="var(--slow)" stroke-width="3.0"' slow.html || fail "the chart does not mark rank 3"
grep -q 'mpirun -n 4 sluice run again.yaml' slow.html || fail "the command"

# ---- Outputs of embeddings, of nothing, and damaged ones ----

printf 'task: embed\nmodel: {path: "%s/tests/data/encoders/bert"}\ndata: {input: texts.jsonl}\noutput: {path: e.h5}\n' "$SLUICE_SOURCE_DIR" >embed.yaml
printf '{"text": "a red house"}\n{"text": "a blue one"}\n' >texts.jsonl
expect_quiet run --quiet embed.yaml
expect_quiet report e.h5
check_page e.html
grep -q 'Prompt tokens a second' e.html || fail "rates of a job without answers"
head -c 3000 e.h5 >cut.h5
expect_error 1 'cut.h5: ' report cut.h5

finish
