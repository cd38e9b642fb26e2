#include <file_private.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* file_inputs.c: the files that this run reads, so that none of them is replaced by a result. */

typedef struct Input {
  struct Input *next;
  char          path[];
} Input;

static Input *inputs = NULL; /* lives as long as the program */

void CkFileNoteInput(const char path[])
{
  const size_t bytes = strlen(path) + 1;
  struct stat  status;
  Input       *input = inputs;

  while (input && strcmp(input->path, path) != 0) input = input->next;
  if (input || stat(path, &status) || !S_ISREG(status.st_mode)) return;
  input = malloc(sizeof(*input) + bytes);
  if (!input) return;
  input->next = inputs;
  memcpy(input->path, path, bytes);
  inputs = input;
}

/* Whether the path leads to one of them, be it by another name. */
static PetscBool IsInput(const char path[])
{
  struct stat output, status;

  if (stat(path, &output)) return PETSC_FALSE;
  for (const Input *input = inputs; input; input = input->next)
    if (stat(input->path, &status) == 0 && status.st_dev == output.st_dev && status.st_ino == output.st_ino)
      return PETSC_TRUE;
  return PETSC_FALSE;
}

PetscErrorCode CkFileCheckOutput(MPI_Comm comm, const char name[])
{
  PetscFunctionBeginUser;
  CkCheckAll(comm, !IsInput(name), PETSC_ERR_FILE_WRITE,
             "%s is a file that this run reads; write the result under another name", name);
  PetscFunctionReturn(PETSC_SUCCESS);
}
