#include "reader.h"
#include <stdio.h>
#include <string.h>

/* reader_fashion_mnist.c: the keyword fashion-mnist: the IDX files of Debian's package. */
#define FOLDER "/usr/share/datasets/fashion-mnist"

static const char *const names[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                    "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

static PetscBool Probe(const CkDataSettings *settings)
{
  return (PetscBool)(strcmp(settings->path, "fashion-mnist") == 0);
}

PetscErrorCode CkFashionMnistOpenIn(CkReader reader, const char dir[], CkVerdict *verdict)
{
  PetscFunctionBeginUser;
  PetscCall(CkIdxOpenDirectory(reader, dir, verdict));
  if (!reader->exists)
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN,
                  "fashion-mnist: no images in %s: Debian package dataset-fashion-mnist is not installed; run "
                  "'apt-get install dataset-fashion-mnist', or name a folder with the four IDX files",
                  dir);
  if (!verdict->code && reader->classes != 10)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: has %" PetscInt_FMT " classes, Fashion-MNIST has 10", dir,
                  reader->classes);
  if (!verdict->code) PetscCall(CkReaderSetNames(reader, 10, names));
  snprintf(reader->title, sizeof(reader->title), "Fashion-MNIST");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CkReader reader, CkVerdict *verdict)
{
  PetscFunctionBeginUser;
  PetscCall(CkFashionMnistOpenIn(reader, FOLDER, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkReaderOps CkReaderFashionMnist = {.name = "fashion-mnist",
                                          .summary = "the images of Debian package dataset-fashion-mnist",
                                          .keys = "",
                                          .probe = Probe,
                                          .open = Open,
                                          .labels = CkIdxLabels,
                                          .features = CkIdxFeatures,
                                          .verify = CkIdxVerify,
                                          .close = CkIdxClose};
