#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts into a prefix: all of it is there, the program runs from there, and a program builds against the library with
# CMake and with pkg-config. The recipes name what the project needs.
set -euo pipefail
: "${SLUICE_SOURCE_DIR:?the root of the repository}" "${SLUICE_BUILD_DIR:?the build to install}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}
cd "$work"
cmake --build "$SLUICE_BUILD_DIR" --target sluice_manual >build.log 2>&1 || { cat build.log; exit 1; }
cmake --install "$SLUICE_BUILD_DIR" --prefix "$work/prefix" >install.log 2>&1 || { cat install.log; exit 1; }
libraries=$(dirname "$(find prefix -name libsluice.a)")
for file in bin/sluice "${libraries#prefix/}/pkgconfig/sluice.pc" "${libraries#prefix/}/cmake/sluice/sluiceConfig.cmake" share/man/man1/sluice.1 \
    share/man/man5/sluice-job.5 share/man/man5/sluice-output.5 share/bash-completion/completions/sluice share/zsh/site-functions/_sluice \
    share/fish/vendor_completions.d/sluice.fish share/sluice/slurm/one-node.sbatch share/sluice/jobs/example.yaml share/sluice/examples/perplexity.c \
    share/doc/sluice/commands.md share/doc/sluice/LICENSE; do
    [ -s "prefix/$file" ] || fail "$file is not there"
done
[ -x prefix/share/sluice/slurm/chain.sh ] || fail "scripts are not executable"
for header in "$SLUICE_SOURCE_DIR"/include/sluice/*.h; do
    [ -s "prefix/include/sluice/${header##*/}" ] || fail "${header##*/} is not there"
done
prefix/bin/sluice help --list >commands
while read -r command; do
    [ -s "prefix/share/man/man1/sluice-$command.1" ] || fail "sluice-$command(1) is not there"
done <commands
# Pages of formats: every key is a term of sluice-job(5), every column one of sluice-output(5).
prefix/bin/sluice help job | sed -nE 's/^\| `([a-z_.]+)` \|.*/\1/p' >keys
[ "$(wc -l <keys)" -ge 40 ] || fail "$(wc -l <keys) keys"
while read -r key; do
    grep -qxF "\\fB$key\\fR" prefix/share/man/man5/sluice-job.5 || fail "sluice-job(5) lacks $key"
done <keys
for column in row finish_reason text; do
    grep -qxF "\\fB$column\\fR" prefix/share/man/man5/sluice-output.5 || fail "sluice-output(5) lacks $column"
done
# Those who read them: no word from groff and mandoc, a name for apropos, and lines that a terminal of 80 columns shows.
# warned PROGRAM PAGE ARGUMENT…
warned() {
    local program=$1 page=$2 said
    shift 2
    command -v "$program" >/dev/null || return 0
    said=$("$program" "$@" "$page" 2>&1 >/dev/null || true)
    [ -z "$said" ] || fail "$program of ${page##*/}: $(head -n 3 <<<"$said")"
}
pages=0
for page in prefix/share/man/man[15]/*; do
    pages=$((pages + 1))
    warned groff "$page" -man -Tutf8 -ww
    warned groff "$page" -man -Tascii -ww
    if command -v mandoc >/dev/null; then
        said=$(mandoc -T lint -W warning "$page") || fail "mandoc of ${page##*/}: $(head -n 3 <<<"$said")"
    fi
    if command -v lexgrog >/dev/null; then
        lexgrog "$page" | grep -qF "$(basename "${page%.?}") - " || fail "${page##*/}: apropos finds no name"
    fi
    if command -v man >/dev/null && man --version 2>/dev/null | grep -q man-db; then
        MANWIDTH=80 LC_ALL=C.UTF-8 man -l "$page" >shown 2>error && [ -s shown ] && [ ! -s error ] || fail "man of ${page##*/}: $(head -n 3 error)"
        [ "$(LC_ALL=C.UTF-8 wc -L <shown)" -le 80 ] || fail "${page##*/} is wider than 80 columns"
        ! grep -nE '\\&|\\f[BIR]|`|\*\*' shown || fail "${page##*/} shows marks of roff or Markdown"
    fi
done
[ "$pages" -ge 17 ] || fail "$pages manual pages"

# A program against the library.
model=$SLUICE_SOURCE_DIR/data/small-model
if grep -q 'SLUICE_SANITIZE:STRING=.' "$SLUICE_BUILD_DIR/CMakeCache.txt"; then
    echo "(no example against a library with sanitizers)"
else
    cmake -S prefix/share/sluice/examples -B examples -DCMAKE_PREFIX_PATH="$work/prefix" >build.log 2>&1 && cmake --build examples >>build.log 2>&1 || {
        cat build.log
        fail "the example does not build with find_package"
    }
    likely=$(examples/perplexity "$model" "apple pie") || fail "the example does not run"
    unlikely=$(examples/perplexity "$model" "zqx qzx xzq") || fail "the example does not run"
    awk -v a="$likely" -v b="$unlikely" 'BEGIN { exit !(a > 1 && b > 1 && a != b) }' || fail "the example: $likely and $unlikely"
    code=0
    examples/perplexity no-such-model text 2>error || code=$?
    [ "$code" -eq 1 ] && grep -q '^perplexity: no-such-model' error || fail "the example's error: $(cat error)"
    export PKG_CONFIG_PATH=$work/$libraries/pkgconfig
    [ "$(pkg-config --modversion sluice)" = "$(sed -n 's/^project(sluice VERSION \([0-9.]*\).*/\1/p' "$SLUICE_SOURCE_DIR/CMakeLists.txt")" ] ||
        fail "sluice.pc has another version"
    read -ra flags <<<"$(pkg-config --cflags --libs sluice)"
    cc -o by-pkg-config prefix/share/sluice/examples/perplexity.c "${flags[@]}" 2>build.log || { cat build.log; fail "the example does not build with pkg-config"; }
    [ "$(./by-pkg-config "$model" "apple pie")" = "$likely" ] || fail "the example by pkg-config says something else"
fi
[ "$(prefix/bin/sluice --version | head -n 1)" = "sluice $(sed -nE '0,/^## ([0-9.]+).*/s//\1/p' "$SLUICE_SOURCE_DIR/CHANGELOG.md")" ] ||
    fail "the version is not the changelog's"

# The recipes: what Spack calls the dependencies is in the table of cmake/dependencies.cmake; the EasyBuild file is Python's syntax and of this version.
recipe=$SLUICE_SOURCE_DIR/packaging/spack/package.py
while IFS='|' read -r what _ _ _ spack for; do
    [ "${for%\"}" = all ] && [ "$spack" != gcc ] && [ "$spack" != c-compiler ] || continue
    grep -qE "depends_on\(\"($spack|$spack-api|pkgconfig|mpi)[\"@]" "$recipe" || [[ $spack =~ ^(pkgconf|openmpi|ninja)$ ]] || fail "the Spack recipe lacks $what ($spack)"
done < <(sed -n 's/^  "\(.*|.*|.*|.*|.*|.*\)"$/\1/p' "$SLUICE_SOURCE_DIR/cmake/dependencies.cmake")
if command -v python3 >/dev/null; then
    for file in "$recipe" "$SLUICE_SOURCE_DIR"/packaging/easybuild/*.eb; do
        python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$file" || fail "$file is no Python"
    done
fi
version=$(sed -n 's/^project(sluice VERSION \([0-9.]*\).*/\1/p' "$SLUICE_SOURCE_DIR/CMakeLists.txt")
[ -e "$SLUICE_SOURCE_DIR/packaging/easybuild/sluice-$version-foss-2023b.eb" ] && grep -q "^version = '$version'" "$SLUICE_SOURCE_DIR"/packaging/easybuild/*.eb ||
    fail "the EasyBuild file is of another version"
# Containers have all folders that are installed.
for folder in $(sed -nE 's/^install\(DIRECTORY ([^$]*) DESTINATION.*/\1/p' "$SLUICE_SOURCE_DIR/cmake/install.cmake"); do
    folder=${folder%%/*}
    grep -qE "^COPY $folder " "$SLUICE_SOURCE_DIR/slurm/Dockerfile" && grep -qE "^    $folder /source/$folder$" "$SLUICE_SOURCE_DIR/slurm/sluice.def" ||
        fail "a container lacks $folder/"
done
echo "$failures failures"
[ "$failures" -eq 0 ]
