#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pages for people: their links lead somewhere, files and names that they speak of exist, and their lines are of a width that can be read.
set -euo pipefail
cd "${SLUICE_SOURCE_DIR:?the root of the repository}"
export LC_ALL=C.UTF-8
failures=0
fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$*"
}
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
mapfile -t pages < <(ls ./*.md docs/*.md docs/records/*.md data/*.md tests/*.md tests/data/*/README.md | sed 's,^\./,,')
[ "${#pages[@]}" -ge 25 ] || fail "only these pages are found: ${pages[*]}"

# anchors PAGE: what its headings are called in links.
anchors() { sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^[:alnum:] _-]//g; s/ /-/g'; }
# names PAGE: what stands in backquotes, one a line.
names() { grep -oE '`[^`]+`' "$1" | tr -d '`' || true; }

for page in "${pages[@]}"; do
    while IFS= read -r link; do
        file=${link%%#*} anchor=
        [[ $link != *'#'* ]] || anchor=${link#*#}
        to=$page
        [ -z "$file" ] || to=$(dirname "$page")/$file
        [ -e "$to" ] || fail "$page: a link to $link, which is not there"
        [ -z "$anchor" ] || [ ! -f "$to" ] || anchors "$to" | grep -xF -- "$anchor" >/dev/null || fail "$page: a link to $link, which has no such heading"
    done < <(grep -oE '\]\([^) ]+\)' "$page" | sed 's/^](//; s/)$//' | grep -vE '^[a-z]+:' || true)
    wide=$(sed '/^```/,/^```/d' "$page" | grep -E '^.{101,}' | grep -vcE '^( *\||    )' || true)
    [ "$wide" -eq 0 ] || fail "$page: $wide lines of more than 100 columns"
done

# Files that a page names. What was, a record or a list of changes may still speak of; capitals, stars and braces stand for something.
for page in "${pages[@]}"; do
    [[ $page != docs/records/* && $page != CHANGELOG.md ]] || continue
    while IFS= read -r path; do
        [ -e "$path" ] || [ -e "tests/$path" ] || fail "$page: $path is not there"
    done < <(names "$page" | grep -xE '(src|include|tests|tools|bench|scripts|slurm|cmake|docs|jobs)/[a-z0-9_./-]+' || true)
done

# The tour's functions.
while IFS= read -r name; do
    fail "docs/tour.md: nothing in the source is called $name"
done < <(comm -23 <(names docs/tour.md | grep -v / | grep -oE '\b([a-z0-9]+_[a-z0-9_]+|[A-Z]+_[A-Z_]+)\b' | sort -u) \
    <(grep -rhoE '\b\w+\b' src include | sort -u))

# Keys of job files that the pages speak of are in the table.
mapfile -t keys < <(sed -nE 's/^\| `([a-z_]+\.[a-z_]+)` .*/\1/p' docs/job-file.md)
for page in docs/from-vllm.md docs/reproducibility.md docs/troubleshooting.md docs/commands.md; do
    while IFS= read -r key; do
        printf '%s\n' "${keys[@]}" | grep -xF -- "$key" >/dev/null || fail "$page: $key is no key of a job file"
    done < <(names "$page" | grep -oE '\b(model|data|generate|layout|engine|output|run)\.[a-z_]+\b' | grep -vE '\.(yaml|h5|py|json|jsonl|md|sh|tempersture)$' | sort -u)
done

# The messages that the page of troubles explains are the program's: three words in a row of each are in the source. What others print says so.
# words: of each line, without conversions of printf and whatever is no letter.
words() { sed -E 's/%[-0-9.*]*(ll|z)?[a-z]/ /g; s/\\n/ /g' | tr -c '[:alpha:]\n' ' ' | tr -s ' '; }
grep -rhE '"' src include slurm | tr '\n' ' ' | words >"$lines"
while IFS= read -r message; do
    read -ra said <<<"$(words <<<"$message" | tr '\n' ' ')"
    found=
    for ((i = 0; i + 2 < ${#said[@]}; i++)); do
        if grep -qF -- " ${said[i]} ${said[i + 1]} ${said[i + 2]} " "$lines"; then
            found=yes
            break
        fi
    done
    [ -n "$found" ] || [ "${#said[@]}" -lt 3 ] || fail "docs/troubleshooting.md: the program does not say \"$message\""
done < <(grep -E '^\| `' docs/troubleshooting.md | grep -vE '\(from |^\| `(There are not|mpirun|srun)' | sed -E 's/^\| `([^`]+)`.*/\1/')

# And the other way round: every message of a job and of its output is on that page. Faults of the program itself, running out of memory, and
# what ends in one word or two are not.
if command -v python3 >/dev/null; then
    python3 - <<'PYTHON' || fail "docs/troubleshooting.md lacks messages of the program"
import glob, re, sys

def words(text):
    return re.sub(r"[^A-Za-z]+", " ", text).split()

page = " " + " ".join(words(re.sub(r"[0-9.]+ [kMG]B", "", open("docs/troubleshooting.md", encoding="utf-8").read()))) + " "
calls = re.compile(r'(status_fail|status_fail_errno|log_write)\s*\(\s*([A-Z_]+)\s*,\s*((?:"(?:[^"\\]|\\.)*"\s*)+)')
found = missing = 0
for room in ("run", "job", "data/journal", "data/output", "data/export"):
    for path in sorted(glob.glob(f"src/{room}/**/*.c", recursive=True)):
        for name, kind, texts in calls.findall(open(path, encoding="utf-8").read()):
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', texts))
            if kind in ("STATUS_INTERNAL", "LOG_DEBUG", "LOG_INFO") or "out of memory" in text:
                continue
            # Runs of words that no value interrupts; one of three words is told by the page, or the longest one where all are shorter.
            runs = [words(part) for part in re.split(r"%[-0-9.*]*(?:ll|z|t)?[a-zA-Z]|\\n", text)]
            length = min(3, max(map(len, runs)))
            if sum(map(len, runs)) < 3 or length < 2:
                continue
            found += 1
            told = any(" " + " ".join(run[i:i + length]) + " " in page for run in runs for i in range(len(run) - length + 1))
            if not told:
                missing += 1
                print(f"{path}: {text}")
if found < 100:
    print(f"only {found} messages are found")
sys.exit(missing > 0 or found < 100)
PYTHON
fi
exit "$((failures > 0))"
