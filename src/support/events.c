#include <clarkia/progress.h>

PetscLogEvent CK_Columns, CK_Samples, CK_Forward, CK_Backward, CK_Gradient, CK_Dot, CK_Accumulate, CK_Flush, CK_Wait,
  CK_Reduce, CK_Tile, CK_Gram, CK_Eig, CK_IO;

PetscErrorCode CkEventsRegister(void)
{
  static PetscBool registered = PETSC_FALSE;
  const struct {
    const char    *name;
    PetscLogEvent *event;
  } events[] = {{"columns", &CK_Columns},
                {"samples", &CK_Samples},
                {"forward", &CK_Forward},
                {"backward", &CK_Backward},
                {"gradient", &CK_Gradient},
                {"dot", &CK_Dot},
                {"accumulate", &CK_Accumulate},
                {"flush", &CK_Flush},
                {"wait", &CK_Wait},
                {"reduce", &CK_Reduce},
                {"tile", &CK_Tile},
                {"gram", &CK_Gram},
                {"eig", &CK_Eig},
                {"io", &CK_IO}};
  PetscClassId id;

  PetscFunctionBeginUser;
  if (registered) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscClassIdRegister("Clarkia", &id));
  for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); ++i)
    PetscCall(PetscLogEventRegister(events[i].name, id, events[i].event));
  registered = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
