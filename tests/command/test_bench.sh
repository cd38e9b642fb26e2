#!/usr/bin/env bash
# clarkia bench: its table, its file, figures of a peer; no time is judged. Usage: test_bench.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"

small=(bench -data synthetic -data_shape 6 -data_classes 3 -data_count 150 -net mlp -net_widths 5 -dynamics_batch 50
  -bench_repeats 2 -bench_order 40 -bench_columns 3)

# Bad input
fails "-bench_repeats" "${small[@]}" -bench_repeats 0
fails "none.json: there is no such file" "${small[@]}" -bench_peer none.json
echo '{"values": [1' >peer.json
fails "peer.json: not a JSON file" "${small[@]}" -bench_peer peer.json
echo '{"speed": 3}' >peer.json
fails "no figure in it is one of ours" "${small[@]}" -bench_peer peer.json
fails "-bench_order" "${small[@]}" -memory_limit 0.001 -bench_order 4000

# Every piece has a row; sizes are those asked for
passes "training" "${small[@]}"
for row in dgemm sgemm "R'R" forward gradients "D v" "D V"; do grep -qF -- "$row" out || stop "no row '$row'"; done
grep -q '150 samples of 6' out || stop "wrong data"

# A peer's figure stands beside ours, with the ratio of the two: 1 s a sample is far slower than this net
echo '{"diffusion_product": {"seconds_per_sample": 1.0, "batch": 8}}' >peer.json
passes "peer 1e+06 us" "${small[@]}" -bench_peer peer.json
[ "$(grep -c 'peer 1e+06 us' out)" -eq 2 ] || stop "a figure for D v stands beside both products and nothing else"
awk '/^ *D v/ { for (i = 1; i < NF; ++i) if ($i == "us" && $(i + 1) == "each") us = $(i - 1)
                for (i = 1; i < NF; ++i) if ($(i + 1) == "times") ratio = $i }
     END { r = 1e6 / us; exit !(ratio > 0.99 * r && ratio < 1.01 * r) }' out || stop "wrong ratio"

# The file: one time for each repetition of each piece
passes "training" "${small[@]}" -output bench.h5
[ -s bench.h5 ] || stop "no file"
if command -v h5dump >/dev/null; then
  for piece in dgemm sgemm outer values rows product block training; do
    h5dump -d "/bench/$piece" bench.h5 | grep -q 'SIMPLE { ( 2 ) / ( 2 ) }' || stop "no two times of $piece"
  done
fi
rm bench.h5

# Sizes without work
passes "100 samples of 1 x 28 x 28" bench -dry_run -data_count 100
passes "2048 samples of 1 x 28 x 28" bench -dry_run
passes "small-lenet" bench -dry_run
grep -q "^ *memory .* a rank" out || stop "no memory in the plan"
for row in "calls of each piece" "dgemm" "losses" "per-sample gradients" "D v" "D V, block" "training"; do
  grep -qF -- "$row" out || stop "no operations of '$row' in the plan"
done
fails "-noise_checkpoint has no effect" bench -dry_run -noise_checkpoint a.h5
fails "use fewer (-data_count)" bench -dry_run -data_count 10000000 -memory_limit 1
fails "-data_shape 3,32,32" bench -dry_run -net small-allcnn -data synthetic -data_shape '1,28,28'
