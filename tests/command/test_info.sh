#!/usr/bin/env bash
# The command info from the command line. Usage: test_info.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"

cifar=(-data synthetic -data_shape "3,32,32")

# Each net of the zoo, with what it is known to weigh
weighs() { # <weights> ARGUMENT..
  local weights=$1
  shift
  passes "$weights weights" info "$@"
}
weighs 269722 "${cifar[@]}" -net resnet
weighs 1733812 "${cifar[@]}" -net resnet -net_depth 110 -data_classes 100
weighs 10961370 "${cifar[@]}" -net wrn
weighs 1019722 "${cifar[@]}" -net densenet
weighs 1667166 "${cifar[@]}" -net allcnn
weighs 26982 "${cifar[@]}" -net small-allcnn
weighs 132220 -net lenet # 1 x 28 x 28 where no data set is named
weighs 13338 -net small-lenet
weighs 1266 -net tiny-lenet
weighs 3978 -net small-fc -data synthetic -data_shape 49
weighs 917 -net tiny-fc -data synthetic -data_shape 49 -data_classes 5
weighs 7850 -net logistic
weighs 5610 -net mlp -data synthetic -data_shape 49

# The table: layers with what they read, shapes, weights and operations; columns add up to the totals
passes "layer2.0.downsample" info "${cifar[@]}" -net resnet
grep -qE '^ +28 +layer2.0.conv2 +conv 3x3 +32 x 16 x 16 +9216 +4.719e\+06$' out || stop "no such line"
grep -qE '^ +31 +layer2.0.add +add +30,29 ' out || stop "an addition without its inputs"
grep -qE 'of which +19 layers, 267696 weights, 8.11e\+07 operations +conv$' out || stop "no sum of convolutions"
awk '$1 ~ /^[0-9]+$/ { weights += $(NF - 1); operations += $NF }
  /operations a forward pass/ { for (i = 1; i <= NF; ++i) if ($i == "operations") total = $(i - 1) }
  END { exit !(weights == 269722 && operations / total > 0.999 && operations / total < 1.001) }' out ||
  stop "the columns do not add up"

# What does not fit
fails "no net is chosen" info
fails "-net_depth 21 is not 6n+2" info "${cifar[@]}" -net resnet -net_depth 21
fails "multiples of 4" info -net resnet -data synthetic -data_shape 3,30,30
fails "info writes no file" info -net lenet -output a.h5
fails "none.h5" info -net lenet -data none.h5
fails "did you mean -net_depth?" info "${cifar[@]}" -net resnet -net_dept 20
echo "all fine"
