#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs the main job on 4 ranks: a real model where it can be downloaded, else the small one.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh
usage="Usage: scripts/demo.sh [--no-install]
Installs what is missing (apt-get, as root or with sudo), builds build/release/sluice, downloads a small model, and answers
data/prompts.jsonl on 4 ranks: out/demo.h5.
  --no-install   installs nothing: names what is missing, and goes on with what is there"
take_options "$@"

install_packages "${packages[@]}" "${demo_packages[@]}"
build release
need_programs mpirun
sluice=build/release/sluice

mkdir -p out
if model=$(scripts/fetch_model.sh smollm2); then
    echo "== sluice run jobs/demo.yaml, on 4 ranks"
    run_mpi 4 $sluice run jobs/demo.yaml --set model.path="$model" --set output.overwrite=true
    echo "== sluice inspect out/demo.h5 --rows 5"
    $sluice inspect out/demo.h5 --rows 5
else
    echo "SmolLM2 could not be downloaded: running the small model that comes with sluice instead."
    echo "== sluice run jobs/small.yaml, on 4 ranks"
    run_mpi 4 $sluice run jobs/small.yaml --set output.path=out/demo.h5 --set output.overwrite=true
    echo "== sluice inspect out/demo.h5 --rows 5 --score expected --by task"
    $sluice inspect out/demo.h5 --rows 5 --score expected --by task
fi
echo "== done. Answers: out/demo.h5 ($sluice export out/demo.h5 prints them as JSON lines; h5py and h5dump read it, too)"
