#!/usr/bin/env bash
# Every option file in inputs/ is accepted: its keys exist, its values are in bounds, net and data fit together. Random images of
# the right shape stand in for the data, in a file where classes are to be chosen from it. One that needs no files is run in full.
# Usage: test_inputs.sh <clarkia> <inputs folder>
set -euo pipefail
clarkia=$1 inputs=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/run"
cd "$work/run"
log=$work/log
count=0
"$clarkia" import -data synthetic -data_shape 1,28,28 -data_classes 10 -data_count 1000 -output "$work/classes.h5" >"$log" 2>&1 ||
  { cat "$log"; exit 1; }
for file in "$inputs"/*.yml; do
  name=$(basename "$file" .yml)
  command=${name##*-}
  case $name in
    fig3-tiny-fc) command=train data=(-data "$work/classes.h5") ;;
    circulation-tiny-fc) command=train data=(-data "$work/classes.h5" -data_count 320 -dynamics_epochs 60000) ;;
    circulation-tiny-fc-spectrum) data=(-data "$work/classes.h5" -data_count 320) ;;
    *-2-classes-*) data=(-data "$work/classes.h5") ;;
    *-lenet-classes-* | *-lenet-series-*) data=(-data synthetic -data_shape '1,28,28' -data_classes 10) ;; # with a count of its own
    *mnist*) data=(-data synthetic -data_shape '1,28,28' -data_classes 10 -data_count 60000) ;;
    cifar10*) data=(-data synthetic -data_shape '3,32,32' -data_classes 10 -data_count 10000) ;;
    *) data=() ;;
  esac
  if ! "$clarkia" "$command" -options_file_yaml "$file" "${data[@]}" -dry_run >"$log" 2>&1; then
    echo "$name: clarkia $command refuses it:"
    cat "$log"
    exit 1
  fi
  if grep -qi "not used\|left" "$log"; then
    echo "$name: an option is left over:"
    cat "$log"
    exit 1
  fi
  [ -z "$(ls -A)" ] || { echo "$name: a dry run wrote a file:"; ls -A; exit 1; }
  count=$((count + 1))
done
[ "$count" -gt 0 ] || { echo "no option files in $inputs"; exit 1; }
"$clarkia" spectrum -options_file_yaml "$inputs/synthetic-spectrum.yml" >"$log" || { cat "$log"; exit 1; }
[ -s synthetic-spectrum.h5 ] || { echo "synthetic-spectrum.yml wrote no spectrum"; exit 1; }
# a misspelt key must not pass
sed 's/^net_widths/net_widhts/' "$inputs/synthetic-spectrum.yml" >misspelt.yml
if "$clarkia" spectrum -options_file_yaml misspelt.yml -dry_run >"$log" 2>&1; then
  echo "a misspelt key passed"
  exit 1
fi
grep -q net_widths "$log" || { echo "the message does not name the key meant:"; cat "$log"; exit 1; }
echo "$count option files are accepted"
