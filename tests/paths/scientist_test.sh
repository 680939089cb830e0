#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A data scientist with a CSV file of questions, who has the README and docs/python.md: a job file by `sluice init`, a prompt made of columns,
# Parquet, then pandas, polars, DuckDB and datasets beside the CSV file again. What a package is missing for is left out.
# tests/real/python_test.sh runs every snippet of the page.
set -euo pipefail
source "$(dirname "$0")/paths.sh"

{
    echo 'review_id,question,stars,shop'
    for i in $(seq 40); do echo "r$i,\"What is $i + 3?\",$((i % 5 + 1)),\"shop, \"\"north\"\"\""; done
} >reviews.csv
sluice init data/small-model reviews.csv -o reviews.yaml >"$work/out" 2>"$work/err" || fail "init"
[ ! -s "$work/err" ] || fail "init says something"
grep -q 'prompt_template: "{review_id}"' reviews.yaml && grep -q '# columns: review_id, question, stars, shop$' reviews.yaml || fail "init: $(cat reviews.yaml)"
# The scientist reads the comment, and says how a prompt is made.
sed -i 's/prompt_template: .*/prompt_template: "{question}"/; s/max_new_tokens: 512/max_new_tokens: 12/; s/# temperature: 0 /temperature: 0 /' reviews.yaml
sluice check reviews.yaml >"$work/out" 2>"$work/err" || fail "check"
grep -q '40 rows, 0 bad' "$work/out" || fail "check: $(cat "$work/out")"
sluice run reviews.yaml --quiet 2>"$work/err" || fail "run"
sluice export out/reviews.h5 -o answers.parquet 2>"$work/err" || fail "export"
sluice export out/reviews.h5 -o some.csv --where ok --columns id,stars,text 2>"$work/err" || fail "export of columns"
[ "$(head -n 1 some.csv)" = 'id,stars,text' ] && [ "$(wc -l <some.csv)" -eq 41 ] || fail "CSV: $(head -n 2 some.csv)"
sluice export out/reviews.h5 --rejoin reviews.csv --columns question,text >joined.jsonl 2>"$work/err" || fail "export --rejoin"
head -n 1 joined.jsonl | grep -q '^{"question":"What is 1 + 3?","text":' || fail "rejoined: $(head -n 1 joined.jsonl)"

check_with() { # PACKAGE CODE
    python_with "$1" || { echo "left out: no $1"; return 0; }
    "$python" -c "$2" >"$work/out" 2>"$work/err" || fail "$1: $(cat "$work/out")"
}
check_with pandas '
import pandas
answers, asked = pandas.read_parquet("answers.parquet"), pandas.read_csv("reviews.csv")
assert len(answers) == 40 and str(answers["stars"].dtype) in ("int64", "Int64", "object", "string", "str"), answers.dtypes
joined = asked.merge(answers, left_index=True, right_on="row")
assert list(joined["question_x" if "question_x" in joined else "question"]) == list(asked["question"])
assert joined["text"].str.len().min() > 0'
check_with polars '
import polars
table = polars.scan_parquet("answers.parquet").group_by("finish_reason").len().collect()
assert table["len"].sum() == 40'
check_with duckdb '
import duckdb
found = duckdb.sql("SELECT a.text FROM read_csv(\"reviews.csv\") c JOIN \"answers.parquet\" a ON a.review_id = c.review_id ORDER BY a.row").fetchall()
assert len(found) == 40'
check_with datasets '
import datasets
table = datasets.Dataset.from_parquet("answers.parquet", cache_dir="cache")
assert len(table) == 40 and table.column_names.count("text") == 1
assert len(table.filter(lambda row: row["finish_reason"] == "stop")) <= 40'
cd "$work" && finish
