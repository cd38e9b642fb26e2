#!/usr/bin/env bash
# The command evaluate from the command line. Usage: test_evaluate.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"

{
  echo x,y,kind
  for i in $(seq 1 40); do echo "$((i % 7)),$((i * i % 11)),$((i % 3))"; done
} >training.csv
{
  echo x,y,kind
  for i in $(seq 1 25); do echo "$((i % 5)),$((i * 3 % 10)),$((i % 3))"; done
} >test.csv
data=(-data training.csv -data_test test.csv -net mlp -net_widths 5)

# Bad input: one message, nothing written
fails "absent.h5" evaluate "${data[@]}" -state absent.h5
fails "missing/out.h5" evaluate "${data[@]}" -output missing/out.h5
fails "absent.onnx" evaluate -data training.csv -net absent.onnx
fails "-data_mean and -data_deviation" evaluate "${data[@]}" -data_mean 1,2,3 -data_deviation 1
fails "give 2 and 0 numbers" evaluate "${data[@]}" -data_mean 1,2
fails "-data_transform scale lacks" evaluate "${data[@]}" -data_transform scale -data_mean 1 -data_deviation 1
fails "-data_deviation" evaluate "${data[@]}" -data_mean 1 -data_deviation 0
passes "forward pass over the samples" evaluate "${data[@]}" -output out.h5 -dry_run
[ ! -e out.h5 ] || stop "the dry run left a file"

# Training says the same of the test split as evaluate does afterwards; numbers that are given need no training split.
passes "test error" train "${data[@]}" -data_mean 2.5,4 -data_deviation 2,3 -dynamics_epochs 3 -dynamics_batch 10 -output net.h5
sed -nE 's/^  test (loss|error) +([^ ]+).*/\1 \2/p' out >trained
[ "$(wc -l <trained)" = 2 ] || stop "no test loss and error in the summary of train"
passes "of 25" evaluate "${data[@]}" -data_split test -data_mean 2.5,4 -data_deviation 2,3 -state net.h5 -output out.h5
sed -nE 's/^  (loss|error) +([^ ]+).*/\1 \2/p' out | cmp - trained || stop "evaluate differs from train"
[ -s out.h5 ] || stop "no file was written"

# -state random is what no -state is for a built-in net; given numbers are those that are used.
passes "random, seed 4" evaluate "${data[@]}" -seed 4
grep -E '^  (loss|error)' out >without
passes "random, seed 4" evaluate "${data[@]}" -seed 4 -state random
grep -E '^  (loss|error)' out | cmp - without || stop "-state random differs"
printf 'x,y,kind\n-3,1,0\n5,4,1\n-7,-2,2\n' >plain.csv # (x - 1)/2 and (y + 1)/3 of the following
printf 'x,y,kind\n-5,2,0\n11,11,1\n-13,-7,2\n' >moved.csv
passes "of 3" evaluate -data plain.csv -net logistic
grep -E '^  loss' out >plain
passes "of 3" evaluate -data moved.csv -net logistic -data_mean 1,-1 -data_deviation 2,3
grep -E '^  loss' out | cmp - plain || stop "-data_mean and -data_deviation do something else"
