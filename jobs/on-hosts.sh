#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A job on the hosts of a hostfile, by mpirun and without a batch system:
#   jobs/on-hosts.sh HOSTFILE jobs/my-job.yaml [--set key=value]…
#
# Started on the first of the hosts. Ends with the job's status. When a host vanishes, the ranks that are left end with 75 and mpirun, which
# may wait for the lost host for ever, is ended here: status 75, and the same command with the host's line taken out of the file continues.
#   SLUICE           the program, sluice unless set; for instance `apptainer exec --nv sluice.sif sluice`
#   SLUICE_MPIRUN    further options of mpirun: SLUICE_MPIRUN="--mca btl_tcp_if_include eth0"
#   SLUICE_GO_ON=1   takes the silent hosts' lines out of a copy of the file and goes on with the others by itself
# OMP_NUM_THREADS and variables of NCCL_, UCX_ and FI_ are passed on to all hosts. docs/cloud.md says what clouds need.
set -uo pipefail
[ $# -ge 2 ] || { sed -n '3,4p' "$0" >&2; exit 2; }
hostfile=$1
shift
[ -r "$hostfile" ] || { echo "on-hosts.sh: $hostfile: cannot be read" >&2; exit 2; }
read -ra program <<<"${SLUICE:-sluice}"
read -ra options <<<"${SLUICE_MPIRUN:-}"
for name in $(compgen -e); do
    case $name in OMP_NUM_THREADS | NCCL_* | UCX_* | FI_*) options+=(-x "$name") ;; esac
done
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
export SLUICE_SILENT_HOSTS=$folder/silent
export OMPI_MCA_odls_base_sigkill_timeout=${OMPI_MCA_odls_base_sigkill_timeout:-20} # ranks end in order

running=
stop() {
    echo "on-hosts.sh: asking the ranks to stop" >&2
    stopped=yes
    [ -z "$running" ] || kill -USR1 "$running" 2>/dev/null
}
stopped=
trap stop TERM INT USR1 HUP

# Runs the job once; leaves the status. Ranks that end for a silent host name it in the file before they do.
run_once() {
    local patience=10
    : >"$SLUICE_SILENT_HOSTS"
    # A Ctrl-C is for this script: mpirun, told by the terminal too, would wait for its time to kill and let the ranks go on until then.
    setsid mpirun --hostfile "$hostfile" --bind-to none --map-by slot "${options[@]}" "${program[@]}" run "$@" &
    running=$!
    while kill -0 "$running" 2>/dev/null; do
        sleep 1 &
        wait $! 2>/dev/null
        if [ -s "$SLUICE_SILENT_HOSTS" ] && [ $((patience -= 1)) -lt 0 ]; then
            echo "on-hosts.sh: mpirun waits for a host that is gone: ending it" >&2
            kill -KILL "$running" 2>/dev/null
            break
        fi
    done
    wait "$running" 2>/dev/null
    status=$?
    [ ! -s "$SLUICE_SILENT_HOSTS" ] || status=75
}

# Takes the lines of the silent hosts out of a copy of the file. Fails where a name is in no line, or nothing is left.
leave_out() {
    local host
    while read -r host; do
        awk -v host="$host" '{ name = $1; short = name; sub(/\..*/, "", short) } name != host && short != host' "$hostfile" >"$folder/left" || return 1
        if cmp -s "$hostfile" "$folder/left" || ! grep -q '^[^#]' "$folder/left"; then
            echo "on-hosts.sh: $host cannot be left out of $hostfile by its name" >&2
            return 1
        fi
        cp "$folder/left" "$folder/hosts"
        hostfile=$folder/hosts
    done <"$SLUICE_SILENT_HOSTS"
}

while run_once "$@"; [ "$status" -eq 75 ] && [ -z "$stopped" ] && [ "${SLUICE_GO_ON:-}" = 1 ] && [ -s "$SLUICE_SILENT_HOSTS" ]; do
    leave_out || break
    echo "on-hosts.sh: going on with the hosts that are left" >&2
done
exit "$status"
