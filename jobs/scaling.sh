#!/usr/bin/env bash
# Submits a scaling study: an array of repeats (scaling.sbatch) for each number of nodes, one array after the other,
# since jobs at the same time would share network and file system. Usage, in the folder of the checkout:
#   bash jobs/scaling.sh strong|weak SAMPLES NODES,NODES,.. [-key value ...]
#   bash jobs/scaling.sh strong 50000 1,2,4,8 -net resnet -net_depth 110
# CLARKIA_SBATCH: further arguments of sbatch for all of them, as "--ntasks-per-node=64 --array=1-9%1 --account=project".
set -euo pipefail
usage="usage: bash jobs/scaling.sh strong|weak SAMPLES NODES,NODES,.. [-key value ...]"
mode=${1:?$usage}
samples=${2:?$usage}
IFS=, read -ra nodes <<<"${3:?$usage}"
shift 3
case $mode in strong | weak) ;; *) echo "$usage" >&2; exit 2 ;; esac
for number in "$samples" "${nodes[@]}"; do
  if ! [[ $number =~ ^[1-9][0-9]*$ ]]; then
    echo "scaling: '$number' is not a positive number; $usage" >&2
    exit 2
  fi
done
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
read -ra all <<<"${CLARKIA_SBATCH:-}"
after=()
for count in "${nodes[@]}"; do
  job=$(sbatch --parsable --nodes="$count" --job-name="clarkia-$mode-$count" "${all[@]}" "${after[@]}" \
    "$here/scaling.sbatch" "$mode" "$samples" "$@")
  job=${job%%;*}
  echo "scaling: $mode, $count nodes: array job $job"
  after=(--dependency="afterany:$job")
done
