#!/usr/bin/env bash
# Installs the Debian 12 packages that Clarkia needs; does nothing when all are there. Root or sudo is needed only to install.
# Usage: bash jobs/setup.sh [--tests | --slurm]
#   --tests: also what the tests need (PyTorch among it, as an independent judge)
#   --slurm: that, and Slurm with munge, for the tests labelled slurm
set -euo pipefail

build=(gcc libc6-dev cmake ninja-build pkgconf git
  openmpi-bin libopenmpi-dev libpetsc-real-dev libslepc-real-dev libhdf5-openmpi-dev libscalapack-openmpi-dev libelpa-dev
  libopenblas-dev libdnnl-dev libfftw3-dev libmatio-dev zlib1g-dev libyaml-dev librandom123-dev
  libonnx-dev protobuf-c-compiler libprotobuf-c-dev)
use=(python3 python3-numpy python3-h5py python3-matplotlib dataset-fashion-mnist)
tests=(libcmocka-dev clang-format-14 clang-tidy-14 shellcheck python3-torch python3-scipy)
slurm=(slurmctld slurmd slurm-client munge)

case "${1:-}" in
  "") wanted=("${build[@]}" "${use[@]}") ;;
  --tests) wanted=("${build[@]}" "${use[@]}" "${tests[@]}") ;;
  --slurm) wanted=("${build[@]}" "${use[@]}" "${tests[@]}" "${slurm[@]}") ;;
  *)
    echo "usage: bash jobs/setup.sh [--tests | --slurm]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: this is no Debian system. What Clarkia needs stands in docs/requirements.md; jobs/spack.yaml is a Spack" \
    "environment with all of it (jobs/README.md)." >&2
  exit 1
fi

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
  echo "setup: all ${#wanted[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "setup: root rights (or sudo) are needed to install: ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0)
"${as_root[@]}" "${apt[@]}" update
"${as_root[@]}" "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" </dev/null >/dev/null
echo "setup: done"
