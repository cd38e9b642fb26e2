#!/usr/bin/env bash
# Every source and header is laid out as .clang-format (version 14) says. Usage: test_format.sh <source folder>
set -euo pipefail
cd "$1"
tool=$(command -v clang-format-14 || command -v clang-format) || {
  echo "clang-format is not installed: skipped"
  exit 77
}
mapfile -t files < <(find include src tests -name '*.[ch]' | sort)
[ "${#files[@]}" -gt 0 ] || { echo "no sources found"; exit 1; }
if ! "$tool" --dry-run -Werror "${files[@]}"; then
  echo "remedy: $tool -i <the files named above>"
  exit 1
fi
echo "${#files[@]} files are laid out as .clang-format says"
