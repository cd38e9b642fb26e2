#include <clarkia/net.h>

/* A program of someone else's: how many weights has small-lenet? */
int main(int argc, char **argv)
{
  CkNet    net;
  PetscInt d;

  PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
  PetscCall(CkNetCreate(PETSC_COMM_WORLD, &net));
  PetscCall(CkNetSetZoo(net, "small-lenet", (CkShape){1, 28, 28}, 10));
  PetscCall(CkNetSetUp(net));
  PetscCall(CkNetGetDimension(net, &d));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "small-lenet has %" PetscInt_FMT " weights\n", d));
  PetscCall(CkNetDestroy(&net));
  return PetscFinalize() ? 1 : 0;
}
