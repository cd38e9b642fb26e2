#include "optionsimpl.h"
#include <string.h>
#include <strings.h>

/*
  optionsforeign.c: keys of PETSc and SLEPc 3.18. Nobody can list all keys of a library that makes them up from
  prefixes; so keys of these prefixes pass, and one that is not here is suspect only if it is within two letters of one
  that is, or if it belongs to a group that is here whole.
*/
static const char *const prefixes[] = {
  "bv",         "ds",      "eps",        "fn",       "lme",        "mfn",    "nep",      "pep",     "rg",
  "st",         "svd",     "ao",         "da",       "dm",         "is",     "ksp",      "mat",     "pc",
  "pf",         "sf",      "snes",       "tao",      "ts",         "vec",    "check",    "cuda",    "debug",
  "draw",       "error",   "fp",         "info",     "log",        "malloc", "mpi",      "nox",     "on",
  "objects",    "options", "play",       "petsc",    "prefix",     "saws",   "shared",   "skip",    "start",
  "test",       "x",       "viewer",     "version",  "help",       "blas",   "debugger", "dll",     "device",
  "glvis",      "mg",      "sub",        "lg",       "fieldsplit", "random", "matload",  "matptap", "matstash",
  "matmatmult", "vecload", "vecscatter", "vecstash", NULL};

/* Groups read when PETSc starts or ends; all their keys are below. */
static const char *const whole_groups[] = {"log", "malloc", "memory", "objects", "options", "skip", NULL};

static const char *const names[] = {"all_ksp_monitor",
                                    "build_twosided",
                                    "bv_definite_tol",
                                    "bv_matmult",
                                    "bv_orthog_block",
                                    "bv_orthog_eta",
                                    "bv_orthog_refine",
                                    "bv_orthog_type",
                                    "bv_reproducible_random",
                                    "bv_type",
                                    "bv_vecs_vmip",
                                    "checkfunctionlist",
                                    "citations",
                                    "default_device_type",
                                    "disable_sse",
                                    "display",
                                    "ds_block_size",
                                    "ds_method",
                                    "ds_nep_integration_points",
                                    "ds_nep_minimality",
                                    "ds_nep_sampling_size",
                                    "ds_parallel",
                                    "eps_all",
                                    "eps_arnoldi_delayed",
                                    "eps_balance",
                                    "eps_balance_cutoff",
                                    "eps_balance_its",
                                    "eps_conv_abs",
                                    "eps_conv_norm",
                                    "eps_conv_rel",
                                    "eps_conv_user",
                                    "eps_converged_reason",
                                    "eps_error_absolute",
                                    "eps_error_backward",
                                    "eps_error_relative",
                                    "eps_gen_hermitian",
                                    "eps_gen_indefinite",
                                    "eps_gen_non_hermitian",
                                    "eps_harmonic",
                                    "eps_harmonic_largest",
                                    "eps_harmonic_relative",
                                    "eps_harmonic_right",
                                    "eps_hermitian",
                                    "eps_interval",
                                    "eps_krylovschur_detect_zeros",
                                    "eps_krylovschur_hiteigenvalue",
                                    "eps_krylovschur_locking",
                                    "eps_krylovschur_mpd",
                                    "eps_krylovschur_ncv",
                                    "eps_krylovschur_nev",
                                    "eps_krylovschur_partitions",
                                    "eps_krylovschur_restart",
                                    "eps_lanczos_reorthog",
                                    "eps_largest_imaginary",
                                    "eps_largest_magnitude",
                                    "eps_largest_real",
                                    "eps_max_it",
                                    "eps_monitor",
                                    "eps_monitor_all",
                                    "eps_monitor_cancel",
                                    "eps_monitor_conv",
                                    "eps_mpd",
                                    "eps_ncv",
                                    "eps_nev",
                                    "eps_non_hermitian",
                                    "eps_pos_gen_non_hermitian",
                                    "eps_purify",
                                    "eps_refined",
                                    "eps_refined_harmonic",
                                    "eps_ritz",
                                    "eps_smallest_imaginary",
                                    "eps_smallest_magnitude",
                                    "eps_smallest_real",
                                    "eps_stop_basic",
                                    "eps_stop_user",
                                    "eps_target",
                                    "eps_target_imaginary",
                                    "eps_target_magnitude",
                                    "eps_target_real",
                                    "eps_tol",
                                    "eps_true_residual",
                                    "eps_two_sided",
                                    "eps_type",
                                    "eps_view",
                                    "eps_view_mat0",
                                    "eps_view_mat1",
                                    "eps_view_pre",
                                    "eps_view_values",
                                    "eps_view_vectors",
                                    "geometry",
                                    "get_total_flops",
                                    "history",
                                    "library_preload",
                                    "log",
                                    "log_all",
                                    "log_exclude",
                                    "log_exclude_actions",
                                    "log_exclude_objects",
                                    "log_mpe",
                                    "log_nvtx",
                                    "log_perfstubs",
                                    "log_summary",
                                    "log_sync",
                                    "log_threshold",
                                    "log_trace",
                                    "log_view",
                                    "log_view_gpu_time",
                                    "log_view_memory",
                                    "malloc",
                                    "malloc_coalesce",
                                    "malloc_debug",
                                    "malloc_dump",
                                    "malloc_hbw",
                                    "malloc_info",
                                    "malloc_requested_size",
                                    "malloc_test",
                                    "malloc_view",
                                    "malloc_view_threshold",
                                    "memory_view",
                                    "no_signal_handler",
                                    "objects_dump",
                                    "objects_view",
                                    "options_file",
                                    "options_file_yaml",
                                    "options_gui",
                                    "options_left",
                                    "options_monitor",
                                    "options_monitor_cancel",
                                    "options_string_yaml",
                                    "options_suppress_deprecated_warnings",
                                    "options_view",
                                    "python",
                                    "skip_petscrc",
                                    "splitreduction_async",
                                    "st_cayley_antishift",
                                    "st_filter_degree",
                                    "st_filter_interval",
                                    "st_filter_range",
                                    "st_matmode",
                                    "st_matstructure",
                                    "st_shift",
                                    "st_transform",
                                    "st_type",
                                    "stop_for_debugger",
                                    "svd_conv_abs",
                                    "svd_conv_maxit",
                                    "svd_conv_norm",
                                    "svd_conv_rel",
                                    "svd_conv_user",
                                    "svd_converged_reason",
                                    "svd_cross_explicitmatrix",
                                    "svd_cyclic_explicitmatrix",
                                    "svd_error_absolute",
                                    "svd_error_norm",
                                    "svd_error_relative",
                                    "svd_generalized",
                                    "svd_hyperbolic",
                                    "svd_implicittranspose",
                                    "svd_lanczos_oneside",
                                    "svd_largest",
                                    "svd_max_it",
                                    "svd_monitor",
                                    "svd_monitor_all",
                                    "svd_monitor_cancel",
                                    "svd_monitor_conditioning",
                                    "svd_monitor_conv",
                                    "svd_mpd",
                                    "svd_ncv",
                                    "svd_nsv",
                                    "svd_smallest",
                                    "svd_standard",
                                    "svd_stop_basic",
                                    "svd_stop_user",
                                    "svd_tol",
                                    "svd_trlanczos_explicitmatrix",
                                    "svd_trlanczos_gbidiag",
                                    "svd_trlanczos_locking",
                                    "svd_trlanczos_oneside",
                                    "svd_trlanczos_restart",
                                    "svd_trlanczos_scale",
                                    "svd_type",
                                    "svd_view",
                                    "svd_view_mat0",
                                    "svd_view_mat1",
                                    "svd_view_pre",
                                    "svd_view_signature",
                                    "svd_view_values",
                                    "svd_view_vectors",
                                    "use_gpu_aware_mpi",
                                    NULL};

/* Whether the key begins with a word of the list, up to a '_' or its end. */
static PetscBool BeginsWith(const char key[], const char *const words[])
{
  const size_t n = strcspn(key, "_");

  for (PetscInt i = 0; words[i]; ++i)
    if (strlen(words[i]) == n && strncasecmp(key, words[i], n) == 0) return PETSC_TRUE;
  return PETSC_FALSE;
}

PetscBool CkOptionsIsForeign_Private(const char key[], PetscBool *exactly)
{
  *exactly = PETSC_FALSE;
  for (PetscInt i = 0; names[i]; ++i)
    if (strcasecmp(key, names[i]) == 0) *exactly = PETSC_TRUE;
  return (PetscBool)(*exactly || BeginsWith(key, prefixes));
}

const char *CkOptionsNearestForeign_Private(const char key[], PetscBool *unknown)
{
  const char  *nearest = NULL;
  PetscBool    exactly;
  const size_t n = CkOptionsIsForeign_Private(key, &exactly) ? strcspn(key, "_") : 0; /* letters that are right */
  PetscInt     best = 3; /* letters; farther ones may well be keys of their own */

  *unknown = (PetscBool)(!exactly && BeginsWith(key, whole_groups));
  for (PetscInt i = 0; names[i] && !exactly; ++i) {
    const PetscInt distance = CkOptionsDistance(key, names[i]);

    if (distance >= best || strncasecmp(key, names[i], n) != 0) continue;
    best = distance;
    nearest = names[i];
  }
  return nearest;
}

PetscBool CkOptionsIsReadAtEnd_Private(const char key[])
{
  return (PetscBool)(BeginsWith(key, whole_groups) || strncasecmp(key, "viewer", 6) == 0);
}
