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

# Where the time of a pass goes: shares of all phases add up, and no time counts twice (negative: what is left over)
shares() { # <columns>
  awk -v title="Phases of a pass, $1 column" 'index($0, title) == 1 { on = 1; next } on && NF == 0 { exit }
    on { for (i = 1; i < NF; ++i) if ($i == "ms" && $(i + 1) ~ /%$/) { sum += $(i + 1); ++n; left = $(i + 1) + 0 } }
    END { exit !(n == 11 && sum > 99 && sum < 101 && left > -1 && left < 100) }' out
}
shares 1 || stop "phases of one column do not add up"
shares 3 || stop "phases of a block do not add up"
for row in "vectors" "reading samples" "forward" "backward: inputs" "backward: per-sample weights" \
  "products with the columns" "accumulation" "exact sums" "waiting" "reduction" "unaccounted" "parallel efficiency" \
  "peak memory"; do
  grep -qF -- "$row" out || stop "no row '$row'"
done
once=("${small[@]}" -bench_repeats 1)
passes "Phases of a pass, 3 columns" "${once[@]}" -engine reference
shares 3 || stop "phases of the reference engine do not add up"
fails "the phases of a pass cannot be told apart" "${once[@]}" -log_trace trace.txt

# The prediction: marked as such, with what it stands on; on the ranks of this run it is what was measured
passes "Prediction by a model, not measured" "${once[@]}" -bench_predict_ranks "$4,1000"
grep -q 'predicted: 1000 ranks .*more ranks than sum blocks' out || stop "no prediction for 1000 ranks"
awk '/measured: D V/ { measured = $4 } $1 == "predicted:" && !predicted { predicted = $4 }
     END { exit !(predicted > 0.999 * measured) }' out || stop "the prediction here is below the measurement"
if [ "$4" -eq 1 ]; then grep -q 'not measured on one rank' out || stop "a network on one rank"; fi
passes "given" "${once[@]}" -bench_latency 2 -bench_bandwidth 10 -bench_predict_samples 100000
grep -q '2 us *given' out || stop "latency is not as given"
grep -q '10 GB/s *given' out || stop "bandwidth is not as given"
grep -q '100000 samples' out || stop "not for as many samples as asked for"
grep -q 'more ranks than sum blocks' out || stop "1563 sum blocks for 4096 ranks"
fails "-bench_predict_ranks" "${once[@]}" -bench_predict_ranks 0

# Fewer samples than a batch of training, or one too many for whole batches: nobody has asked for the batch
few=(bench -data synthetic -data_shape '3,8,8' -data_classes 3 -net resnet -net_depth 8 -bench_repeats 1
  -bench_order 8 -bench_columns 2)
passes "training" "${few[@]}" -data_count 70
grep -q 'oneDNN: forward, all ranks .*of the net.s convolutions' out || stop "no rate of convolutions"
grep -q 'of the convolution rate' out || stop "no share of the convolution rate"
fails "-dynamics_batch 128 is larger" "${few[@]}" -data_count 70 -dynamics_batch 128
if [ "$4" -eq 1 ]; then passes "training" "${few[@]}" -data_count 129; fi

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
  for pass in product block; do
    h5dump -d "/phases/$pass/forward" bench.h5 | grep -q "SIMPLE { ( $4 ) / ( $4 ) }" || stop "no times of $4 ranks"
  done
  h5dump -d /prediction/seconds bench.h5 | grep -q 'SIMPLE { ( 13 ) / ( 13 ) }' || stop "no prediction"
  h5dump -a /memory_peak bench.h5 | grep -q DOUBLE || stop "no peak memory"
  if [ "$4" -gt 1 ]; then h5dump -d /allreduce/seconds bench.h5 | grep -q DOUBLE || stop "no times of Allreduce"; fi
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
