# SPDX-License-Identifier: Apache-2.0
# compare_vectors MEMBER EXPORTED EXPECTED TOLERANCE: a list of numbers in lines of `sluice export` against lines "tokens value value…"; says where
# they differ.
compare_vectors() {
    sed -n 's/.*"prompt_tokens":\([0-9]*\).*"'"$1"'":\[\([^]]*\)\].*/\1 \2/p' "$2" | tr , ' ' |
        awk -v tolerance="$4" -v expected="$3" '
            {
                rows++
                if ((getline wanted <expected) <= 0) { print "more rows than expected"; bad = 1; exit }
                count = split(wanted, value, " ")
                if (count != NF || value[1] != $1) { printf "row %d: %d tokens, %d values\n", NR, $1, NF - 1; bad = 1; next }
                for (i = 2; i <= NF; i++) {
                    distance = $i > value[i] ? $i - value[i] : value[i] - $i
                    if (!(distance <= tolerance)) { printf "row %d, value %d: %s, expected %s\n", NR, i - 1, $i, value[i]; bad = 1; break }
                }
            }
            END {
                if ((getline wanted <expected) > 0) { print "fewer rows than expected"; bad = 1 }
                exit bad || rows == 0
            }'
}

compare_embeddings() {
    compare_vectors embedding "$@"
}
