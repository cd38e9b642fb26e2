#!/usr/bin/env bash
# Parts of D by the command spectrum. Usage: test_spectrum_groups.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"
ranks=$4
task=(spectrum -data synthetic -data_shape 6 -data_classes 3 -data_count 40 -net mlp -net_widths 5)

if [ "$ranks" -eq 1 ]; then
  passes "-noise_group_vectors" spectrum -help
  fails "colour" "${task[@]}" -noise_group colour
  fails "give -noise_group class" "${task[@]}" -noise_group layer -noise_group_vectors 3
  fails "-spectrum_method gram" "${task[@]}" -noise_group class -spectrum_method krylov
fi
fails "all samples are of one class" "${task[@]}" -data_classes 1 -net_classes 3 -noise_group class
# The plan: the Gram matrix is asked for by the classes alone, and needs two of them; layers take one pass more
passes "classes are blocks of the Gram matrix" "${task[@]}" -spectrum_check false -dry_run -noise_group class
grep -q "passes over the data  *2 *$" out || stop "classes take other passes than the Gram matrix"
passes "as asked" "${task[@]}" -spectrum_method gram -spectrum_check false -dry_run -noise_group tensor
grep -q "passes over the data  *3 *$" out || stop "tensors do not take one pass more"
[ -z "$(find . -name '*.h5*')" ] || stop "the plan left files"
# Runs: table and file
passes "within classes" "${task[@]}" -noise_group class -noise_group_vectors 2 -output class.h5
grep -q "parts: tr within + tr between = tr of the Gram matrix.*bound" out || stop "no check of the traces"
grep -q "overlap |U_a'U_b|_F^2 / k" out || stop "no table of overlaps"
passes "fc2.weight" "${task[@]}" -spectrum_method krylov -noise_gram_precision single -noise_group tensor -output tensor.h5
grep -q "parts: traces add up to tr D.*bound" out || stop "no check of the traces"
if command -v h5dump >/dev/null; then
  for name in "groups/within classes/eigenvalues" "groups/between classes/eigenvalues" "groups/class 2/eigenvalues" \
    subspaces/overlap subspaces/angle subspaces/dimension; do
    h5dump -H -d "/$name" class.h5 >out 2>&1 || stop "no /$name"
  done
  h5dump -a "/groups/fc1.bias/rank_1e-3" tensor.h5 >out 2>&1 || stop "no rank of fc1.bias"
fi
rm -f ./*.h5
echo "all fine"
