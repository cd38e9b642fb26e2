#!/usr/bin/env bash
# From a bare Debian 12 to the spectrum of a trained network: installs, builds, imports Fashion-MNIST, trains small-lenet,
# computes the complete non-zero spectrum of its diffusion matrix over 4,000 images and draws it.
# Usage: bash jobs/quickstart.sh [output folder]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$root/build/quickstart}
build=$root/build
start=$SECONDS

if command -v apt-get >/dev/null; then bash "$root/jobs/setup.sh"; fi
installed=$SECONDS
processors=$(nproc) # before env.sh: nproc heeds OMP_NUM_THREADS
. "$root/jobs/env.sh"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 </dev/null || { cat "$log"; exit 1; }; }
configure=(cmake -S "$root" -B "$build" -G Ninja)
[ -f "$build/CMakeCache.txt" ] || configure+=(-DCMAKE_BUILD_TYPE=Release -DCLARKIA_TESTS=OFF)
quietly "${configure[@]}"
quietly cmake --build "$build" --target clarkia --parallel "$processors"
built=$SECONDS

# One rank for each physical core that this process may use.
cores=$(lscpu --parse=Core,Socket 2>/dev/null | grep -v '^#' | sort -u | wc -l)
ranks=$processors
if [ "$cores" -gt 0 ] && [ "$cores" -lt "$ranks" ]; then ranks=$cores; fi
clarkia() { mpiexec -n "$ranks" "$build/clarkia" "$@" </dev/null; }

# A Python of one's own may come first in PATH and lack h5py.
python=python3
"$python" -c "import h5py, matplotlib" 2>/dev/null || python=/usr/bin/python3

mkdir -p "$out"
echo "== $ranks rank(s); results go to $out"
clarkia import -data fashion-mnist -output "$out/fashion-mnist.h5"
clarkia train -data "$out/fashion-mnist.h5" -net small-lenet -dynamics_epochs 3 -output "$out/weights.h5"
clarkia spectrum -data "$out/fashion-mnist.h5" -data_count 4000 -net small-lenet -state "$out/weights.h5" \
  -output "$out/spectrum.h5"
"$python" "$root/analysis/plot_spectrum.py" "$out/spectrum.h5" --output "$out/spectrum.png"

echo "== $((installed - start)) s for packages, $((built - installed)) s to build, $((SECONDS - built)) s to run"
echo "== weights  $out/weights.h5"
echo "== spectrum $out/spectrum.h5"
echo "== picture  $out/spectrum.png"
