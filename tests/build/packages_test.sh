#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a configuration says where something is missing: the packages, all at once; what the presets that users build ask for, and that
# the lists of packages agree with the table of cmake/dependencies.cmake.
set -euo pipefail
cd "${SLUICE_SOURCE_DIR:?the root of the repository}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$*"
}
says() { # TEXT
    grep -qF -- "$1" "$work/log" || { fail "nothing of \"$1\""; sed 's/^/    /' "$work/log"; }
}
# configure PRESET [OPTION…]: leaves what CMake says in log.
configure() {
    local preset=$1
    shift
    cmake --preset "$preset" -B "$work/$preset" "$@" >"$work/log" 2>&1
}

mkdir "$work/none"
if PKG_CONFIG_LIBDIR=$work/none PKG_CONFIG_PATH= configure release; then
    fail "without libraries the configuration ends well"
fi
says "utf8proc: libutf8proc-dev (Debian, Ubuntu); utf8proc-devel (Fedora, RHEL); libutf8proc (conda-forge); utf8proc (Spack)"
for package in libyaml-dev libzstd-dev libyajl-dev libxxhash-dev libssl-dev; do
    says "$package (Debian, Ubuntu)"
done
says "docs/install.md"
if configure release -DCMAKE_DISABLE_FIND_PACKAGE_HDF5=ON -DCMAKE_DISABLE_FIND_PACKAGE_MPI=ON; then
    fail "without HDF5 and MPI the configuration ends well"
fi
says "HDF5: libhdf5-dev (Debian, Ubuntu)"
says "MPI: libopenmpi-dev openmpi-bin (Debian, Ubuntu)"

# All of pkg-config's modules but cmocka: enough to build the program, too little to build the tests.
mkdir "$work/modules"
pkg-config --variable pc_path pkg-config | tr : '\n' | while IFS= read -r folder; do
    [ ! -d "$folder" ] || find "$folder" -name '*.pc' ! -name 'cmocka*' -exec ln -sf -t "$work/modules" {} +
done
rm -rf "$work/release"
PKG_CONFIG_LIBDIR=$work/modules PKG_CONFIG_PATH= configure release || { fail "the preset release needs cmocka"; cat "$work/log"; }
for preset in dev bench asan; do
    if PKG_CONFIG_LIBDIR=$work/modules PKG_CONFIG_PATH= configure "$preset"; then fail "the preset $preset needs no cmocka"; fi
    says "cmocka: libcmocka-dev (Debian, Ubuntu)"
done

cmake -P cmake/dependencies.cmake >"$work/table"
[[ "$(<docs/install.md)" == *"$(<"$work/table")"* ]] || fail "docs/install.md does not hold the table that cmake -P cmake/dependencies.cmake prints"

# Packages of Debian's column that are for all stand wherever packages are installed.
. scripts/common.sh
while IFS='|' read -r _ what names _ _ _ for _; do
    [ "${for// /}" = all ] || continue
    for name in $names; do
        [[ " ${packages[*]} " == *" $name "* ]] || fail "$what: scripts/common.sh does not install $name"
        for file in slurm/Dockerfile slurm/sluice.def; do
            grep -qwF -- "$name" "$file" || fail "$what: $file does not install $name"
        done
    done
done < <(tail -n +3 "$work/table")
echo "$failures failures"
[ "$failures" -eq 0 ]
