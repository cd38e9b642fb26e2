#include "dataimpl.h"
#include <string.h>

/* chain.c: which transforms there are, and how they are run one after the other on the store. */

/* Rows handed to a rewriting transform at once; aligned, so that the bits do not depend on who does them. */
#define ROWS_AT_ONCE 256

/* ---- choice ---- */

/* Among the transforms first .. last. */
static PetscBool HasTransform(CkData data, const char name[], PetscInt first, PetscInt last)
{
  for (PetscInt i = first; i < last; ++i)
    if (strcmp(data->transforms[i]->ops->name, name) == 0) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* Appends a transform by name. */
static PetscErrorCode AddTransform(CkData data, const char name[])
{
  const PetscInt n = data->ntransforms;
  CkVerdict      verdict = {0};
  CkTransform    t;
  char           known[128];

  PetscFunctionBeginUser;
  PetscCall(CkTransformNames(known, sizeof(known)));
  CkCheckAll(data->comm, !HasTransform(data, name, 0, data->ndone), PETSC_ERR_USER_INPUT,
             "-data_transform %s: the samples of %.256s have been through %s already, at their import; leave it out",
             name, data->settings.path, name);
  CkCheckAll(data->comm, !HasTransform(data, name, data->ndone, n), PETSC_ERR_USER_INPUT,
             "-data_transform names %s twice%s", name,
             strcmp(name, "pool") ? "" : " (-data_pool puts it first by itself)");
  CkCheckAll(data->comm, n < CK_MAX_TRANSFORMS, PETSC_ERR_USER_INPUT, "-data_transform: more than %d transforms",
             CK_MAX_TRANSFORMS);
  PetscCall(CkTransformCreate(data->comm, name, &t));
  CkCheckAll(data->comm, t, PETSC_ERR_USER_INPUT, "-data_transform %s is unknown; a list of: %s, or auto, or none",
             name, known);
  data->transforms[data->ntransforms++] = t;

  t->in = n ? data->transforms[n - 1]->out : data->reader->shape;
  t->bytes_in = n ? data->transforms[n - 1]->bytes_out : (PetscBool)(data->reader->type == CK_U8);
  t->shared = data->settings.shared;
  PetscCall((*t->ops->setup)(t, &data->settings, &verdict));
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddListed(CkData data)
{
  const PetscBool given = (PetscBool)(data->settings.nmean > 0 || data->settings.ndeviation > 0);
  char            list[sizeof(data->settings.transform)], *rest = list;

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(list, data->settings.transform, sizeof(list)));
  CkCheckAll(data->comm, !given || strcmp(list, "auto") == 0 || strstr(list, "standardise"), PETSC_ERR_USER_INPUT,
             "-data_mean and -data_deviation belong to the transform standardise, which -data_transform %s lacks",
             list);
  if (data->settings.npool && !strstr(list, "pool")) PetscCall(AddTransform(data, "pool"));
  if (strcmp(list, "none") == 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (strcmp(list, "auto") == 0) {
    /* an imported file is as it was asked for at its import */
    if (data->reader->type == CK_U8 && !data->reader->transformed) PetscCall(AddTransform(data, "scale"));
    if (given) PetscCall(AddTransform(data, "standardise"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (char *name; (name = strsep(&rest, ","));) PetscCall(AddTransform(data, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Transforms with their numbers from a file written by import, for other samples of the same kind. */
static PetscErrorCode AddFromFile(CkData data)
{
  const CkDataSettings *s = &data->settings;
  CkFile                file;
  PetscBool             fits = PETSC_TRUE;

  PetscFunctionBeginUser;
  CkCheckAll(data->comm,
             data->ntransforms == 0 && s->npool == 0 && s->nmean == 0 && s->ndeviation == 0 &&
               strcmp(s->transform, "auto") == 0,
             PETSC_ERR_USER_INPUT,
             "-data_transform_from brings all transforms; leave out -data_transform, -data_pool, -data_mean and "
             "-data_deviation, and name data that "
             "have not been transformed");
  PetscCall(CkFileOpen(data->comm, s->transform_from, &file));
  PetscCall(CkDataReadTransforms(data, file));
  PetscCall(CkFileDestroy(&file));
  if (data->ntransforms) {
    const CkShape in = data->transforms[0]->in, have = data->reader->shape;

    fits = (PetscBool)(in.c == have.c && in.h == have.h && in.w == have.w &&
                       data->transforms[0]->bytes_in == (data->reader->type == CK_U8));
    CkCheckAll(data->comm, fits, PETSC_ERR_USER_INPUT,
               "%s: its transforms start from samples [%" PetscInt_FMT ", %" PetscInt_FMT ", %" PetscInt_FMT
               "] %s; these are [%" PetscInt_FMT ", %" PetscInt_FMT ", %" PetscInt_FMT "] %s",
               s->transform_from, in.c, in.h, in.w, data->transforms[0]->bytes_in ? "uint8" : "float32", have.c, have.h,
               have.w, CkTypeName(data->reader->type));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Shape and type in the end. */
static void Conclude(CkData data)
{
  data->shape = data->reader->shape;
  data->type = data->reader->type;
  for (PetscInt i = data->ndone; i < data->ntransforms; ++i) {
    data->shape = data->transforms[i]->out;
    if (!data->transforms[i]->ops->affine) data->type = CK_F32;
  }
}

PetscErrorCode CkDataChooseTransforms(CkData data)
{
  CkFile file;

  PetscFunctionBeginUser;
  if (data->reader->transformed) {
    PetscCall(CkFileOpen(data->comm, data->settings.path, &file));
    PetscCall(CkDataReadTransforms(data, file));
    PetscCall(CkFileDestroy(&file));
    data->ndone = data->ntransforms;
  }
  if (data->settings.transform_from[0]) PetscCall(AddFromFile(data));
  else PetscCall(AddListed(data));
  data->napplied = data->ndone;
  Conclude(data);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataBorrowTransforms(CkData data, CkData training)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < data->ntransforms; ++i) PetscCall(CkTransformDestroy(&data->transforms[i]));
  for (PetscInt i = 0; i < training->ntransforms; ++i) {
    PetscCall(CkTransformReference(training->transforms[i]));
    data->transforms[i] = training->transforms[i];
  }
  data->ntransforms = training->ntransforms;
  data->ndone = data->napplied = training->ndone;
  Conclude(data);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- memory ---- */

void CkDataTransformMemory(CkData data, double *stores, double *numbers, double *fitting)
{
  const double samples = (double)data->selection.n;
  double       now = samples * (double)CkShapeSize(data->reader->shape) * (double)CkTypeSize(data->reader->type);
  CkType       type = data->reader->type;

  *stores = now;
  *numbers = *fitting = 0;
  for (PetscInt i = data->ndone; i < data->ntransforms; ++i) {
    const CkTransform t = data->transforms[i];
    const double      then = samples * (double)CkShapeSize(t->out) * (double)sizeof(float);
    double            shared = 0, mine = 0;

    if (t->ops->memory) t->ops->memory(t, &shared, &mine);
    *numbers += shared;
    *fitting = PetscMax(*fitting, mine);
    if (t->ops->affine || (type == CK_F32 && then == now)) continue;
    *stores = PetscMax(*stores, now + then);
    now = then;
    type = CK_F32;
  }
}

/* ---- running ---- */

PetscErrorCode CkDataSetMap(CkData data, const double scale[], const double shift[])
{
  const PetscInt channels = data->stored_shape.c;

  PetscFunctionBeginUser;
  PetscCall(PetscFree4(data->scale, data->shift, data->fscale, data->fshift));
  PetscCall(PetscMalloc4((size_t)channels, &data->scale, (size_t)channels, &data->shift, (size_t)channels,
                         &data->fscale, (size_t)channels, &data->fshift));
  data->uniform = PETSC_TRUE;
  data->identity = PETSC_TRUE;
  for (PetscInt c = 0; c < channels; ++c) {
    data->scale[c] = scale ? scale[c] : 1;
    data->shift[c] = shift ? shift[c] : 0;
    data->fscale[c] = (float)data->scale[c];
    data->fshift[c] = (float)data->shift[c];
    if (data->fscale[c] != data->fscale[0] || data->fshift[c] != data->fshift[0]) data->uniform = PETSC_FALSE;
    if (data->fscale[c] != 1 || data->fshift[c] != 0) data->identity = PETSC_FALSE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The map of each fetch, followed by that of the transform. */
static PetscErrorCode ComposeMap(CkData data, CkTransform t)
{
  const size_t channels = (size_t)data->stored_shape.c;
  double      *scale, *shift;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(channels, &scale, channels, &shift));
  PetscCall((*t->ops->map)(t, scale, shift));
  for (size_t c = 0; c < channels; ++c) {
    shift[c] += scale[c] * data->shift[c];
    scale[c] *= data->scale[c];
  }
  PetscCall(CkDataSetMap(data, scale, shift));
  PetscCall(PetscFree2(scale, shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's pieces through the transform: piece p belongs to part p mod parts. to: the new store. */
static PetscErrorCode RewriteRows(CkData data, CkTransform t, CkNodeArray *to)
{
  const PetscInt samples = data->selection.n;
  const size_t   in = (size_t)CkShapeSize(t->in), out = (size_t)CkShapeSize(t->out);
  float         *rows;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(in * ROWS_AT_ONCE, &rows));
  for (PetscInt i = (PetscInt)to->part * ROWS_AT_ONCE; i < samples; i += (PetscInt)to->parts * ROWS_AT_ONCE) {
    const PetscInt n = PetscMin(ROWS_AT_ONCE, samples - i);

    CkDataFetchRange(data, i, n, (PetscBool)!t->ops->keeps_maps, rows);
    PetscCall((*t->ops->apply)(t, n, rows, (float *)(void *)to->bytes + (size_t)i * out));
  }
  PetscCall(PetscFree(rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rewrite(CkData data, CkTransform t)
{
  const size_t    bytes = (size_t)data->selection.n * (size_t)CkShapeSize(t->out) * sizeof(float);
  const PetscBool in_place = (PetscBool)(data->stored_type == CK_F32 && data->store.size == bytes);
  CkNodeArray     next = data->store;

  PetscFunctionBeginUser;
  if (!in_place) PetscCall(CkNodeArrayCreate(data->comm, bytes, data->shared, &next));
  PetscCall(RewriteRows(data, t, &next));
  PetscCall(CkNodeArraySync(&next));
  if (!in_place) PetscCall(CkNodeArrayDestroy(&data->store));
  data->store = next;
  data->stored_type = CK_F32;
  data->stored_shape = t->out;
  if (!t->ops->keeps_maps) PetscCall(CkDataSetMap(data, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataTransform(CkData data)
{
  PetscFunctionBeginUser;
  for (; data->napplied < data->ntransforms; ++data->napplied) {
    CkTransform t = data->transforms[data->napplied];

    if (!t->ready) PetscCall((*t->ops->fit)(t, data));
    t->ready = PETSC_TRUE;
    if (t->ops->affine) PetscCall(ComposeMap(data, t));
    else PetscCall(Rewrite(data, t));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
