#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The recipes of packaging/, by the linters of those who read them: `spack audit`, and `eb --check-contrib` with a dry run that finds every
# dependency. Where neither Spack nor EasyBuild is installed the test is skipped (exit status 77).
set -euo pipefail
cd "${SLUICE_SOURCE_DIR:?the root of the repository}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0 tried=0
fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}

if command -v spack >/dev/null; then
    tried=1
    mkdir -p "$work/spack_repo/here/packages/sluice" "$work/config"
    printf 'repo:\n  namespace: here\n  api: v2.0\n' >"$work/spack_repo/here/repo.yaml"
    cp packaging/spack/package.py "$work/spack_repo/here/packages/sluice"
    printf 'repos:\n  here: %s\n' "$work/spack_repo/here" >"$work/config/repos.yaml"
    spack -C "$work/config" audit packages sluice >"$work/log" 2>&1 || { cat "$work/log"; fail "spack audit"; }
    ! grep -nE '^.{100}' packaging/spack/package.py || fail "Spack's style has lines of at most 99 columns"
    echo "spack audit: done"
fi

# EasyBuild does not run as root, and wants a modules tool.
lmod=${LMOD_CMD:-$(compgen -G '/usr/share/lmod/*/libexec/lmod' | head -n 1 || true)}
if command -v eb >/dev/null && [ -n "$lmod" ]; then
    tried=1
    cp -r packaging/easybuild "$work/easybuild"
    mkdir "$work/home"
    as_user=()
    if [ "$(id -u)" -eq 0 ]; then
        chown -R nobody "$work"
        as_user=(runuser -u nobody --)
    fi
    for check in --check-contrib "--dry-run --robot=$work/easybuild:"; do
        read -ra options <<<"$check"
        (cd "$work/easybuild" && "${as_user[@]}" env HOME="$work/home" LMOD_CMD="$lmod" PATH="$PATH" eb "${options[@]}" ./*.eb) >"$work/log" 2>&1 ||
            { cat "$work/log"; fail "eb $check"; }
    done
    grep -q 'sluice-[0-9.]*-foss' "$work/log" || { cat "$work/log"; fail "the dry run lists no sluice"; }
    echo "eb: done"
fi
[ "$tried" -eq 1 ] || { echo "skipped: neither spack nor eb (with Lmod) is installed"; exit 77; }
echo "$failures failures"
[ "$failures" -eq 0 ]
