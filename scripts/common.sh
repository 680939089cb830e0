# SPDX-License-Identifier: Apache-2.0
# Shared by demo.sh and test.sh: installs what is missing and builds. Source it from the repository's root.

packages=(build-essential cmake ninja-build pkg-config
    openmpi-bin libopenmpi-dev libhdf5-dev
    libutf8proc-dev libyaml-dev libyajl-dev libzstd-dev zlib1g-dev libxxhash-dev libssl-dev)
test_packages=(libcmocka-dev hdf5-tools libopenblas-openmp-dev procps clang-format-14 git valgrind
    man-db mandoc zsh fish)
fuzz_packages=(clang libclang-rt-dev libomp-dev)
host_packages=(iproute2 nftables)
slurm_packages=(slurmctld slurmd slurm-client munge)
demo_packages=(python3 python3-pip)
export SLUICE_INSTALL=${SLUICE_INSTALL:-yes} # no: --no-install

# take_options ARGUMENT…: the scripts' own arguments; $usage is what --help prints.
take_options() {
    local argument
    for argument in "$@"; do
        case $argument in
        --no-install) SLUICE_INSTALL=no ;;
        --help | -h)
            printf '%s\n' "$usage"
            exit 0
            ;;
        *)
            echo "$0: $argument: unknown argument; see $0 --help" >&2
            exit 2
            ;;
        esac
    done
}

# quietly COMMAND…: what the command prints is shown only where it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

# is_installed PACKAGE: python3 and pip count however they came.
is_installed() {
    case $1 in
    python3) command -v python3 >/dev/null && return ;;
    python3-pip) python3 -m pip --version >/dev/null 2>&1 && return ;;
    esac
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'
}

# install_packages NAME…: with apt-get, as root or through sudo, only where something is missing. With --no-install it
# names what is missing and lets the caller go on with what is there.
install_packages() {
    local missing=() as_root=() name
    if ! command -v dpkg-query >/dev/null; then
        echo "This is neither Debian nor Ubuntu: nothing is installed. docs/install.md has the packages of other distributions." >&2
        return 0
    fi
    for name in "$@"; do
        is_installed "$name" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$SLUICE_INSTALL" = no ]; then
        echo "Not installed (--no-install): ${missing[*]}" >&2
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            name_what_root_installs "${missing[@]}"
            return 1
        fi
        as_root=(sudo)
    fi
    echo "Installing${as_root:+ with sudo}: ${missing[*]}"
    # RUNLEVEL=1: packages start no services of their own. sudo asks for a password on the terminal, whatever becomes of its
    # output. A source that cannot be read need not be one that is wanted.
    as_root+=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 RUNLEVEL=1)
    quietly "${as_root[@]}" apt-get update -q || true
    if ! quietly "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends "${missing[@]}"; then
        name_what_root_installs "${missing[@]}"
        return 1
    fi
}

# need_programs NAME…: ends the script where one is not there.
need_programs() {
    local name
    for name in "$@"; do
        command -v "$name" >/dev/null || {
            echo "$0: $name is not installed, or not in PATH; docs/install.md has the packages" >&2
            exit 1
        }
    done
}

name_what_root_installs() {
    cat >&2 <<TEXT
These packages are missing, and could not be installed: $*
Somebody with root may run:  apt-get install $*
Without root: docs/install.md. --no-install goes on with what is there.
TEXT
}

# build PRESET [-DOPTION=…]… [--target NAME…]: configures once, then builds what changed. On a terminal Ninja shows how far it
# is on one line; elsewhere only what fails is shown.
build() {
    local preset=$1 options=() targets=()
    shift
    while [[ ${1:-} == -D* ]]; do
        options+=("$1")
        shift
    done
    targets=("$@")
    need_programs cmake ninja
    if ! [ -f "build/$preset/build.ninja" ]; then
        quietly cmake --preset "$preset" "${options[@]}" || return
    fi
    echo "Building build/$preset with $(nproc) processes"
    if [ -t 1 ]; then
        cmake --build --preset "$preset" "${targets[@]}" -- -j "$(nproc)"
    else
        quietly cmake --build --preset "$preset" "${targets[@]}" -- -j "$(nproc)"
    fi
}

# mpirun with what a laptop, a container and a root shell need.
run_mpi() {
    local ranks=$1
    shift
    local options=(--oversubscribe --bind-to none)
    [ "$(id -u)" -eq 0 ] && options+=(--allow-run-as-root)
    mpirun -n "$ranks" "${options[@]}" "$@"
}
