#!/usr/bin/env bash
# Command line and option files, inputs that must not be overwritten, ends of a run.
# Usage: test_arguments.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"
ranks=$4
elsewhere=$(mktemp -d) # for input files: the folder itself must stay empty where a run fails
small=$elsewhere/small
trap 'umount "$small" 2>/dev/null || true; rm -rf "$folder" "$elsewhere"' EXIT
file=$elsewhere/options.yml
data=(-data synthetic -data_shape 6 -data_classes 3 -data_count 40)
net=(-net mlp -net_widths 5)
train=(train "${data[@]}" "${net[@]}" -dynamics_batch 10 -dynamics_epochs 1)
krylov=(spectrum "${data[@]}" "${net[@]}" -spectrum_method krylov -spectrum_nev 3)

# refuses LINES TEXT ARGUMENT..: an options file of these lines
refuses() {
  local text=$2
  printf '%b' "$1" >"$file"
  shift 2
  fails "$text" spectrum "$@" -options_file_yaml "$file"
}

# What is typed wins, on either side of the file; of two files the later one.
printf 'dynamics_rate: 0.7\ndynamics_batch: 10\n' >"$file"
printf 'dynamics_rate: 0.6\n' >"$elsewhere/second.yml"
passes "rate 0.3 " "${train[@]}" -dynamics_rate 0.3 -options_file_yaml "$file" -output a.h5
passes "rate 0.3 " "${train[@]}" -options_file_yaml "$file" -dynamics_rate 0.3 -output a.h5
passes "rate 0.6 " "${train[@]}" -options_file_yaml "$file" -options_file_yaml "$elsewhere/second.yml" -output a.h5
printf -- '-dynamics_rate 0.5 # PETSc form\n\n' >"$elsewhere/lines"
passes "rate 0.5 " "${train[@]}" -options_file "$elsewhere/lines" -output a.h5
passes "rate 0.3 " "${train[@]}" -dynamics_rate 0.3 -options_file "$elsewhere/lines" -output a.h5
rm a.h5
printf 'help: true\n' >"$file"
passes "-spectrum_method CHOICE" spectrum -options_file_yaml "$file"

# Option files that are none: file and line; rank 0 alone reads them, so once is enough for most
refuses 'data: synthetic\n- a\n' "options.yml, line 2: "
if [ "$ranks" -eq 1 ]; then
  refuses 'data: [1, 2\nnet: mlp\n' "options.yml, line 2: "
  refuses 'net:\n  widths: 3\n' "options.yml, line 2: keys are flat"
  refuses 'net: a\n  b\n' "options.yml, line 1: this value goes on"
  refuses '- a\n- b\n' "lines of the form key: value"
  refuses 'just text\n' "lines of the form key: value"
  refuses '# nothing\n' "there is no key in it"
  refuses 'seed: 1\nSeed: 2\n' "options.yml, line 2: Seed stands in this file twice"
  refuses '\noptions_file_yaml: b.yml\n' "options.yml, line 2: options_file_yaml belongs on the command line"
  refuses '-data: x\n' "have no dash"
  refuses 'seed: 1\n---\nseed: 2\n' "line 3: this is a second document"
  refuses 'data_shape: [1, [2, 3]]\n' "line 1: a list"
  refuses 'dynamics_rate: 0.3\n' "-dynamics_rate is a key of train and bench, not of spectrum" "${data[@]}" "${net[@]}"
  fails "none.yml: No such file" spectrum -options_file_yaml none.yml
  fails "is no regular file" spectrum -options_file_yaml .
  fails "needs the name of a file" spectrum -options_file_yaml
  fails "give it outside" spectrum -prefix_push a_ -options_file_yaml "$file" -prefix_pop
  fails "options.yml, line 1: it does not begin with a dash" spectrum -options_file "$file"
fi

# Keys that are of another command, too long, or PETSc's with bad values
fails "-dynamics_rate is a key of train and bench, not of spectrum" "${krylov[@]}" -dynamics_rate 0.3
fails "-net is a key of train, evaluate, spectrum, tail, info and bench, not of import" import "${data[@]}" -net mlp -output a.h5
fails "-dynamics_rate is a key of train and bench" "${krylov[@]}" -dynamics_rte 0.3
fails "-data_pool: '7,7,7' has 3 numbers, it may have at most 2" "${train[@]}" -data_pool 7,7,7 -output a.h5
if [ "$ranks" -eq 1 ]; then
  fails "has 5 numbers, it may have at most 3" "${train[@]}" -data_shape 1,2,3,4,5 -output a.h5
  fails "has 80 numbers, it may have at most" "${train[@]}" -net_widths "$(seq -s, 80)" -output a.h5
  fails "has 200 numbers, it may have at most" "${train[@]}" -dynamics_schedule step -dynamics_steps "$(seq -s, 200)" \
    -output a.h5
  fails "has 100 numbers, it may have at most" "${train[@]}" -train_save "$(seq -s, 0.01 0.01 1)" -output a.h5
fi
fails "abc has no numeric value (-eps_tol abc)" "${krylov[@]}" -eps_tol abc -output a.h5
fails "3.5 has no integer value (do not include . in it) (-eps_max_it 3.5)" "${krylov[@]}" -eps_max_it 3.5 \
  -output a.h5
fails "(-eps_type foo)" "${krylov[@]}" -eps_type foo -output a.h5
grep -q "EPSSetType()" err && stop "a trace that nobody asked for"
fails "(-eps_type foo)" "${krylov[@]}" -eps_type foo -error_traceback
grep -q "EPSSetType() at" err || stop "no trace though asked for"

# Keys without effect
fails "-spectrum_nev has no effect with -spectrum_method gram" "${krylov[@]}" -spectrum_method gram
fails "-spectrum_solver has no effect with -spectrum_method krylov" "${krylov[@]}" -spectrum_solver elpa
fails "-spectrum_frobenius has no effect with -spectrum_method gram" spectrum "${data[@]}" "${net[@]}" \
  -spectrum_method gram -spectrum_frobenius exact
fails "-dynamics_steps has no effect" "${train[@]}" -dynamics_steps 3 -output a.h5
passes "warning: -spectrum_nev has no effect, as the method is gram" spectrum "${data[@]}" "${net[@]}" -spectrum_nev 3
fails "unknown option -epochs; did you mean -dynamics_epochs?" "${train[@]}" -epochs 3 -output a.h5
fails "unknown option --batch; did you mean -dynamics_batch?" "${train[@]}" --batch 64 -output a.h5
fails "unknown option -epochs; -dynamics_epochs is a key of train and bench, not of spectrum" "${krylov[@]}" -epochs 3
run spectrum "${data[@]}" "${net[@]}" -log_vew >out 2>err || stop "a misspelt key of PETSc ends the run"
grep -q "did you mean -log_view?" err || stop "no word of a misspelt key of PETSc"

# No input is overwritten, under whatever name
passes "Written" import "${data[@]}" -output "$elsewhere/data.h5"
passes "weights in" train -data "$elsewhere/data.h5" "${net[@]}" -dynamics_batch 10 -dynamics_epochs 1 \
  -output "$elsewhere/state.h5"
cp "$elsewhere/state.h5" "$elsewhere/state-020.h5"
ln "$elsewhere/state.h5" "$elsewhere/hard.h5"
mkdir "$elsewhere/idx"
{ printf '\0\0\10\3\0\0\0\4\0\0\0\2\0\0\0\2'; printf '0123456789abcdef'; } >"$elsewhere/idx/train-images-idx3-ubyte"
printf '\0\0\10\1\0\0\0\4\0\1\0\1' >"$elsewhere/idx/train-labels-idx1-ubyte"
find "$elsewhere" -type f ! -name options.yml ! -name sums -exec md5sum {} + >"$elsewhere/sums"
task=(-data "$elsewhere/data.h5" "${net[@]}")
fails "data.h5 is a file that this run reads" train "${task[@]}" -dynamics_batch 10 -output "$elsewhere/data.h5"
fails "state.h5 is a file that this run reads" spectrum "${task[@]}" -state "$elsewhere/state.h5" \
  -output "$elsewhere/state.h5"
fails "hard.h5 is a file that this run reads" spectrum "${task[@]}" -state "$elsewhere/state.h5" \
  -output "$elsewhere/hard.h5"
fails "state-020.h5 is a file that this run reads" train "${task[@]}" -dynamics_batch 10 \
  -state "$elsewhere/state-020.h5" -train_save 0.2 -output "$elsewhere/state.h5"
for name in images-idx3 labels-idx1; do
  fails "train-$name-ubyte is a file that this run reads" import -data "$elsewhere/idx" \
    -output "$elsewhere/idx/train-$name-ubyte"
  fails "train-$name-ubyte is a file that this run reads" train -data "$elsewhere/idx" "${net[@]}" -dynamics_batch 2 \
    -output "$elsewhere/idx/train-$name-ubyte"
done

printf -- '-data_offset 1\n' >"$elsewhere/offset"
fails "offset is a file that this run reads" import "${data[@]}" -options_file "$elsewhere/offset" \
  -output "$elsewhere/offset"
fails "-data_labels" import -data "$elsewhere/idx" -data_labels "$elsewhere/idx/train-labels-idx1-ubyte" -output a.h5
md5sum --quiet -c "$elsewhere/sums" || stop "an input has changed"

# The rest is one process's own business.
if [ "$ranks" -gt 1 ]; then exit 0; fi
for arguments in "-help" "-version" "spectrum -help" "spectrum ${data[*]} ${net[*]}"; do
  # shellcheck disable=SC2086
  if "$program" $arguments >/dev/full 2>err; then stop "a full disk under standard output passes: $arguments"; fi
  grep -q "standard output" err || stop "no message: $arguments"
done
mkdir "$small"
if mount -t tmpfs -o size=2m none "$small" 2>/dev/null; then
  passes "Written" import "${data[@]}" -output "$small/a.h5"
  umount "$small"
else echo "no small disk can be mounted: not tested"; fi

# Signals remove what was being written; what was killed outright, the next run of that name does. "set -m": in the
# background without it, an interrupt is ignored.
long=(spectrum -data synthetic -data_shape 30 -data_classes 10 -data_count 4000 -net mlp -net_widths 100
  -spectrum_method gram -output a.h5)
set -m
for signal in INT TERM HUP KILL; do
  "$program" "${long[@]}" >out 2>err </dev/null &
  pid=$!
  for _ in $(seq 600); do
    if compgen -G 'a.h5.tmp-*' >/dev/null; then break; fi
    sleep 0.05
  done
  compgen -G 'a.h5.tmp-*' >/dev/null || stop "no file is being written: nothing is tested"
  kill "-$signal" "$pid"
  code=0
  wait "$pid" || code=$?
  [ "$code" -eq $((128 + $(kill -l "$signal"))) ] || stop "exit code $code after $signal"
  grep -q "PETSC ERROR" err && stop "trace-back after $signal"
  [ "$signal" = KILL ] || [ -z "$(find . -name '*.h5*')" ] || stop "$signal leaves a file"
done
compgen -G 'a.h5.tmp-*' >/dev/null || stop "nothing was left by KILL: nothing is tested"
touch a.h5.tmp-00000000-1 b.h5.tmp-1
passes "spectrum written" "${krylov[@]}" -output a.h5
[ "$(find . -name '*.h5*' | sort | tr '\n' ' ')" = "./a.h5 ./a.h5.tmp-00000000-1 ./b.h5.tmp-1 " ] ||
  stop "not what should be left: $(find . -name '*.h5*')"
echo "all fine"
