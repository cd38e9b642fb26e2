#!/usr/bin/env bash
# Configures and builds the program on PETSc with 64-bit indices and compares a spectrum with that of the build under test,
# byte by byte. Skipped where pkg-config knows no petsc64 and slepc64.
# Usage: test_petsc64.sh <source folder> <clarkia> <C compiler>
set -euo pipefail
source=$1 clarkia=$2 compiler=$3
if ! pkg-config --exists petsc64 slepc64; then
  echo "no petsc64 and slepc64 (Debian: libpetsc64-real-dev, libslepc64-real-dev): skipped"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
  cmake -S "$source" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="$compiler" -DCLARKIA_64BIT=ON \
    -DCLARKIA_TESTS=OFF &&
    cmake --build "$work/build" --target clarkia --parallel 2
} >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/build/clarkia" -version | grep -q '64-bit indices'

run() { # <program> <name>: the table without the lines of version, time and memory
  "$1" spectrum -data synthetic -data_shape 1,7,7 -data_classes 5 -data_count 300 -net tiny-fc -spectrum_method krylov \
    -spectrum_krylov sample >"$work/all" 2>&1 || { cat "$work/all"; exit 1; }
  grep -vE '^clarkia: \[|^  (time|memory) ' "$work/all" >"$work/$2"
}
run "$clarkia" here
run "$work/build/clarkia" there
grep -q '^  1   ' "$work/here"
diff "$work/here" "$work/there"
