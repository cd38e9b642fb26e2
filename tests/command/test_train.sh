#!/usr/bin/env bash
# The program and its command train from the command line. Usage: test_train.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"

# The program
passes "clarkia COMMAND -key value" -help
passes "clarkia COMMAND -key value"
passes "PETSc" -version
passes "-dynamics_rate NUMBER" train -help
fails "did you mean train?" trian
fails "'-log_view' is no command" -log_view
fails "did you mean -dynamics_rate?" train -dynamics_rte 0.1
fails "did you mean -data_count?" train -dta_count 10
fails "-dynamics_rate: 'fast' is no number" train -dynamics_rate fast
fails "'word' on the command line follows no option" train -dynamics_rate 0.1 word
fails "none.yml" train -options_file_yaml none.yml

# Bad input of train
task=(train -data synthetic -data_shape 5 -data_classes 3 -data_count 41 -net mlp -net_widths 6 -dynamics_batch 10)
fails "-output" "${task[@]}"
fails "-dynamics_batch 42 is larger" "${task[@]}" -dynamics_batch 42 -output a.h5
fails "the same file" "${task[@]}" -train_save 0.201,0.2 -output a.h5
fails "group of one" "${task[@]}" -net_batchnorm -output a.h5
fails "groups of 1 " "${task[@]}" -net_batchnorm -train_bn_group 1 -output a.h5
fails "missing/a.h5" "${task[@]}" -output missing/a.h5
fails "none.h5" "${task[@]}" -state none.h5 -output a.h5
fails "-memory_limit allows" "${task[@]}" -memory_limit 0.000001 -output a.h5
fails "mpl" "${task[@]}" -net mpl -output a.h5

# Recordings that cannot be; a plan that counts right
record=("${task[@]}" -dynamics_epochs 1 -record r.h5 -output a.h5)
fails "-record_burn_in 3: the run has 1 epoch, and nothing would be recorded; take no more" "${record[@]}" -record_burn_in 3
fails "the run has 5 updates, " "${record[@]}" -record_unit updates -record_burn_in 6
fails "has weight 60, but the weights of this net are numbered 0 to 56: leave it out" \
  "${record[@]}" -record_weights list -record_list 3,60
passes "2 snapshots of 1 weight in float64" "${record[@]}" -record_weights list -record_list 3 -dry_run
grep -q "every epoch, from 0 on" out || stop "not every epoch"
passes "3 snapshots of 57 weights" "${record[@]}" -record_unit updates -record_every 2 -dry_run
grep -q "every 2 updates, from 0 on" out || stop "not every 2 updates"
passes "1 snapshot of 57 weights" "${record[@]}" -record_unit updates -record_burn_in 5 -dry_run

# Keys without effect
fails "-data_augment flip is for images" "${task[@]}" -data_augment flip -output a.h5
images=(train -data synthetic -data_shape '1,6,6' -data_classes 3 -data_count 41 -net mlp -net_widths 6 -output a.h5)
fails "-data_augment has no effect" "${images[@]}" -data_augment flip -dynamics_type sde -dynamics_batch 10
fails "-dynamics_steps 10 has no effect" "${task[@]}" -dynamics_schedule step -dynamics_steps 10 -output a.h5

# The plan touches nothing; the run writes what the plan says.
passes "run-040.h5 after update 6" "${task[@]}" -dynamics_epochs 3 -train_save 0,0.4,1 -output run.h5 -dry_run
[ -z "$(find . -name '*.h5*')" ] || stop "the dry run left files"
passes "epoch 3/3 " "${task[@]}" -dynamics_epochs 3 -train_save 0,0.4,1 -output run.h5
[ "$(find . -name '*.h5*' | sort | tr '\n' ' ')" = "./run-000.h5 ./run-040.h5 ./run-100.h5 ./run.h5 " ] ||
  stop "other files than planned: $(find . -name '*.h5*')"
grep -q "test error" out || stop "no test error"

# One process gives the same weights, to the last bit.
if command -v h5diff >/dev/null; then
  "$program" "${task[@]}" -dynamics_epochs 3 -output alone.h5 >out 2>err || stop "a run of one process"
  h5diff alone.h5 run.h5 /state /state || stop "another result than on one process"
fi

# A run may start from saved weights, and an options file may stand for keys.
printf 'data: synthetic\ndata_shape: 5\ndata_classes: 3\ndata_count: 41\nnet: mlp\nnet_widths: [6]\n' >task.yml
passes "copy.h5" train -options_file_yaml task.yml -dynamics_epochs 0 -state run.h5 -dynamics_batch 0 -output copy.h5
# Replicas, alone and coupled
passes "2 in " "${task[@]}" -dynamics_replicas 2 -dynamics_epochs 2 -output replicas.h5
passes "replicas.h5, replica 1" evaluate "${task[@]:1:12}" -state replicas.h5 -state_replica 1
cp replicas.h5 keep.state
rm -f ./*.h5
fails "there is no replica 2, they are 0 to 1" evaluate "${task[@]:1:12}" -state keep.state -state_replica 2
fails "-state_replica has no effect" evaluate "${task[@]:1:12}" -state_replica 1
"$program" "${task[@]}" -dynamics_epochs 1 -output run.h5 >out 2>err || stop "a run"
mv run.h5 run.state
fails "there are no replicas in it" evaluate "${task[@]:1:12}" -state run.state -state_replica 0
passes "coupled" "${task[@]}" -dynamics_type parle -dynamics_replicas 2 -dynamics_inner 2 -dynamics_epochs 2 -output parle.h5
passes "sde in evaluation mode" "${task[@]}" -dynamics_type sde -state run.state -dynamics_epochs 1 -output sde.h5
rm -f ./*.h5 ./*.state

# A replica that diverges ends the run on all ranks: one message and where it stood, the same as on one process.
# told: the message, and what the log says of the end of the run
told() { grep -h '^clarkia: error: ' err && sed -n 's/^clarkia: \[[^]]*\] \(the run ended.*\|.*checkpoint.*\)/\1/p' out; }
unstable=("${task[@]}" -net_loss mse -dynamics_replicas 3 -seed 3 -train_checkpoint run.ck -train_checkpoint_interval 0 -output run.h5)
for how in "-engine reference -dynamics_rate 0.7" "-dynamics_rate 3"; do # update by update, and many at once
  read -ra keys <<<"$how"
  rm -f run.ck*
  if "$program" "${unstable[@]}" "${keys[@]}" >out 2>err; then stop "did not diverge: $how"; fi
  told >expected
  rm -f run.ck*
  fails "lower the learning rate" "${unstable[@]}" "${keys[@]}"
  told | diff expected - || stop "another end than on one process: $how"
  grep -q 'of epoch .*, of replica [0-2]$' expected || stop "it is not said which replica: $how"
  [ "$how" = "-dynamics_rate 3" ] || grep -q '^the last good checkpoint is run.ck, after update 6$' expected || stop "no checkpoint is named"
done
echo "all fine"
