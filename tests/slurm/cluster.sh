#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Slurm cluster of two nodes on this machine, for a test: munged, slurmctld and a slurmd for each node, with a key, a configuration,
# ports and state of their own in $cluster. Nothing under /etc is read or written, and a Slurm that may be there is left alone.
# Source it, then cluster_start; cluster_stop ends whatever was started, also after a failure.

: "${cluster:?the folder for the state}"
cluster_processes=()

# cluster_ports COUNT: so many ports in a row on which nobody listens.
cluster_ports() {
    local first port
    for _ in $(seq 50); do
        first=$((20000 + RANDOM % 10000))
        for ((port = first; port < first + $1; port++)); do
            if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue 2; fi
        done
        echo "$first"
        return
    done
    echo "no free ports" >&2
    return 1
}

cluster_configure() {
    local port host=${HOSTNAME:-$(hostname)}
    port=$(cluster_ports 3)
    mkdir -p "$cluster"/{state,log,munge,pmix} "$cluster"/spool.sluice{1,2}
    chmod 0755 "$cluster" "$cluster/munge"
    dd if=/dev/urandom of="$cluster/munge/key" bs=1024 count=1 status=none
    chmod 0400 "$cluster/munge/key"
    cat >"$cluster/slurm.conf" <<CONF
ClusterName=sluice_test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
# Open MPI names shared memory after the job: those of two such clusters on one machine must not have the same numbers.
FirstJobId=$((1000 + RANDOM))
AuthType=auth/munge
# A requeued job waits until its old credentials have run out.
AuthInfo=socket=$cluster/munge/socket,cred_expire=5
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool.%n
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd.%n.pid
SlurmctldLogFile=$cluster/log/slurmctld
SlurmdLogFile=$cluster/log/slurmd.%n
# This machine has neither a control group for Slurm nor cores to bind to.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=10
# Jobs that have ended are asked about until the end of the test.
MinJobAge=3600
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
NodeName=sluice1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=3
NodeName=sluice2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=3
# Jobs of "urgent" take the place of those of the two partitions after it.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=all Nodes=sluice[1-2] Default=YES MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
PartitionName=urgent Nodes=sluice[1-2] MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
PartitionName=requeued Nodes=sluice[1-2] MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE
PartitionName=cancelled Nodes=sluice[1-2] MaxTime=INFINITE PriorityTier=1 PreemptMode=CANCEL
CONF
    # Left to find out which control groups there are, slurmd ends where there are none, as in a chroot. Earlier versions do not know
    # "disabled"; their plug-in for v1 is content to have none, since nothing of the above uses it.
    case $(slurmd -V) in
    *" "2[012].* | *" "23.02*) echo "CgroupPlugin=cgroup/v1" >"$cluster/cgroup.conf" ;;
    *) echo "CgroupPlugin=disabled" >"$cluster/cgroup.conf" ;;
    esac
    echo "PMIxCliTmpDirBase=$cluster/pmix" >"$cluster/mpi.conf"
    export SLURM_CONF=$cluster/slurm.conf
}

# cluster_wait SECONDS WHAT COMMAND…: until the command succeeds; cluster_wait_closely looks more often.
cluster_wait() {
    cluster_wait_every 0.2 "$@"
}
cluster_wait_closely() {
    cluster_wait_every 0.02 "$@"
}
cluster_wait_every() {
    local pause=$1 limit=$((SECONDS + $2)) what=$3
    shift 3
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$limit" ]; then
            echo "no $what after a while" >&2
            return 1
        fi
        sleep "$pause"
    done
}

cluster_idle() {
    [ "$(sinfo -h -N -o %t | sort -u)" = idle ]
}

cluster_start() {
    cluster_configure
    munged --foreground --force --key-file "$cluster/munge/key" --socket "$cluster/munge/socket" --pid-file "$cluster/munge/pid" \
        --log-file "$cluster/munge/log" --seed-file "$cluster/munge/seed" --num-threads 2 >"$cluster/log/munged" 2>&1 &
    cluster_processes+=($!)
    cluster_wait 20 "answer from munged" munge --no-input --socket "$cluster/munge/socket"
    slurmctld -D -c -f "$SLURM_CONF" >"$cluster/log/slurmctld.out" 2>&1 &
    cluster_processes+=($!)
    for node in sluice1 sluice2; do
        slurmd -D -N "$node" -f "$SLURM_CONF" >"$cluster/log/$node.out" 2>&1 &
        cluster_processes+=($!)
    done
    cluster_wait 60 "idle nodes" cluster_idle
}

cluster_stop() {
    [ -n "${SLURM_CONF:-}" ] || return 0
    scancel --user root >/dev/null 2>&1 || true
    cluster_wait 15 "empty queue" cluster_idle || true
    kill "${cluster_processes[@]}" 2>/dev/null || true
    for _ in $(seq 50); do
        kill -0 "${cluster_processes[@]}" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "${cluster_processes[@]}" 2>/dev/null || true
    wait "${cluster_processes[@]}" 2>/dev/null || true
}
