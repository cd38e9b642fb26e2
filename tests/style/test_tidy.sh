#!/usr/bin/env bash
# Static analysis of src/ as .clang-tidy says. Usage: test_tidy.sh <source folder> <build folder>
set -euo pipefail
source_dir=$(cd "$1" && pwd)
build_dir=$(cd "$2" && pwd)
tool=$(command -v run-clang-tidy-14 || command -v run-clang-tidy) || {
  echo "clang-tidy is not installed: skipped"
  exit 77
}
[ -f "$build_dir/compile_commands.json" ] || { echo "$build_dir/compile_commands.json is missing"; exit 1; }
# -quiet still prints one line a file and the count of what was suppressed in other people's headers
if ! output=$("$tool" -p "$build_dir" -quiet -j 2 "^$source_dir/src/" 2>&1); then
  grep -vE '^clang-tidy|warnings? (treated|generated)|^Suppressed' <<<"$output"
  exit 1
fi
count=$(grep -c '^clang-tidy' <<<"$output")
[ "$count" -gt 0 ] || { echo "no file was analysed"; exit 1; }
echo "$count files analysed, nothing found"
