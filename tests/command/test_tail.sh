#!/usr/bin/env bash
# The command tail from the command line. Usage: test_tail.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"

problem=(-data synthetic -data_shape '1,7,7' -data_classes 3 -data_count 300 -net mlp -net_widths 6 -net_batchnorm false)

fails "smaller than the data" tail "${problem[@]}" -tail_batch 300 -output out.h5
fails "-tail_directions spectrum needs" tail "${problem[@]}" -tail_directions spectrum -output out.h5
fails "has no effect without -tail_directions spectrum" tail "${problem[@]}" -tail_spectrum "$0" -output out.h5
fails "-noise_centred has no effect" tail "${problem[@]}" -noise_centred false -output out.h5
fails "missing/out.h5" tail "${problem[@]}" -output missing/out.h5
passes "minibatches" tail "${problem[@]}" -output out.h5 -dry_run
[ ! -e out.h5 ] || stop "the dry run left a file"

# Directions of all kinds; eigenvectors come from a spectrum of the same network.
study=(-tail_batch 30 -tail_batches 100 -tail_series 5 -tail_flats 3)
passes "across minibatches" tail "${problem[@]}" "${study[@]}" -output out.h5
[ -s out.h5 ] || stop "no file was written"
passes "random directions" tail "${problem[@]}" "${study[@]}" -tail_directions random -tail_correction hochberg
passes "spectrum written" spectrum "${problem[@]}" -spectrum_vectors 4 -output spectrum.h5
passes "eigenvectors of -tail_spectrum" tail "${problem[@]}" "${study[@]}" -tail_directions spectrum -tail_spectrum spectrum.h5
grep -q "of 4 series" out || stop "not the 4 eigenvectors that there are"
