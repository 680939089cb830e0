# SPDX-License-Identifier: Apache-2.0
# Shared by demo.sh and test.sh: installs what is missing and builds. Source it from the repository's root.

packages=(build-essential cmake ninja-build pkg-config
    openmpi-bin libopenmpi-dev libhdf5-dev hdf5-tools libopenblas-openmp-dev
    libutf8proc-dev libyaml-dev libyajl-dev libzstd-dev zlib1g-dev libxxhash-dev libssl-dev)
test_packages=(libcmocka-dev procps clang-format-14 git valgrind)
fuzz_packages=(clang libclang-rt-dev libomp-dev)
slurm_packages=(slurmctld slurmd slurm-client munge)
demo_packages=(python3 python3-pip)

# install_packages NAME...: with apt-get, as root or through sudo, only where something is missing.
install_packages() {
    local missing=() name
    for name in "$@"; do
        # "python3-pip" counts as there when pip is, however it came.
        if [ "$name" = python3-pip ] && python3 -m pip --version >/dev/null 2>&1; then continue; fi
        if [ "$name" = python3 ] && command -v python3 >/dev/null 2>&1; then continue; fi
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q '^install ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "These packages are missing and need root to install: ${missing[*]}" >&2
            return 1
        }
        as_root=(sudo)
    fi
    echo "Installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# build PRESET [OPTION]...: configures once, with cmake's options, then builds what changed.
build() {
    [ -f "build/$1/build.ninja" ] || cmake --preset "$@" >/dev/null
    cmake --build --preset "$1" -- -j "$(nproc)" | tail -n 1
}

# mpirun with what a laptop, a container and a root shell need.
run_mpi() {
    local ranks=$1
    shift
    local options=(--oversubscribe --bind-to none)
    [ "$(id -u)" -eq 0 ] && options+=(--allow-run-as-root)
    mpirun -n "$ranks" "${options[@]}" "$@"
}
