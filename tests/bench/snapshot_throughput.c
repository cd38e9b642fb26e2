/*
  Snapshots into a trajectory file against plain collective writes of the same numbers by HDF5, in one run, in the
  folder it is called in: 16 snapshots of 4 million float64 (512 MB), flushed one by one, and buffered as `clarkia
  train` does. Three rounds; a line each with the ratio of times.

    mpiexec -n 2 build/tests/bench/snapshot_throughput
*/
#include <clarkia/trajectory.h>
#include <hdf5.h>

enum { SNAPSHOTS = 16, COLUMNS = 4000000, ROUNDS = 3 };
static const double BUFFER = 64e6; /* bytes; several snapshots of a rank */

typedef struct {
  PetscMPIInt rank;
  PetscInt64  first, count; /* this rank's columns */
  double     *values;
} Share;

static double Start(void)
{
  MPI_Barrier(PETSC_COMM_WORLD);
  return MPI_Wtime();
}

static double Seconds(double start)
{
  MPI_Barrier(PETSC_COMM_WORLD);
  return MPI_Wtime() - start;
}

/* Chunks of a rank's half; each snapshot is flushed. */
static double WritePlain(const Share *s)
{
  const hsize_t all[] = {SNAPSHOTS, COLUMNS}, chunk[] = {1, (hsize_t)(s->count + 1) / 2},
                box[] = {1, (hsize_t)s->count};
  hsize_t     from[] = {0, (hsize_t)s->first};
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS), layout = H5Pcreate(H5P_DATASET_CREATE);
  const hid_t transfer = H5Pcreate(H5P_DATASET_XFER), space = H5Screate_simple(2, all, NULL);
  const hid_t memory = H5Screate_simple(2, box, NULL);
  hid_t       file, data;
  double      start;

  H5Pset_fapl_mpio(access, PETSC_COMM_WORLD, MPI_INFO_NULL);
  H5Pset_chunk(layout, 2, chunk);
  H5Pset_fill_time(layout, H5D_FILL_TIME_NEVER);
  H5Pset_dxpl_mpio(transfer, H5FD_MPIO_COLLECTIVE);
  file = H5Fcreate("plain.h5", H5F_ACC_TRUNC, H5P_DEFAULT, access);
  data = H5Dcreate2(file, "weights", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, layout, H5P_DEFAULT);
  start = Start();
  for (hsize_t i = 0; i < SNAPSHOTS; ++i) {
    from[0] = i;
    H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, box, NULL);
    if (H5Dwrite(data, H5T_NATIVE_DOUBLE, memory, space, transfer, s->values) < 0) MPI_Abort(PETSC_COMM_WORLD, 1);
    if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0) MPI_Abort(PETSC_COMM_WORLD, 1);
  }
  start = Seconds(start);
  H5Dclose(data), H5Fclose(file), H5Sclose(space), H5Sclose(memory);
  H5Pclose(access), H5Pclose(layout), H5Pclose(transfer);
  return start;
}

static PetscErrorCode WriteTrajectory(const Share *s, double buffer, double interval, double *seconds)
{
  const CkTrajectoryInfo info = {.content = CK_CONTENT_ALL,
                                 .type = CK_F64,
                                 .snapshots = SNAPSHOTS,
                                 .columns = COLUMNS,
                                 .replicas = 1,
                                 .dimension = COLUMNS,
                                 .samples = 1,
                                 .dynamics_type = "sgd"};
  const CkTrajectoryPart part = {0, 1, s->first, s->count, (PetscBool)(s->rank == 0)};
  double                 scalars[CK_SCALARS] = {0};
  PetscInt64            *columns;
  CkTrajectory           trajectory;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(s->count, &columns));
  for (PetscInt64 i = 0; i < s->count; ++i) columns[i] = s->first + i;
  PetscCall(CkTrajectoryCreate(PETSC_COMM_WORLD, "trajectory.h5", &info, &part, columns, NULL, &trajectory));
  PetscCall(CkTrajectorySetBuffer(trajectory, buffer, interval));
  *seconds = Start();
  for (PetscInt64 i = 0; i < SNAPSHOTS; ++i)
    PetscCall(CkTrajectoryAppend(trajectory, i, (double)i, s->values, scalars));
  PetscCall(CkTrajectoryFlush(trajectory));
  *seconds = Seconds(*seconds);
  PetscCall(CkTrajectoryDestroy(&trajectory));
  PetscCall(PetscFree(columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char *argv[])
{
  PetscMPIInt ranks;
  Share       s;

  PetscFunctionBeginUser;
  PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &s.rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &ranks));
  s.first = (PetscInt64)COLUMNS * s.rank / ranks;
  s.count = (PetscInt64)COLUMNS * (s.rank + 1) / ranks - s.first;
  PetscCall(PetscMalloc1(s.count, &s.values));
  for (PetscInt64 i = 0; i < s.count; ++i) s.values[i] = 1 / (1. + (double)(s.first + i));
  for (int i = 0; i < ROUNDS; ++i) {
    const double plain = WritePlain(&s);
    double       each, buffered;

    PetscCall(WriteTrajectory(&s, 1, 0, &each));
    PetscCall(WriteTrajectory(&s, BUFFER, 5, &buffered));
    PetscCall(
      PetscPrintf(PETSC_COMM_WORLD,
                  "plain %.3f s (%.2f GB/s); trajectory, flushed each %.3f s, rate %.2f of plain; buffered %.3f s,"
                  " rate %.2f of plain\n",
                  plain, 8e-9 * SNAPSHOTS * COLUMNS / plain, each, plain / each, buffered, plain / buffered));
  }
  PetscCall(PetscFree(s.values));
  PetscCall(PetscFinalize());
  return 0;
}
