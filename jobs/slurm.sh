# shellcheck shell=bash
# What the Slurm scripts share; sourced by them. Site-specific lines are marked SITE, here and in the scripts' heads.
clarkia_home=${CLARKIA_HOME:-$SLURM_SUBMIT_DIR}
# module load clarkia               # SITE
# shellcheck source=env.sh
. "$clarkia_home/jobs/env.sh"
clarkia_program=${CLARKIA:-$clarkia_home/build/clarkia}

# srun heeds --cpus-per-task of the job in this form only.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"

# launch COMMAND..: on every rank of the job. -K1: one lost rank ends the step; without it the others wait for ever.
launch() {
  srun --mpi=pmix -K1 --cpu-bind=cores --distribution=block:block "$@" # SITE: Debian's Open MPI knows pmix alone
}

# clarkia ARGUMENT..
clarkia() { launch "$clarkia_program" "$@"; }

# restartable gram|krylov|train ARGUMENT..: clarkia spectrum by that route, or clarkia train, with a checkpoint named
# after the job. Told to stop (SIGUSR1, -max_seconds) it saves, and the job is put back into the queue, at most
# CLARKIA_RESTARTS times, to go on.
restartable() {
  local route=$1 words code checkpoint=clarkia-$SLURM_JOB_ID-checkpoint.h5 result=clarkia-$SLURM_JOB_ID-exit
  shift
  case $route in
    gram) words=(spectrum -spectrum_method gram -noise_checkpoint "$checkpoint") ;;
    krylov) words=(spectrum -spectrum_method krylov -spectrum_checkpoint "$checkpoint") ;;
    train) words=(train -train_checkpoint "$checkpoint") ;;
    *)
      echo "the route is '$route': give gram or krylov, which have checkpoints" >&2
      return 2
      ;;
  esac
  rm -f "$result"
  code=0
  launch bash "$clarkia_home/jobs/task.sh" "$result" "$clarkia_program" "${words[@]}" "$@" || code=$?
  if [ "$code" -eq 0 ]; then code=$(cat "$result"); fi
  rm -f "$result"
  if [ "$code" -eq 0 ]; then
    rm -f "$checkpoint" "$checkpoint".[0-9]*
  elif [ "$code" -eq 85 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "${CLARKIA_RESTARTS:-20}" ]; then
    echo "job $SLURM_JOB_ID goes back into the queue (restart $((${SLURM_RESTART_COUNT:-0} + 1)))"
    scontrol requeue "$SLURM_JOB_ID"
  fi
  return "$code"
}
