#!/usr/bin/env bash
# A spectrum that is killed (kill -9, a signal, a time limit) goes on from its checkpoint and ends with the bits of the run in one
# piece. Usage: test_checkpoint.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"
ranks=$4
task=(spectrum -data synthetic -data_shape '1,28,28' -data_count 1500 -net small-lenet -spectrum_method krylov -spectrum_krylov weight
  -spectrum_nev 8 -spectrum_vectors 8 -noise_columns 8 -eps_tol 1e-7)

# values FILE: what the log of a run says of its eigenvalues, residuals and passes
values() { sed -n '/^Largest eigenvalues/,$p' "$1" | grep -E '^ +[0-9]+ ' && grep 'passes over the data' "$1"; }
# begin: the run in the background, its output in `log`; $! is the launcher, or the program itself on one rank
begin() { "${launcher[@]}" "$program" "${task[@]}" -spectrum_checkpoint check.h5 -output piece.h5 >log 2>&1 </dev/null & }
# written: waits until a checkpoint newer than `mark` is there, or the run is over
written() {
  while kill -0 "$1" 2>/dev/null && [ ! check.h5 -nt mark ]; do sleep 0.02; done
}

passes "Largest eigenvalues" "${task[@]}" -output whole.h5
values out >expected

# kill -9 of every rank after the first checkpoint, then once more, then to the end
touch mark
for _ in 1 2; do
  begin
  job=$!
  written "$job"
  if [ "$ranks" -gt 1 ]; then pkill -9 -P "$job" || true; fi # the ranks: children of the launcher we started
  kill -9 "$job" 2>/dev/null || true
  wait "$job" 2>/dev/null || true
  [ -s check.h5 ] || stop "no checkpoint was written"
  touch mark
done
passes "going on from check.h5" "${task[@]}" -spectrum_checkpoint check.h5 -output piece.h5
values out | diff expected - || stop "killed and gone on with: other numbers"

# a signal once the first checkpoint is there: exit code 85 (0 if the run was over before), then to the end
rm -f check.h5 piece.h5
touch mark
begin
job=$!
written "$job"
kill -USR1 "$job" 2>/dev/null || true
code=0
wait "$job" || code=$?
if [ "$code" -ne 0 ] || [ ! -s piece.h5 ]; then
  [ "$code" -eq 85 ] || stop "exit code $code after SIGUSR1: $(cat log)"
  [ ! -e piece.h5 ] || stop "a stopped run left a result"
  passes "going on from check.h5" "${task[@]}" -spectrum_checkpoint check.h5 -output piece.h5
  values out | diff expected - || stop "stopped by a signal and gone on with: other numbers"
fi

# a limit of time: 85, the checkpoint, no result; and a foreign checkpoint is refused
rm -f check.h5 piece.h5
code=0
run "${task[@]}" -spectrum_checkpoint check.h5 -output piece.h5 -max_seconds 0.001 >out 2>err || code=$?
[ "$code" -eq 85 ] || stop "exit code $code for -max_seconds"
grep -q 'clarkia: error: stopped' err || stop "not said that it was stopped"
[ -s check.h5 ] || stop "no checkpoint"
[ ! -e piece.h5 ] || stop "a stopped run left a result"
if run "${task[@]}" -data_count 1499 -spectrum_checkpoint check.h5 >out 2>err; then stop "a foreign checkpoint passed"; fi
grep -q 'samples is 1500 there and 1499 here' err || stop "what differs is not said"
passes "going on from check.h5" "${task[@]}" -spectrum_checkpoint check.h5 -output piece.h5
values out | diff expected - || stop "stopped and gone on with: other numbers"
rm -f ./*.h5*

# sizes that no machine has: 27 million weights, 200 pairs, local products of rows and vectors beyond 2^31
passes "weights d              27130410" spectrum -data synthetic -data_shape '3,32,32' -data_count 50000 -net mlp -net_widths 8800 \
  -spectrum_method krylov -spectrum_krylov weight -spectrum_nev 200 -noise_memory 40 -dry_run -memory_limit 400
grep -q 'Krylov basis .* GB' out || stop "no memory of the basis"
echo "all fine"
