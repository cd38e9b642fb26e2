#!/usr/bin/env bash
# The command spectrum from the command line. Usage: test_spectrum.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"
ranks=$4
elsewhere=$(mktemp -d) # for input files: the folder itself must stay empty where a run fails
trap 'rm -rf "$folder" "$elsewhere"' EXIT

data=(-data synthetic -data_shape 6 -data_classes 3 -data_count 40)
task=(spectrum "${data[@]}" -net mlp -net_widths 5)

# codes ARGUMENT..: the same exit code, not 0, on every rank
codes() {
  rm -f code.*
  # shellcheck disable=SC2016
  "${launcher[@]}" bash -c '"$@"; echo $? >"code.${OMPI_COMM_WORLD_RANK:-0}"' bash "$program" "$@" >out 2>err </dev/null
  [ "$(find . -name 'code.*' | wc -l)" -eq "$ranks" ] || stop "not every rank came to an end: $*"
  [ "$(cat code.* | sort -u | wc -l)" -eq 1 ] || stop "different exit codes: $*"
  [ "$(cat code.0)" -ne 0 ] || stop "exit code 0: $*"
  rm -f code.*
}

# Keys: found out before the ranks do anything together, so once is enough
if [ "$ranks" -eq 1 ]; then
  passes "-spectrum_method" spectrum -help
  fails "did you mean -spectrum_method?" "${task[@]}" -spectrum_metod dense
  fails "-spectrum_methods" "${task[@]}" -spectrum_methods dense
  fails "dens" "${task[@]}" -spectrum_method dens
  fails "-spectrum_nev" "${task[@]}" -spectrum_nev 0
  fails "-spectrum_nev 54" "${task[@]}" -spectrum_nev 54
  fails "-spectrum_vectors most" "${task[@]}" -spectrum_vectors most
  fails "mpl" "${task[@]}" -net mpl
  fails "-spectrum_probes" "${task[@]}" -spectrum_method density -spectrum_probes 1
  fails "has no effect with -spectrum_method auto" "${task[@]}" -spectrum_steps 10
  fails "give -spectrum_method krylov" "${task[@]}" -spectrum_method density -spectrum_nev 3
fi
codes "${task[@]}" -spectrum_metod dense

# What does not fit, cannot be done or does not converge
fails "D needs at least 2 samples" spectrum -data synthetic -data_shape 6 -data_count 1 -net mlp -net_widths 5 -output a.h5
fails "use fewer (-data_count)" spectrum -data synthetic -data_shape 6 -data_count 10000000 -net mlp -net_widths 5 -dry_run \
  -spectrum_method krylov -memory_limit 0.1
fails "-memory_limit allows" "${task[@]}" -spectrum_method gram -memory_limit 0.00005 -output a.h5
fails "take -spectrum_solver scalapack" "${task[@]}" -spectrum_vectors 2 -spectrum_solver elpa -output a.h5
fails "missing/a.h5" "${task[@]}" -output missing/a.h5
fails "none.h5" "${task[@]}" -state none.h5 -output a.h5
fails "-spectrum_partial" "${task[@]}" -spectrum_method krylov -eps_max_it 1 -eps_ncv 6 -spectrum_nev 5 -output a.h5
codes "${task[@]}" -spectrum_method krylov -eps_max_it 1 -eps_ncv 6 -spectrum_nev 5 -output a.h5
[ -z "$(find . -name '*.h5*')" ] || stop "a failed run leaves files"

# Weights of another net, and of this one
passes "trained.h5" train "${data[@]}" -net mlp -net_widths 5 -dynamics_epochs 1 -dynamics_batch 10 \
  -output "$elsewhere/trained.h5"
fails "fc1.weight" "${task[@]}" -net_widths 7 -state "$elsewhere/trained.h5" -output a.h5
codes "${task[@]}" -net_widths 7 -state "$elsewhere/trained.h5" -output a.h5

# One name for two files; keys that the route does not heed
fails "a file that this run reads" "${task[@]}" -spectrum_method krylov -spectrum_start "$elsewhere/trained.h5" \
  -output "$elsewhere/trained.h5"
fails "-spectrum_checkpoint and -output both name a.h5" "${task[@]}" -spectrum_method krylov -spectrum_checkpoint a.h5 \
  -output a.h5
fails "-noise_checkpoint and -output both name a.h5" "${task[@]}" -spectrum_method gram -noise_checkpoint a.h5 -output a.h5
fails "-spectrum_keep has no effect" "${task[@]}" -spectrum_method gram -spectrum_keep true -output a.h5
fails "-noise_gram_precision has no effect" "${task[@]}" -spectrum_method krylov -noise_gram_precision double
passes "warning: -spectrum_krylov has no effect" "${task[@]}" -spectrum_krylov sample -dry_run

# The plan reads no data and writes nothing, for sizes that no machine has
passes "memory per rank" "${task[@]}" -dry_run -output a.h5
grep -q "gram" out || stop "no method in the plan"
passes ">= " spectrum -data synthetic -data_shape 3,32,32 -data_count 50000 -net small-allcnn -dry_run -memory_limit 2
grep -q "leading part only: dense would need" out || stop "no reason for krylov"
if [ "$ranks" -eq 1 ]; then # 60,000 x 60,000
  fails "use 2 ranks" spectrum -data synthetic -data_shape 64 -data_count 60000 -net mlp -net_widths 2000 \
    -spectrum_method gram -dry_run -memory_limit 100
fi
[ -z "$(find . -name '*.h5*')" ] || stop "the plan left files"

# A run: the table, the largest eigenvalues, the file; its events with operations
passes "rank_gram32" "${task[@]}" -state "$elsewhere/trained.h5" -spectrum_vectors 3 -output a.h5 -log_view
grep -q "sum of eigenvalues = trace of D .*bound" out || stop "no self-checks in the table"
grep -q "Largest eigenvalues" out || stop "no eigenvalues"
awk 'tolower($1) ~ /^(ck)?eig$/ && $6 > 0 { found = 1 } END { exit !found }' out || stop "no operations in the event eig"
[ "$(find . -name '*.h5*')" = "./a.h5" ] || stop "other files than a.h5: $(find . -name '*.h5*')"
# As many pairs as can be non-zero, N - 1, and no greater rank
passes "fewer than -spectrum_nev" spectrum -data synthetic -data_shape '1,4,4' -data_count 30 -net logistic -spectrum_nev 100 \
  -spectrum_method krylov
grep -q "eigenvalues  *29 " out || stop "not 29 eigenvalues"
grep -q "rank_float64  *29 " out || stop "rank_float64 is not 29"
passes "all that can be non-zero, N - 1" spectrum -data synthetic -data_shape '1,4,4' -data_count 30 -net logistic \
  -spectrum_method gram
grep -q "rank_float64  *29 " out || stop "rank_float64 of gram is not 29"
passes "Largest eigenvalues" "${task[@]}" -spectrum_method krylov -spectrum_check false
grep -q "none (-spectrum_check false)" out || stop "not said that nothing was checked"
# The density: estimates with errors in table and file, and a plan with the passes it takes
passes "two passes a product" "${task[@]}" -spectrum_method density -spectrum_steps 80 -spectrum_krylov sample \
  -spectrum_keep false -dry_run
grep -q "passes over the data  *81$" out || stop "the plan of the density does not say 81 passes"
passes "with these moments" "${task[@]}" -spectrum_method density -output density.h5
grep -q "rank_gram32 .* +- " out || stop "a rank without its error"
grep -q "trace by the probes = trace of D.*bound" out || stop "no check of the trace"
if command -v h5dump >/dev/null; then
  for name in nodes weights node_count grid density density_error; do
    h5dump -H -d "/density/$name" density.h5 >out 2>&1 || stop "no /density/$name"
  done
  h5dump -a /density/rank_1e-3 density.h5 | grep -q "( 4 )" || stop "no rank with its error and bounds"
fi
rm -f ./*.h5
echo "all fine"
