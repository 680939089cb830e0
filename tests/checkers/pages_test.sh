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
exit "$((failures > 0))"
