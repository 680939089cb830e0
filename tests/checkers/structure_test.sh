#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How the source hangs together: no files that need each other, no folder too full to be looked through, no private header used from another
# folder's side, no name for two things. The order of folders is source_test.sh's.
set -euo pipefail
cd "${SLUICE_SOURCE_DIR:?the root of the repository}"
failures=0
fail() {
    echo "FAILED: $*"
    failures=1
}

# Files of one name are one: a .c or .cu with its headers. A needs B where it includes a header of B's, so that neither of two in a circle can
# be understood, or tested, before the other.
needs() {
    grep -rnoE --include='*.[ch]' --include='*.cu' --include='*.cuh' '^ *#include "[a-z0-9_]+/[^"]+"' src | grep -v '"sluice/' |
        sed -E 's#^src/([^:]*):[0-9]+: *\#include "([^"]*)"#\1 \2#; s#\.(c|h|cu|cuh)\b##g' | awk '$1 != $2' | sort -u
}
circles=$(needs | tsort 2>&1 >/dev/null | sed -E 's/^tsort: //; s/^-: .*/circle:/' || true)
[ -z "$circles" ] || fail "files that need each other:"$'\n'"$circles"

while read -r count folder; do
    [ "$count" -le 25 ] || fail "$folder has $count files; 25 can be looked through"
done < <(find src -type f -printf '%h\n' | sort | uniq -c)

# A public header belongs to the folder that docs/design.md says; that folder and those above it may use it, public headers among themselves
# likewise.
declare -A owner=() depth=()
while IFS='|' read -r _ folder _ headers _; do
    for header in ${headers//,/ }; do owner[$header]=${folder// /}; done
done < <(sed -n '/^## Seams/,/^The forward pass/p' docs/design.md | grep '^| [a-z]* |')
while read -r folder; do depth[$folder]=${#depth[@]}; done < <(tr -s '\n ' ' ' <README.md | grep -oE '(`[a-z]+` → )+`[a-z]+`' | grep -oE '[a-z]+')
for path in include/sluice/*.h; do
    [ -n "${owner[${path##*/}]:-}" ] || fail "docs/design.md does not say which folder sluice/${path##*/} belongs to"
done
while read -r file header; do
    case $file in
    src/*) folder=${file#src/} folder=${folder%%/*} ;;
    *) folder=${owner[${file##*/}]:-cli} ;;
    esac
    [ "${depth[$folder]}" -le "${depth[${owner[$header]:-base}]}" ] || fail "$file uses sluice/$header, which is ${owner[$header]}'s"
done < <(grep -roE '#include "sluice/[^"]+"' src include | sed -E 's#:.*sluice/(.*)"# \1#')

# What the program is made of uses comm and backend by their public headers. NCCL's communicator works on the CUDA backend's memory.
grep -rnE '#include "(comm|backend)/' src --include='*.[ch]' | grep -vE '^src/(backend|comm)/' && fail "private headers of comm or backend are used from above"

# One name, one thing: tags of structs, enums and unions. What the operations of sluice/backend.h take is defined once for each backend.
twice=$(for other in cuda cpu; do
    grep -rhoE '^ *(typedef )?(struct|enum|union) [a-z_0-9]+ \{' src include --exclude-dir="$other" | sort | uniq -d
done | sort -u)
[ -z "$twice" ] || fail "defined twice:"$'\n'"$twice"

# Comments speak of files that are there.
named=$(grep -rhE '^ *(/\*| \*)' src include | grep -oE '[ (/][a-z_0-9]+\.(c|cu|cuh)\b' | cut -c2- | sort -u)
gone=$(comm -23 <(echo "$named") <(find src include tests bench tools -type f -printf '%f\n' | sort -u))
[ -z "$gone" ] || fail "comments speak of files that are not there:"$'\n'"$gone"
exit "$failures"
