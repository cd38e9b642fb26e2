#!/usr/bin/env bash
# The Slurm scripts of jobs/, submitted to a cluster of two nodes on this host.
# Usage: test_slurm.sh <clarkia> <source folder>
set -euo pipefail
# shellcheck source=cluster.sh
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"
export CLARKIA=$1 CLARKIA_HOME=$2
missing=$(cluster_missing)
if [ -n "$missing" ]; then
  echo "skipped: no Slurm cluster can be started, this host lacks ${missing//$'\n'/, } (bash jobs/setup.sh --slurm)"
  exit 77
fi
folder=$(mktemp -d)
trap 'cluster_stop; rm -rf "$folder"' EXIT
stop() {
  echo "FAILED: $*"
  tail -n 40 "$folder"/run/*.out "$folder"/slurmctld.log 2>/dev/null
  exit 1
}
mkdir "$folder/run"
cd "$folder/run"
unset OMP_NUM_THREADS OPENBLAS_NUM_THREADS # env.sh sets them
cluster_start "$folder" 2

export OMPI_MCA_mpi_yield_when_idle=1 # two ranks or more share a core

submit() { sbatch --parsable --ntasks-per-node=1 "$@" || stop "not submitted: $*"; }
state() { scontrol --oneliner show job "$1" | sed -n 's/.*JobState=\([A-Z_]*\) .*/\1/p' | head -n 1; }

# ends JOB STATE SECONDS
ends() {
  local i now=
  for ((i = 0; i < 5 * $3; ++i)); do
    now=$(state "$1")
    case $now in PENDING | RUNNING | COMPLETING | REQUEUED | CONFIGURING) sleep 0.2 ;; *) break ;; esac
  done
  [ "$now" = "$2" ] || stop "job $1 is $now, not $2"
}

# checksum FILE: of the numbers in an HDF5 file, name by name
checksum() {
  /usr/bin/python3 - "$1" <<'END'
import hashlib
import sys
import h5py
with h5py.File(sys.argv[1]) as file:
    file.visititems(lambda name, item: print(name, hashlib.sha256(item[()].tobytes()).hexdigest())
                    if isinstance(item, h5py.Dataset) else None)
END
}

# appears FILE SECONDS
appears() {
  local i
  for ((i = 0; i < 20 * $2; ++i)); do
    [ ! -s "$1" ] || return 0
    sleep 0.05
  done
  stop "no $1 after $2 seconds"
}

values() { grep -E '^ *([0-9]+ +[0-9]|trace|rank_|mean|lambda_max|stable)' "$1"; }

# One node and two nodes: the same eigenvalues
input=$CLARKIA_HOME/inputs/synthetic-spectrum.yml
job=$(submit "$CLARKIA_HOME/jobs/spectrum.sbatch" "$input" -output one.h5)
ends "$job" COMPLETED 180
values "clarkia-$job.out" >one
[ "$(wc -l <one)" -ge 10 ] || stop "no values in the table"
job=$(submit --nodes=2 "$CLARKIA_HOME/jobs/spectrum-nodes.sbatch" "$input" -output two.h5)
ends "$job" COMPLETED 180
grep -qF "2 nodes (n[1-2]), 2 ranks" "clarkia-nodes-$job.out" || stop "not on two nodes"
values "clarkia-nodes-$job.out" | grep -E "^ *[0-9]+ " | sed 's/residual.*//' >two
grep -E "^ *[0-9]+ " one | sed 's/residual.*//' | cmp - two || stop "other eigenvalues on two nodes"
if [ ! -s one.h5 ] || [ ! -s two.h5 ]; then stop "no result files"; fi

# Restart: 108 short passes; told to stop after the first checkpoint, the job comes back and ends with the same values
task=(-data synthetic -data_shape 32 -data_classes 13 -data_count 200 -net mlp -net_widths 600
  -noise_gram_precision single -noise_memory 0.00001 -engine_layer_form explicit -spectrum_residuals 0)
echo "seed: 1" >restart.yml
job=$(submit "$CLARKIA_HOME/jobs/restart.sbatch" gram restart.yml "${task[@]}" -output whole.h5)
ends "$job" COMPLETED 180
values "clarkia-restart-$job.out" >whole
[ ! -e "clarkia-$job-checkpoint.h5" ] || stop "the checkpoint of a complete run is left"
job=$(submit "$CLARKIA_HOME/jobs/restart.sbatch" gram restart.yml "${task[@]}" \
  -noise_checkpoint_interval 0 -output resumed.h5)
appears "clarkia-$job-checkpoint.h5" 120
scancel --signal=USR1 "$job"
ends "$job" COMPLETED 180
log=clarkia-restart-$job.out
grep -q "goes back into the queue (restart 1)" "$log" || stop "not requeued"
grep -q "goes on after" "$log" || stop "did not go on from the checkpoint"
values "$log" | cmp - whole || stop "other values after a restart"
scontrol show job "$job" | grep -q "Restarts=1 " || stop "not one restart"
[ -s resumed.h5 ] || stop "no result of the resumed run"

# Training: stopped once the first checkpoint is there, it comes back and ends with the same weights and trajectory
run=(-data synthetic -data_shape "1,6,6" -data_classes 3 -data_count 300 -net small-fc -engine reference -dynamics_epochs 40
  -dynamics_momentum 0.9 -record_unit updates -record_measure loss)
job=$(submit "$CLARKIA_HOME/jobs/train.sbatch" restart.yml "${run[@]}" -record whole.traj -output whole-weights.h5)
ends "$job" COMPLETED 180
job=$(submit --nodes=2 "$CLARKIA_HOME/jobs/train.sbatch" restart.yml "${run[@]}" -train_checkpoint_interval 0 \
  -record resumed.traj -output resumed-weights.h5)
appears "clarkia-$job-checkpoint.h5" 120
scancel --signal=USR1 "$job"
ends "$job" COMPLETED 180
log=clarkia-train-$job.out
grep -q "goes back into the queue (restart 1)" "$log" || stop "training was not requeued"
grep -q "going on from clarkia-$job-checkpoint.h5" "$log" || stop "training did not go on from the checkpoint"
[ -z "$(find . -name "clarkia-$job-checkpoint*")" ] || stop "checkpoints of a complete training run are left"
if [ -s resumed.traj.part ] || [ ! -s resumed.traj ]; then stop "no complete trajectory after a restart"; fi
grep -E "^clarkia: .* epoch" "$log" | sed 's/.* epoch/epoch/; s/  rate.*//' >resumed
grep -E "^clarkia: .* epoch" clarkia-train-*.out --no-filename | sed 's/.* epoch/epoch/; s/  rate.*//' | sort -u |
  cmp - <(sort resumed) || stop "other reports after a restart"
for file in resumed-weights.h5 resumed.traj; do
  checksum "$file" >two
  checksum "${file/resumed/whole}" | cmp - two || stop "$file differs after a restart"
done

# A rank is killed outright: the job ends at once, as failed, and leaves no result under its final name
job=$(submit --nodes=2 "$CLARKIA_HOME/jobs/spectrum-nodes.sbatch" restart.yml -spectrum_method gram "${task[@]}" \
  -noise_checkpoint killed-checkpoint.h5 -noise_checkpoint_interval 0 -output killed.h5)
appears killed-checkpoint.h5 120
victim=$(pgrep -x clarkia | while read -r process; do
  tr '\0' '\n' <"/proc/$process/environ" >environment 2>/dev/null || continue
  grep -qxF "SLURM_SUBMIT_DIR=$PWD" environment || continue # another cluster's
  if grep -qx "SLURM_JOB_ID=$job" environment && grep -qx "SLURM_NODEID=1" environment; then echo "$process"; fi
done)
[ -n "$victim" ] || stop "no process of job $job on its second node"
kill -9 "$victim"
ends "$job" FAILED 60
[ ! -e killed.h5 ] || stop "a killed run leaves a result"

# The restart limit
job=$(CLARKIA_RESTARTS=0 submit "$CLARKIA_HOME/jobs/restart.sbatch" gram restart.yml "${task[@]}" \
  -noise_checkpoint_interval 0 -max_seconds 0.01 -output limit.h5)
ends "$job" FAILED 120
scontrol show job "$job" | grep -qF "ExitCode=85:0" || stop "exit code of a run out of time"

# all_end JOB COUNT STATE SECONDS: so many tasks of an array
all_end() {
  local i now
  for ((i = 0; i < 5 * $4; ++i)); do
    scontrol --oneliner show job "$1" >tasks
    now=$(grep -c "JobState=$3 " tasks || true)
    [ "$now" -ne "$2" ] || return 0
    grep -qE "JobState=(PENDING|CONFIGURING|RUNNING|COMPLETING|REQUEUED) " tasks || break
    sleep 0.2
  done
  stop "$now of $2 tasks of job $1 are $3"
}

# Rank study: every task fits its network and data; one in full, to a spectrum of rank below the number of samples
shape=(-data_shape "3,32,32" -data_classes 10)
study=("$CLARKIA_HOME/jobs/rank-study.sbatch" gram synthetic synthetic - "${shape[@]}")
job=$(submit --nodes=1 "${study[@]}" -dry_run -memory_limit 100)
all_end "$job" 8 COMPLETED 240
for weights in 1727962 10961370 1019722 27249082; do
  [ "$(grep -lE "weights d +$weights" clarkia-rank-"$job"-*.out | wc -l)" -eq 2 ] ||
    stop "not two tasks with $weights weights"
done
job=$(submit --nodes=2 --array=4 "${study[@]}" -data_count 24 -noise_memory 0.1 -spectrum_residuals 0)
all_end "$job" 1 COMPLETED 240
[ -s rank-resnet-110-svhn.h5 ] || stop "no spectrum of the rank study"
job=$(submit --nodes=1 --array=8 "${study[@]}" -dry_run)
all_end "$job" 1 FAILED 60

# Scaling: an array of repeats for each number of nodes, one after the other; weak keeps the samples of a rank
export CLARKIA_SBATCH="--ntasks-per-node=1 --array=1-2%1"
bash "$CLARKIA_HOME/jobs/scaling.sh" weak 128 1,2 -bench_order 64 -bench_repeats 1 >submitted
all_end "$(sed -n 's/.* 1 nodes: array job //p' submitted)" 2 COMPLETED 120
all_end "$(sed -n 's/.* 2 nodes: array job //p' submitted)" 2 COMPLETED 120
for ranks in 1 2; do
  for repeat in 1 2; do
    [ -s "scaling-weak-$ranks-ranks-$repeat.h5" ] || stop "no file of $ranks ranks, repeat $repeat"
  done
done
grep -qE "data +256 samples" clarkia-weak-2-*-1.out || stop "not 256 samples on two ranks"
if bash "$CLARKIA_HOME/jobs/scaling.sh" weak 128 1,x >submitted 2>&1; then stop "scaling.sh takes x for a number"; fi
grep -qF "'x' is not a positive number" submitted || stop "message without the value"
echo "all fine"
