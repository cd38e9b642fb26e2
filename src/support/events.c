#include <clarkia/progress.h>

PetscLogEvent CK_Forward, CK_Backward, CK_Tile, CK_Gram, CK_Reduce, CK_Eig, CK_IO;

PetscErrorCode CkEventsRegister(void)
{
  static PetscBool registered = PETSC_FALSE;
  const struct {
    const char    *name;
    PetscLogEvent *event;
  } events[] = {{"forward", &CK_Forward}, {"backward", &CK_Backward}, {"tile", &CK_Tile}, {"gram", &CK_Gram},
                {"reduce", &CK_Reduce},   {"eig", &CK_Eig},           {"io", &CK_IO}};
  PetscClassId id;

  PetscFunctionBeginUser;
  if (registered) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscClassIdRegister("Clarkia", &id));
  for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); ++i)
    PetscCall(PetscLogEventRegister(events[i].name, id, events[i].event));
  registered = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
