#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Nothing of an input can reach a shell where nothing starts one. That formats are literals is the compiler's to check: -Wformat=2, an error in
# the presets that tests use, and switched off in two places only, where a template's conversions are made of letters from a list.
set -euo pipefail
cd "${SLUICE_SOURCE_DIR:?the root of the repository}"
failures=0
if grep -rnE '\b(system|popen|execl[pe]?|execvp?e?|execve|wordexp|posix_spawnp?)[[:space:]]*\(' src include; then
    echo "FAILED: other programs are started"
    failures=1
fi
switched_off=$(grep -rhoE 'diagnostic ignored "-Wformat.*' src include | wc -l)
if [ "$switched_off" -ne 2 ]; then
    echo "FAILED: format checks are switched off in:"
    grep -rn 'diagnostic ignored "-Wformat' src include
    failures=1
fi
grep -q -- '-Wformat=2' CMakeLists.txt || { echo "FAILED: -Wformat=2 is gone"; failures=1; }
# A folder uses those after it and never those before it, in the order that the README gives.
mapfile -t folders < <(tr -s '\n ' ' ' <README.md | grep -oE '(`[a-z]+` → )+`[a-z]+`' | grep -oE '[a-z]+')
[ "$(printf '%s\n' "${folders[@]}" | sort)" = "$(ls src)" ] || { echo "FAILED: the README's order of folders is not that of src/: ${folders[*]}"; failures=1; }
before=
for folder in "${folders[@]}"; do
    if [ -n "$before" ] && grep -rnE "#include \"($before)/" "src/$folder"; then
        echo "FAILED: src/$folder uses what is above it"
        failures=1
    fi
    before+=${before:+|}$folder
done
# Sections are told apart by one form of ruler.
if grep -rnE --include='*.[ch]' --include='*.cu' --include='*.cuh' '^[[:space:]]*/\* -{4,}' src include tests bench | grep -vE -- '/\* ---- [^-].* ---- \*/$'; then
    echo "FAILED: section rulers of another form than /* ---- Name ---- */"
    failures=1
fi
# A licence that a machine can read, in the first lines of each source file.
while IFS= read -r file; do
    head -n 2 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || { echo "FAILED: $file has no SPDX line"; failures=1; }
done < <(find src include tests bench tools scripts cmake slurm -name fuzz/corpus -prune -o -type f -regextype egrep \
    -regex '.*\.(c|h|cu|cuh|sh|py|cmake|sbatch)' -print)
exit "$failures"
