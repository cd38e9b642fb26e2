#include "dataimpl.h"
#include <string.h>

/* selection.c: which rows are the samples: class subset, then offset, then count. */

/* New number of each old class, -1 for those left out: the position in -data_classes_keep. */
static void ClassNumbers(const CkDataSettings *settings, PetscInt classes, PetscInt number[], CkVerdict *verdict)
{
  for (PetscInt c = 0; c < classes; ++c) number[c] = settings->nkeep ? -1 : c;
  for (PetscInt k = 0; k < settings->nkeep && !verdict->code; ++k) {
    const PetscInt c = settings->keep[k];

    if (c < 0 || c >= classes)
      CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                    "-data_classes_keep names class %" PetscInt_FMT "; the data set has classes 0 .. %" PetscInt_FMT, c,
                    classes - 1);
    else if (number[c] >= 0)
      CkVerdictFail(verdict, PETSC_ERR_USER_INPUT, "-data_classes_keep names class %" PetscInt_FMT " twice", c);
    else number[c] = k;
  }
}

/* offset and count of the samples that are left after the class subset */
static void CheckRange(CkData data, PetscInt offset, PetscInt *count, CkVerdict *verdict)
{
  const PetscInt  available = data->selection.available;
  const PetscBool all = (PetscBool)(*count == CK_COUNT_ALL);

  if (available == 0)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT, "%.256s: no sample is of the classes in -data_classes_keep",
                  data->settings.path);
  else if (offset >= available)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                  "-data_offset %" PetscInt_FMT " is beyond the %" PetscInt_FMT
                  " samples of %.256s; at most %" PetscInt_FMT,
                  offset, available, data->settings.path, available - 1);
  else if (all) *count = available - offset;
  else if (*count > available - offset)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                  "-data_count %" PetscInt_FMT " is more than the %" PetscInt_FMT " samples from offset %" PetscInt_FMT
                  " on in %.256s",
                  *count, available - offset, offset, data->settings.path);
}

static PetscErrorCode FillSelection(CkData data, PetscInt rows, const int32_t labels[], const PetscInt number[],
                                    PetscInt offset, PetscInt count)
{
  CkSelection *selection = &data->selection;
  PetscInt     position = 0;

  PetscFunctionBeginUser;
  selection->n = count;
  PetscCall(PetscMalloc1((size_t)count, &data->labels));
  if (data->settings.nkeep) PetscCall(PetscMalloc1((size_t)count, &selection->rows));
  else selection->first = offset;
  for (PetscInt row = 0; row < rows; ++row) {
    const PetscInt class = number[labels[row]];

    if (class < 0) continue;
    if (position >= offset && position < offset + count) {
      data->labels[position - offset] = (int32_t) class;
      if (selection->rows) selection->rows[position - offset] = row;
      ++data->counts[class];
    }
    ++position;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NameClasses(CkData data)
{
  const CkDataSettings *settings = &data->settings;

  PetscFunctionBeginUser;
  if (!data->reader->names) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1((size_t)data->classes, &data->names));
  for (PetscInt c = 0; c < data->classes; ++c)
    PetscCall(PetscStrallocpy(data->reader->names[settings->nkeep ? settings->keep[c] : c], &data->names[c]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataSelect(CkData data, PetscInt rows, const int32_t labels[], CkVerdict *verdict)
{
  const CkDataSettings *settings = &data->settings;
  const PetscInt        offset = data->companion ? 0 : settings->offset;
  PetscInt              count = data->companion ? CK_COUNT_ALL : settings->count, *number;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)data->reader->classes, &number));
  ClassNumbers(settings, data->reader->classes, number, verdict);
  data->classes = settings->nkeep ? settings->nkeep : data->reader->classes;
  data->selection.available = 0;
  for (PetscInt row = 0; row < rows && !verdict->code; ++row) data->selection.available += number[labels[row]] >= 0;
  if (!verdict->code) CheckRange(data, offset, &count, verdict);
  if (!verdict->code) {
    PetscCall(PetscCalloc1((size_t)data->classes, &data->counts));
    PetscCall(FillSelection(data, rows, labels, number, offset, count));
    PetscCall(NameClasses(data));
  }
  PetscCall(PetscFree(number));
  PetscFunctionReturn(PETSC_SUCCESS);
}
