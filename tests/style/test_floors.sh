#!/usr/bin/env bash
# No source includes a header of a floor above its own, and every public header has a floor.
# Usage: test_floors.sh <source folder>
set -euo pipefail
cd "$1"
floors=(support data net engine loss noise spectrum trajectory dynamics tail command)
declare -A headers=(
  [support]="base error options file progress random exactsum rowops blockmatrix blockproduct provenance revision interrupt probability nodearray"
  [data]="data batch"
  [net]="net state"
  [engine]="engine fused onednn"
  [loss]="loss"
  [noise]="diffusion"
  [spectrum]="spectrum"
  [trajectory]="trajectory analysis"
  [dynamics]="dynamics replicas checkpoint recorder"
  [tail]="tail"
  [command]="command"
)
declare -A level
failed=0
for i in "${!floors[@]}"; do
  for header in ${headers[${floors[$i]}]}; do level[$header]=$i; done
done
check() { # <file> <level of the file>
  local header
  while read -r header; do
    if [ -z "${level[$header]:-}" ]; then
      echo "$1: clarkia/$header.h has no floor; add it to $0"
      failed=1
    elif [ "${level[$header]}" -gt "$2" ]; then
      echo "$1: floor ${floors[$2]} must not know clarkia/$header.h of floor ${floors[${level[$header]}]}"
      failed=1
    fi
  done < <(sed -nE 's|^ *# *include *[<"]clarkia/([a-z0-9_]+)\.h[>"].*|\1|p' "$1")
}
for i in "${!floors[@]}"; do
  while read -r file; do check "$file" "$i"; done < <(find "src/${floors[$i]}" -name '*.[ch]' 2>/dev/null | sort)
done
for file in include/clarkia/*.h; do
  name=$(basename "$file" .h)
  check "$file" "${level[$name]:?$file has no floor; add it to $0}"
done
# src/ holds main.c and the floors, nothing else
for entry in src/*; do
  name=$(basename "$entry")
  [ "$name" = main.c ] || [ -n "${headers[$name]:-}" ] || { echo "$entry is no floor"; failed=1; }
done
[ "$failed" = 0 ] && echo "every include goes down"
exit "$failed"
