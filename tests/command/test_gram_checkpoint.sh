#!/usr/bin/env bash
# A spectrum that is killed, told to end, or out of time goes on with the same bits. Usage: as test_spectrum.sh
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"

# d = 13,813, all gradients formed, ranges of 256 weights: 54 passes, each short
task=(spectrum -data synthetic -data_shape 32 -data_classes 13 -data_count 200 -net mlp -net_widths 300
  -spectrum_method gram -noise_gram_precision single -noise_memory 0.00001 -spectrum_residuals 0
  -engine_layer_form explicit)
saving=(-noise_checkpoint gram.h5 -noise_checkpoint_interval 0)

# values: what is printed of the eigenvalues of the last run; that all bits are the same is what test_gram_checkpoint.c sees
values() { grep -E '^ *([0-9]+ +[0-9]|trace|rank_|mean|lambda_max|stable)' out; }

passes "single precision" "${task[@]}" -output whole.h5
values >whole
[ "$(wc -l <whole)" -ge 15 ] || stop "no values in the table"

# start: in the background, until the checkpoint is there
start() {
  run "${task[@]}" "${saving[@]}" "$@" >out 2>err &
  job=$!
  for _ in $(seq 600); do
    [ ! -e gram.h5 ] || return 0
    kill -0 "$job" 2>/dev/null || stop "ended without a checkpoint"
    sleep 0.05
  done
  stop "no checkpoint after 30 seconds"
}

# first_rank: a process of the program in this job, which is a shell that has started it or mpiexec
first_rank() {
  local child
  child=$(pgrep -P "$job" | head -n 1)
  pgrep -P "$child" -x clarkia | head -n 1 | grep . || echo "$child"
}

# goes_on: the next run takes up the checkpoint and gives the same values
goes_on() {
  passes "goes on after" "${task[@]}" "${saving[@]}" -noise_checkpoint_interval 600 -output resumed.h5
  values >resumed
  cmp -s whole resumed || stop "other eigenvalues after $1"
  rm -f gram.h5* resumed.h5
}

# Killed outright, at any moment: the file is whole, or not there
start -output killed.h5
kill -9 "$(first_rank)"
wait "$job" && stop "survived kill -9"
[ ! -e killed.h5 ] || stop "a killed run leaves a result"
rm -f killed.h5.tmp-*
goes_on "kill -9"

# Told to end
for signal in TERM USR1; do
  start
  kill -s "$signal" "$(first_rank)"
  code=0
  wait "$job" || code=$?
  [ "$code" -eq 85 ] || stop "exit code $code after SIG$signal"
  grep -q "the same command goes on from gram.h5" err || stop "no word about SIG$signal"
  goes_on "SIG$signal"
done

# Out of time
code=0
run "${task[@]}" "${saving[@]}" -max_seconds 1 >out 2>err || code=$?
[ "$code" -eq 85 ] || [ "$code" -eq 0 ] || stop "exit code $code after -max_seconds"
if [ -e gram.h5 ]; then goes_on "-max_seconds"; fi

# Another problem, and a route without this checkpoint
passes "checkpoint of" "${task[@]}" "${saving[@]}" -noise_checkpoint_interval 600
mkdir sub
mv gram.h5 sub/other
rm -f ./*.h5
fails "the weights" "${task[@]}" -seed 2 -noise_checkpoint sub/other
fails "samples is 200, here it is 201" "${task[@]}" -data_count 201 -noise_checkpoint sub/other
fails "only the gram route" spectrum -data synthetic -data_shape 32 -data_classes 13 -data_count 200 -net mlp \
  -net_widths 300 -spectrum_method krylov -noise_checkpoint sub/other
echo "all fine"
