#!/usr/bin/env bash
# Shell scripts parse, and shellcheck finds nothing in them. Usage: test_shell.sh <source folder>
set -euo pipefail
cd "$1"
mapfile -t scripts < <(find jobs tests .ci -type f \( -name '*.sh' -o -name '*.sbatch' -o -path '.ci/*' \) | sort)
[ "${#scripts[@]}" -gt 0 ] || { echo "no scripts found"; exit 1; }
for script in "${scripts[@]}"; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then
  shellcheck --shell=bash --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
else
  echo "shellcheck is not installed: only the syntax was checked"
fi
echo "${#scripts[@]} scripts are clean"
