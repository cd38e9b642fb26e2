/* test_keep.c: a run that was kept in a file and gone on with has the bits of the uninterrupted one, on as many ranks
   and on one; what happens between updates happens once. */
#include "folder.h"
#include "landscape.h"
#include "network.h"
#include <dynamicsimpl.h>

static const char *const runs[] = {
  "-dynamics_type sgd -dynamics_momentum 0.9 -dynamics_schedule cosine",
  "-dynamics_type sgd -dynamics_replacement -dynamics_momentum 0.5 -dynamics_nesterov",
  "-dynamics_type gd -dynamics_momentum 0.9",
  "-dynamics_type sgd_gaussian -dynamics_momentum 0.9",
  "-dynamics_type sgld -dynamics_temperature 0.1",
  "-dynamics_type sde",
  "-dynamics_type sde -dynamics_refresh 4",
  "-dynamics_type ode",
  "-dynamics_type jko -dynamics_temperature 0.1 -dynamics_pairs 2 -dynamics_tolerance 1e-3",
  "-dynamics_type jko -dynamics_temperature 0.1 -dynamics_points normal -dynamics_pairs 2 -dynamics_tolerance 1e-3",
};

/* Updates with all samples take no size of a batch. */
static PetscBool whole_sweeps(const char run[])
{
  return (PetscBool)(strstr(run, "type gd") || strstr(run, "type ode") || strstr(run, "type jko"));
}

static void keep_replicas(CkDynamics dynamics, CkReplicas replicas, MPI_Comm comm, PetscBool reads)
{
  CkFile   file;
  CkKeeper keeper;
  MPI_Comm group = comm;
  PetscInt R = 1;

  if (replicas) OK(CkReplicasGetComms(replicas, NULL, &group));
  if (replicas) OK(CkReplicasGetCounts(replicas, &R, NULL, NULL, NULL));
  if (reads) OK(CkFileOpen(comm, Path("kept.h5"), &file));
  else OK(CkFileCreate(comm, Path("kept.h5"), &file));
  OK(CkKeeperCreate(file, reads, group, R, &keeper));
  OK(CkDynamicsKeep(dynamics, keeper));
  OK(CkKeeperDestroy(&keeper));
  if (!reads) OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
}

static void keep(CkDynamics dynamics, MPI_Comm comm, PetscBool reads)
{
  keep_replicas(dynamics, NULL, comm, reads);
}

/* Sum of what is reported, and how often. */
typedef struct {
  PetscInt reports, last;
  double   losses;
} Reports;

static PetscErrorCode note(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  Reports *reports = (Reports *)context;

  (void)dynamics;
  ++reports->reports;
  reports->last = report->step;
  reports->losses = report->loss + 2 * reports->losses;
  return 0;
}

static PetscErrorCode run(CkDynamics dynamics, PetscInt updates, Reports *reports)
{
  OK(CkDynamicsSetMonitor(dynamics, note, reports));
  for (PetscInt i = 0; i < updates; ++i) OK(CkDynamicsStep(dynamics));
  return 0;
}

static void check(MPI_Comm comm, const char options[], PetscInt before, const double expected[D], const Reports *whole,
                  const Reports *half)
{
  Reports       reports = *half;
  CkLoss        loss;
  CkDynamics    dynamics;
  const double *x;
  double        time;
  PetscInt      step;

  create(comm, N, options, &loss, &dynamics);
  OK(CkDynamicsSetUp(dynamics));
  keep(dynamics, comm, PETSC_TRUE);
  OK(CkDynamicsGetProgress(dynamics, NULL, NULL, &step));
  assert_on_all_ranks(step == before);
  OK(run(dynamics, 12 - before, &reports));
  OK(CkLossGetPointArray(loss, &x));
  OK(CkDynamicsGetTime(dynamics, &time));
  assert_on_all_ranks(memcmp(x, expected, sizeof(double) * D) == 0);
  assert_on_all_ranks(reports.reports == whole->reports && reports.losses == whole->losses && time > 0);
  destroy(&loss, &dynamics);
}

/* Stopped within an epoch, and at the end of one. */
static void the_bits_are_those_of_the_uninterrupted_run(void **state)
{
  (void)state;
  for (size_t r = 0; r < sizeof(runs) / sizeof(runs[0]); ++r) {
    for (PetscInt before = 5; before <= 6; ++before) {
      char          options[256];
      Reports       whole = {0}, half = {0};
      double        expected[D];
      const double *x;
      CkLoss        loss;
      CkDynamics    dynamics;

      snprintf(options, sizeof(options), "-dynamics_rate 0.02 -dynamics_epochs 20 %s%s", runs[r],
               whole_sweeps(runs[r]) ? "" : " -dynamics_batch 4");
      create(PETSC_COMM_WORLD, N, options, &loss, &dynamics);
      OK(run(dynamics, before, &whole));
      half = whole;
      keep(dynamics, PETSC_COMM_WORLD, PETSC_FALSE);
      OK(run(dynamics, 12 - before, &whole));
      OK(CkLossGetPointArray(loss, &x));
      memcpy(expected, x, sizeof(expected));
      destroy(&loss, &dynamics);
      check(PETSC_COMM_WORLD, options, before, expected, &whole, &half);
      check(PETSC_COMM_SELF, options, before, expected, &whole, &half);
    }
  }
}

/* All replicas of a run, on all ranks and on one, within a round of inner updates and at its end. */
static void replicas_go_on(void **state)
{
  static const char *const types[] = {
    "sgd -dynamics_momentum 0.9", "elastic_sgd -dynamics_momentum 0.9 -dynamics_elasticity 0.2",
    "entropy_sgd -dynamics_inner 3 -dynamics_scope 0.2 -dynamics_inner_noise 0.1 -dynamics_outer_momentum 0.5",
    "parle -dynamics_inner 3 -dynamics_scope 0.2 -dynamics_outer_momentum 0.5 -dynamics_scoping 0.5"};

  (void)state;
  for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); ++t) {
    for (PetscInt before = 5; before <= 6; ++before) {
      char     options[256];
      double   expected[6 * D], found[6 * D];
      Ensemble e;

      snprintf(options, sizeof(options),
               "-dynamics_rate 0.02 -dynamics_epochs 5 -dynamics_batch 4 -dynamics_replicas 6 -dynamics_type %s",
               types[t]);
      e = new_ensemble(PETSC_COMM_WORLD, options);
      for (PetscInt i = 0; i < before; ++i) OK(CkDynamicsStep(e.dynamics));
      keep_replicas(e.dynamics, e.replicas, PETSC_COMM_WORLD, PETSC_FALSE);
      for (PetscInt i = before; i < 12; ++i) OK(CkDynamicsStep(e.dynamics));
      get_points(&e, expected);
      free_ensemble(&e);
      for (int alone = 0; alone < 2; ++alone) {
        const MPI_Comm comm = alone ? PETSC_COMM_SELF : PETSC_COMM_WORLD;

        e = new_ensemble(comm, options);
        keep_replicas(e.dynamics, e.replicas, comm, PETSC_TRUE);
        for (PetscInt i = before; i < 12; ++i) OK(CkDynamicsStep(e.dynamics));
        get_points(&e, found);
        assert_on_all_ranks(memcmp(found, expected, sizeof(found)) == 0);
        free_ensemble(&e);
      }
    }
  }
}

/* Running statistics and dropout: a net in training mode. */
static void networks_go_on_with_their_statistics(void **state)
{
  static const char options[] = "-data synthetic -data_shape 1,4,4 -data_classes 3 -data_count 40 -dynamics_batch 16 "
                                "-dynamics_momentum 0.9 -dynamics_rate 0.1 -engine reference";
  uint64_t          expected = 0, found;
  Network           n;

  (void)state;
  set_options(options, "-net small-fc");
  create_network(PETSC_COMM_WORLD, &n);
  for (int i = 0; i < 8; ++i) {
    if (i == 4) {
      keep(n.dynamics, PETSC_COMM_WORLD, PETSC_FALSE);
    }
    OK(CkDynamicsStep(n.dynamics));
  }
  OK(CkStateChecksum(n.state, &expected));
  destroy_network(&n);
  create_network(PETSC_COMM_SELF, &n);
  OK(CkDynamicsSetUp(n.dynamics));
  keep(n.dynamics, PETSC_COMM_SELF, PETSC_TRUE);
  for (int i = 4; i < 8; ++i) OK(CkDynamicsStep(n.dynamics));
  OK(CkStateChecksum(n.state, &found));
  assert_on_all_ranks(found == expected);
  destroy_network(&n);
}

/* ---- between updates ---- */

typedef struct {
  PetscInt every, n, steps[32], pauses;
} Watch;

static PetscInt next(void *context, PetscInt from)
{
  const PetscInt every = ((Watch *)context)->every;

  return (from + every - 1) / every * every;
}

static PetscErrorCode act(CkDynamics dynamics, void *context)
{
  Watch *watch = (Watch *)context;

  return CkDynamicsGetProgress(dynamics, NULL, NULL, &watch->steps[watch->n++]);
}

static PetscErrorCode pause_run(CkDynamics dynamics, void *context)
{
  (void)dynamics;
  ++((Watch *)context)->pauses;
  return 0;
}

/* 4 epochs of 3 updates: stops at multiples of 5 and of 4 and at the ends of epochs. */
static void watches_are_called_at_their_steps(void **state)
{
  static const PetscInt stops[] = {3, 4, 5, 6, 8, 9, 10, 12};
  Watch                 fives = {.every = 5}, fours = {.every = 4};
  PetscInt              stop, s = 0;
  CkLoss                loss;
  CkDynamics            dynamics;

  (void)state;
  create(PETSC_COMM_WORLD, N, "-dynamics_batch 4 -dynamics_rate 0.02 -dynamics_epochs 4", &loss, &dynamics);
  OK(CkDynamicsAddWatch(dynamics, next, act, &fives));
  OK(CkDynamicsAddWatch(dynamics, next, act, &fours));
  OK(CkDynamicsSetPause(dynamics, pause_run, &fives));
  OK(CkDynamicsRun(dynamics));
  assert_on_all_ranks(fives.n == 3 && fives.steps[0] == 0 && fives.steps[1] == 5 && fives.steps[2] == 10);
  assert_on_all_ranks(fours.n == 4 && fours.steps[0] == 0 && fours.steps[3] == 12);
  assert_on_all_ranks(fives.pauses >= 4);
  destroy(&loss, &dynamics);
  create(PETSC_COMM_WORLD, N, "-dynamics_batch 4 -dynamics_rate 0.02 -dynamics_epochs 4", &loss, &dynamics);
  OK(CkDynamicsAddWatch(dynamics, next, act, &fives));
  OK(CkDynamicsAddWatch(dynamics, next, act, &fours));
  OK(CkDynamicsSetUp(dynamics));
  for (PetscInt step = 0; step < 12; ++step) {
    OK(CkDynamicsGetNextStop(dynamics, &stop));
    assert_on_all_ranks(stop == stops[s]);
    OK(CkDynamicsStep(dynamics));
    if (step + 1 == stop) ++s;
  }
  destroy(&loss, &dynamics);
}

static int RemoveFolder(void **state)
{
  static const char *const names[] = {"kept.h5"};

  (void)state;
  return RemoveFolderOf(1, names);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_bits_are_those_of_the_uninterrupted_run), cmocka_unit_test(replicas_go_on),
    cmocka_unit_test(networks_go_on_with_their_statistics), cmocka_unit_test(watches_are_called_at_their_steps)};
  int rank, failed, worst;

  OK(PetscInitialize(&argc, &argv, NULL, NULL));
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank > 0 && !freopen("/dev/null", "w", stdout)) return 1;
  failed = cmocka_run_group_tests(tests, MakeFolder, RemoveFolder);
  MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
  OK(PetscFinalize());
  return worst ? 1 : 0;
}
