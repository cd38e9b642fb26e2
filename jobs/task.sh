#!/usr/bin/env bash
# One rank of a restartable job. Exit code 85, "run me again", goes to FILE alone (from rank 0): as a failure srun -K1
# would kill the ranks that are still ending, and hide the code. Usage: srun .. bash task.sh FILE COMMAND..
result=$1
shift
trap : USR1 TERM # they are the command's; this shell waits for it
code=0
"$@" || code=$?
if [ "${SLURM_PROCID:-0}" -eq 0 ]; then echo "$code" >"$result"; fi
if [ "$code" -eq 85 ]; then code=0; fi
exit "$code"
