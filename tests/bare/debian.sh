#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Debian 12 with nothing installed (debootstrap --variant=minbase), a clone of the last commit in it, and the README's commands as
# they are written there, in an environment of nothing but what a login sets.
#   tests/bare/debian.sh [demo|test] [--user]     demo: ./scripts/demo.sh; test: ./scripts/test.sh; --user: not as root, but as a
#                                                 user with sudo
#   tests/bare/debian.sh deb [BUILD_FOLDER]       instead of a clone the .deb that cpack makes of build/release or this folder: installed,
#                                                 run as a user, removed
# Of this machine it takes what the network needs, no more: the archive in apt's sources (or SLUICE_TEST_MIRROR), proxies, the
# certificates and the index that pip is told to use, resolv.conf. /proc and /sys are mounted (without control groups), /dev has what
# debootstrap makes, and /dev/shm and /dev/pts. Mounts and processes are in namespaces of their own and go with them; the folder
# (4 GB at most; TMPDIR) is removed in any case.
# Exit status 77: such a Debian cannot be had here, and a line says why.
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)

command=demo user= build=$source/build/release
for argument in "$@"; do
    case $argument in
    demo | test | deb) command=$argument ;;
    */*) build=$(cd "$argument" && pwd) ;;
    --user) user=ada ;;
    *)
        echo "usage: tests/bare/debian.sh [demo|test] [--user] | deb [BUILD_FOLDER]" >&2
        exit 2
        ;;
    esac
done

skip() {
    echo "SKIPPED: no bare Debian: $*"
    exit 77
}

# ---- Outside: the folder, and the namespaces ----

outside() {
    local child status=0
    [ "$(id -u)" -eq 0 ] || skip "debootstrap needs root"
    command -v debootstrap >/dev/null || skip "debootstrap is not installed"
    unshare --mount --pid --fork true || skip "namespaces cannot be made (in a container: --privileged)"
    folder=$(mktemp -d "${TMPDIR:-/tmp}/sluice-bare.XXXXXX")
    trap 'rm -rf --one-file-system "$folder"' EXIT
    SLUICE_BARE_FOLDER=$folder unshare --mount --pid --fork --kill-child "$BASH" "$0" "$@" &
    child=$!
    trap 'kill -KILL "$child"; wait "$child" 2>/dev/null || true; exit 130' INT TERM HUP
    wait "$child" || status=$?
    return "$status"
}

# ---- Inside ----

# The archive that apt's sources name for Debian 12; none where this machine is another distribution: debootstrap knows one.
find_mirror() {
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        awk '$2 == "bookworm" && $3 == "main" { print $1; exit }'
}

apt_proxy() {
    apt-config dump 2>/dev/null | sed -n "s/^Acquire::$1::Proxy \"\(.*\)\";/\1/p" | head -n 1
}

make_debian() {
    local mirror=${SLUICE_TEST_MIRROR:-$(find_mirror)}
    echo "== a bare Debian 12"
    http_proxy=${http_proxy:-$(apt_proxy http)} https_proxy=${https_proxy:-$(apt_proxy https)} \
        debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"} >"$folder/log" 2>&1 || {
        tail -n 20 "$folder/log"
        skip "debootstrap failed"
    }
    # What an installation has beyond that. `ip netns exec` wants a root folder that is a mount.
    mount --bind "$root" "$root"
    printf '127.0.0.1 localhost %s\n' "$(hostname)" >"$root/etc/hosts"
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io" # it lives for minutes
    mkdir -p "$root/dev/shm" "$root/dev/pts"
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
}

# pip_setting NAME: as this machine's pip has it, whether from a file or from the environment.
pip_setting() {
    python3 -m pip config list 2>/dev/null | sed -n "s/^\(global\|:env:\)\.$1='\(.*\)'$/\2/p" | head -n 1
}

connect_network() {
    local name value
    cat /etc/resolv.conf >"$root/etc/resolv.conf"
    apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries)' >"$root/etc/apt/apt.conf.d/99network" || true
    mkdir -p "$root/usr/local/share/ca-certificates"
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp -L -t "$root/usr/local/share/ca-certificates" {} + 2>/dev/null || true
    echo "[global]" >"$root/etc/pip.conf"
    for name in index-url extra-index-url trusted-host proxy cert; do
        value=$(pip_setting "$name") || true # no pip, no settings
        [ -n "$value" ] || continue
        printf '%s = %s\n' "$name" "$value" >>"$root/etc/pip.conf"
        if [ "$name" = cert ]; then (cd / && cp -L --parents "$value" "$root"); fi
    done
}

# inside NAME HOME PATH COMMAND…: in the bare Debian, as this user, with what a login sets, and the proxies.
inside() {
    local name=$1 home=$2 path=$3 variable settings=()
    shift 3
    for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [ -z "${!variable:-}" ] || settings+=("$variable=${!variable}")
    done
    chroot --userspec="$name:$name" "$root" /usr/bin/env -i "HOME=$home" "USER=$name" "LOGNAME=$name" SHELL=/bin/bash TERM=dumb \
        "PATH=$path" "${settings[@]}" "$@"
}
as_root() {
    inside root /root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
as_user() {
    inside "$user" "/home/$user" /usr/local/bin:/usr/bin:/bin "$@"
}

# A machine on which somebody may use sudo has it.
add_user() {
    as_root bash -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends sudo' \
        >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
    as_root useradd --create-home --shell /bin/bash "$user"
    echo "$user ALL=(ALL) NOPASSWD: ALL" >"$root/etc/sudoers.d/$user"
}

# The demo falls back to the small model where there is no network; here it may do so only where this machine could not
# download the real one either.
check_demo() {
    [ -s "$root$home/sluice/out/demo.h5" ] || { echo "FAILED: the demo has left no out/demo.h5"; exit 1; }
    grep -q 'could not be downloaded' "$folder/output" || return 0
    if SLUICE_CACHE=$folder/cache "$source/scripts/fetch_model.sh" smollm2 >/dev/null; then
        echo "FAILED: the demo could not download its model, and this machine can"
        exit 1
    fi
    echo "(without network: the demo ran the small model)"
}

# The package is made of what has been built here, installed with what it needs, and leaves nothing when it is removed.
run_deb() {
    make_debian
    connect_network
    (cd "$folder" && cpack -G DEB --config "$build/CPackConfig.cmake" -B "$folder/package") >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
    cp "$folder"/package/*.deb "$root/root/sluice.deb"
    dpkg-deb --info "$root/root/sluice.deb" | grep -E '^ (Package|Version|Depends):'
    find "$root/usr" "$root/etc" -path "$root/usr/share/doc" -prune -o -name '*sluice*' -print >"$folder/before"
    echo "== install"
    as_root bash -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends /root/sluice.deb' \
        >"$folder/log" 2>&1 || { tail -n 30 "$folder/log"; exit 1; }
    as_root useradd --create-home --shell /bin/bash ada
    mkdir "$root/home/ada/job"
    cp -r "$source/data/small-model" "$source/data/tasks.jsonl" "$root/home/ada/job"
    as_root chown -R ada:ada /home/ada
    user=ada
    echo "== run, as a user, alone and on two ranks"
    as_user bash -c 'cd ~/job && sluice --version | head -n 1 && sluice init small-model tasks.jsonl -o job.yaml && sluice check job.yaml >/dev/null &&
        sluice run job.yaml --quiet --set data.limit=8 && sluice export out/tasks.h5 | wc -l &&
        mpirun --oversubscribe -n 2 sluice run job.yaml --quiet --set data.limit=8 --set output.path=out/two.h5 --set layout.tp=2 &&
        sluice compare out/tasks.h5 out/two.h5 | grep "^equal: 8 results"' </dev/null || { echo "FAILED: the installed program"; exit 1; }
    local file
    for file in bin/sluice 'lib*/libsluice.a' include/sluice/status.h share/bash-completion/completions/sluice share/sluice/slurm/one-node.sbatch \
        share/sluice/jobs/example.yaml; do
        [ -n "$(find "$root/usr" -path "$root/usr/$file")" ] || { echo "FAILED: /usr/$file is not there"; exit 1; }
    done
    dpkg-deb --contents "$root/root/sluice.deb" >"$folder/contents"
    grep -q '/usr/share/man/man5/sluice-job.5' "$folder/contents" || { echo "FAILED: no manual pages"; exit 1; }
    echo "== remove"
    as_root apt-get remove -y -qq sluice >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
    find "$root/usr" "$root/etc" -path "$root/usr/share/doc" -prune -o -name '*sluice*' -print >"$folder/after"
    cmp -s "$folder/before" "$folder/after" || { echo "FAILED: left behind:"; diff "$folder/before" "$folder/after"; exit 1; }
    echo "== the package: done in $SECONDS s"
}

run_inside() {
    local as=as_root status=0 line
    home=/root
    make_debian
    connect_network
    if [ -n "$user" ]; then
        add_user
        as=as_user home=/home/$user
    fi
    git -c safe.directory="*" clone --quiet --no-local "$source" "$root$home/sluice"
    [ -z "$user" ] || as_root chown -R "$user:$user" "$home/sluice"
    line=$(sed -n "s|^    \(\./scripts/$command\.sh\) .*|\1|p" "$source/README.md" | head -n 1)
    [ -n "$line" ] || { echo "FAILED: the README has no line with ./scripts/$command.sh"; exit 1; }
    echo "== $line, as ${user:-root}${user:+ with sudo}"
    "$as" bash -c "cd '$home/sluice' && exec $line" </dev/null 2>&1 | tee "$folder/output" || status=$?
    if [ "$status" -ne 0 ]; then
        echo "FAILED: $line: exit status $status"
        exit 1
    fi
    [ "$command" != demo ] || check_demo
    echo "== $line: done in $SECONDS s"
}

if [ -z "${SLUICE_BARE_FOLDER:-}" ]; then
    outside "$@"
else
    folder=$SLUICE_BARE_FOLDER root=$SLUICE_BARE_FOLDER/debian
    if [ "$command" = deb ]; then run_deb; else run_inside; fi
fi
