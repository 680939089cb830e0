#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What long.sbatch makes of the ways in which a job ends: goes back into the queue, and without the nodes that were silent. Slurm's commands
# are stand-ins that write down what they are asked; tests/slurm has the real ones.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
mkdir bin
cat >bin/srun <<'SH'
#!/usr/bin/env bash
[ -z "$SILENT" ] || printf '%s\n' $SILENT >"$SLUICE_SILENT_HOSTS"
sleep 0.2
exit "$STATUS"
SH
cat >bin/scontrol <<'SH'
#!/usr/bin/env bash
if [[ " $* " == *" show "* ]]; then
    echo "JobId=7 JobName=sluice ExcNodeList=$EXCLUDED Reason=None"
else
    echo "$*" >>"$ASKED"
fi
SH
chmod +x bin/*
export PATH=$PWD/bin:$PATH ASKED=$PWD/asked SLURM_JOB_ID=7
unset SLUICE_LAUNCHER

# expect_asked STATUS SILENT EXCLUDED EXPECTED [ENDS]: what Slurm is asked for, after ranks that end so; `;` between two.
expect_asked() {
    local status=0 asked
    : >"$ASKED"
    STATUS=$1 SILENT=$2 EXCLUDED=$3 bash "$SLUICE_SOURCE_DIR/slurm/long.sbatch" job.yaml >out 2>err || status=$?
    asked=$(paste -sd ';' "$ASKED")
    [ "$asked" = "$4" ] || fail "status $1, silent \"$2\": asked \"$asked\" instead of \"$4\""
    [ "$status" -eq "${5:-$1}" ] || fail "status $1, silent \"$2\": ends with $status"
}
expect_asked 0 "" "(null)" ""
expect_asked 1 "" "(null)" ""
expect_asked 75 "" "(null)" "requeue 7"
expect_asked 75 "node3" "(null)" "requeue 7;update JobId=7 ExcNodeList=node3"
expect_asked 75 "node3 node5" "node1" "requeue 7;update JobId=7 ExcNodeList=node1,node3,node5"
expect_asked 137 "node3" "(null)" "requeue 7;update JobId=7 ExcNodeList=node3" 75 # srun was killed
finish
