#!/usr/bin/env bash
# Installs what the tests need, builds with warnings as errors, runs all tests but those labelled "long".
# Usage: bash tests/run.sh [arguments for ctest, as -R gram]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
jobs=$(nproc)

if command -v apt-get >/dev/null; then bash "$root/jobs/setup.sh" --tests; fi
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCLARKIA_TESTS=ON -DCLARKIA_WERROR=ON
cmake --build "$build" --parallel "$jobs"
. "$root/jobs/env.sh"
unset OMPI_MCA_io # Open MPI's own MPI-IO is the harder case; tests of files run on ROMIO as well
ctest --test-dir "$build" --parallel "$jobs" --label-exclude '^long$' --output-on-failure --no-tests=error "$@" </dev/null
