# Environment of a Clarkia run; to be sourced: . jobs/env.sh. A value that is already set stays.

# One thread a rank: the parallelism is MPI's, and the same number of threads gives the same bits.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"

# OpenBLAS takes its slowest kernels on a processor that is newer than itself: name the newest that the processor can run.
if [ -z "${OPENBLAS_CORETYPE:-}" ] && [ -r /proc/cpuinfo ]; then
  case "$(OPENBLAS_VERBOSE=2 LD_PRELOAD=libopenblas.so.0 env true 2>&1)" in
    *Prescott* | *Barcelona*)
      if grep -q avx512bw /proc/cpuinfo; then
        export OPENBLAS_CORETYPE=SkylakeX
      elif grep -q avx2 /proc/cpuinfo; then
        export OPENBLAS_CORETYPE=Haswell
      fi
      ;;
  esac
fi

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
