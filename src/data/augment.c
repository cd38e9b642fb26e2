/* augment.c: random flips and crops of training images, functions of (seed, replica, step, position) alone. */
#include "dataimpl.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/random.h>
#include <string.h>

static const CkOption table[] = {
  {"data_augment", CK_OPTION_STRING, "none", 0, 0, "none|flip|crop|flip,crop",
   "change images of training batches: left and right exchanged with probability 1/2; moved at random over a margin"},
  {"data_augment_pad", CK_OPTION_INT, "4", 1, 4096, NULL,
   "crop: pixels by which an image may move in each direction; what comes in is black"},
  {0}};

PetscErrorCode CkDataRegisterAugmentOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Augmentation", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataSetAugmentFromOptions(CkData data)
{
  char      what[32];
  PetscInt  pad;
  PetscBool given, crop;

  PetscFunctionBeginUser;
  PetscCheck(data->opened, data->comm, PETSC_ERR_ORDER, "Call CkDataOpen() first");
  PetscCall(CkOptionsGetString("data_augment", what, sizeof(what), NULL));
  PetscCall(CkOptionsGetInt("data_augment_pad", &pad, &given));
  crop = (PetscBool)(strstr(what, "crop") != NULL);
  CkCheckAll(data->comm, crop || !given, PETSC_ERR_ARG_INCOMP,
             "-data_augment_pad has no effect with -data_augment %s: leave it out, or take crop", what);
  data->flip = (PetscBool)(strstr(what, "flip") != NULL);
  data->pad = crop ? pad : 0;
  CkCheckAll(data->comm, !(data->flip || crop) || (data->shape.h > 1 && data->shape.w > 1), PETSC_ERR_ARG_INCOMP,
             "-data_augment %s is for images; these samples are of %" PetscInt_FMT " x %" PetscInt_FMT
             " x %" PetscInt_FMT " (channels, height, width)",
             what, data->shape.c, data->shape.h, data->shape.w);
  CkCheckAll(data->comm, data->pad < PetscMin(data->shape.h, data->shape.w) || !crop, PETSC_ERR_ARG_OUTOFRANGE,
             "-data_augment_pad %" PetscInt_FMT " would move images of %" PetscInt_FMT " x %" PetscInt_FMT
             " out of sight: take %" PetscInt_FMT " or less",
             data->pad, data->shape.h, data->shape.w, PetscMin(data->shape.h, data->shape.w) - 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetAugmentation(CkData data, PetscBool *flip, PetscInt *pad)
{
  PetscFunctionBeginUser;
  if (flip) *flip = data->flip;
  if (pad) *pad = data->pad;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* to[y][x] = from[y + dy][x + dx], black outside; then left and right exchanged. */
static void MovePlane(PetscInt h, PetscInt w, PetscInt dy, PetscInt dx, PetscBool flip, float black, const float from[],
                      float to[])
{
  for (PetscInt y = 0; y < h; ++y) {
    for (PetscInt x = 0; x < w; ++x) {
      const PetscInt row = y + dy, column = (flip ? w - 1 - x : x) + dx;

      to[y * w + x] = row >= 0 && row < h && column >= 0 && column < w ? from[row * w + column] : black;
    }
  }
}

PetscErrorCode CkDataAugment(CkData data, uint64_t seed, const CkBatch *batch, PetscInt first, PetscInt n,
                             float features[])
{
  const CkRandom stream = {
    .seed = seed, .purpose = CK_RANDOM_AUGMENT, .replica = (uint32_t)batch->replica, .step = (uint64_t)batch->step};
  const CkShape  shape = data->shape;
  const size_t   plane = (size_t)shape.h * (size_t)shape.w;
  const PetscInt side = 2 * data->pad + 1;
  float         *copy;

  PetscFunctionBeginUser;
  if (!data->flip && data->pad == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(plane, &copy));
  for (PetscInt k = 0; k < n; ++k) {
    double    u[3];
    PetscInt  dy, dx;
    PetscBool flip;

    CkRandomUniforms(&stream, 3 * (uint64_t)(first + k), 3, u);
    flip = (PetscBool)(data->flip && u[0] < 0.5);
    dy = PetscMin((PetscInt)(u[1] * (double)side), side - 1) - data->pad;
    dx = PetscMin((PetscInt)(u[2] * (double)side), side - 1) - data->pad;
    for (PetscInt c = 0; c < shape.c; ++c) {
      float *image = features + ((size_t)k * (size_t)shape.c + (size_t)c) * plane;

      memcpy(copy, image, plane * sizeof(float));
      MovePlane(shape.h, shape.w, dy, dx, flip, data->fshift[c], copy, image);
    }
  }
  PetscCall(PetscFree(copy));
  PetscFunctionReturn(PETSC_SUCCESS);
}
