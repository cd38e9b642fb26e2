# Environment of a Clarkia run; to be sourced: . jobs/env.sh. A value that is already set stays.

# One thread a rank: the parallelism is MPI's, and the same number of threads gives the same bits.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"

# Open MPI's own MPI-IO loses data without an error when a disk fills; ROMIO reports it.
if [ -z "${OMPI_MCA_io:-}" ] && command -v ompi_info >/dev/null; then
  romio=$(ompi_info 2>/dev/null | sed -n 's/^ *MCA io: \(romio[0-9]*\) .*/\1/p' | head -n 1)
  [ -z "$romio" ] || export OMPI_MCA_io="$romio"
  unset romio
fi

# Open MPI refuses to start as root unless told so, as in a container.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
