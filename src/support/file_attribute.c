#include <file_private.h>
#include <string.h>

/* file_attribute.c: groups, links and attributes of a CkFile. HDF5 wants attributes written by all ranks with the same
   value: rank 0's is used. Text is stored with fixed length: text of variable length goes without metadata checksum. */

/* ---- groups and links ---- */

PetscErrorCode CkFileCreateGroup(CkFile file, const char path[])
{
  CkVerdict verdict = {0};
  hid_t     link, group = H5I_INVALID_HID;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_TRUE));
  PetscCall(CkFileCheckSpace(file, 0));
  if (!CkFilePathExists(file->id, path)) {
    link = H5Pcreate(H5P_LINK_CREATE);
    if (link >= 0 && H5Pset_create_intermediate_group(link, 1) >= 0) {
      group = H5Gcreate2(file->id, path, link, H5P_DEFAULT, H5P_DEFAULT);
    }
    if (group < 0) CkFileFailHDF5(file, path, &verdict, PETSC_ERR_FILE_WRITE, "group cannot be created");
    if (group >= 0) (void)H5Gclose(group);
    if (link >= 0) (void)H5Pclose(link);
  }
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileExists(CkFile file, const char path[], PetscBool *exists)
{
  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_FALSE));
  *exists = CkFilePathExists(file->id, path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  PetscInt n, room;
  char   **names;
} NameList;

static herr_t AddName(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
  NameList *list = context;

  (void)group;
  (void)info;
  if (list->n == list->room) {
    list->room = 2 * list->room + 16;
    if (PetscRealloc((size_t)list->room * sizeof(char *), &list->names)) return -1;
  }
  return PetscStrallocpy(name, &list->names[list->n++]) ? -1 : 0;
}

PetscErrorCode CkFileList(CkFile file, const char path[], PetscInt *n, char ***names)
{
  CkVerdict verdict = {0};
  NameList  list = {0};
  hid_t     group = H5I_INVALID_HID;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_FALSE));
  if (!CkFilePathExists(file->id, path)) {
    CkFileFail(file, path, &verdict, PETSC_ERR_FILE_UNEXPECTED, "there is no such group");
  } else if ((group = H5Gopen2(file->id, path, H5P_DEFAULT)) < 0) {
    CkFileFailHDF5(file, path, &verdict, PETSC_ERR_FILE_UNEXPECTED, "is not a group");
  } else if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, AddName, &list) < 0) {
    CkFileFailHDF5(file, path, &verdict, PETSC_ERR_FILE_READ, "cannot be listed");
  }
  if (group >= 0) (void)H5Gclose(group);
  PetscCall(CkFileConclude(file, &verdict));
  *n = list.n;
  *names = list.names;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- writing ---- */

PetscErrorCode CkFileAddRecord(CkFile file, const CkFileRecord *record)
{
  CkFileRecord *copy;

  PetscFunctionBeginUser;
  if (file->n_records == file->room_records) {
    file->room_records = 2 * file->room_records + 16;
    PetscCall(PetscRealloc((size_t)file->room_records * sizeof(CkFileRecord), &file->records));
  }
  copy = &file->records[file->n_records++];
  *copy = *record;
  copy->path = copy->attribute = NULL;
  PetscCall(PetscStrallocpy(record->path, &copy->path));
  PetscCall(PetscStrallocpy(record->attribute, &copy->attribute));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The record of an attribute that is about to be replaced no longer holds. */
static PetscErrorCode DropRecord(CkFile file, const char path[], const char name[])
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < file->n_records; ++i) {
    CkFileRecord *r = &file->records[i];

    if (!r->attribute || strcmp(r->path, path) || strcmp(r->attribute, name)) continue;
    PetscCall(PetscFree(r->path));
    PetscCall(PetscFree(r->attribute));
    (void)H5Tclose(r->type);
    *r = file->records[--file->n_records];
    break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank-local. memory: type of data; stored: type in the file. */
static herr_t WriteAttribute(hid_t id, const char path[], const char name[], hid_t memory, hid_t stored, hid_t space,
                             const void *data)
{
  const hid_t object = H5Oopen(id, path, H5P_DEFAULT);
  hid_t       attribute = H5I_INVALID_HID;
  herr_t      status = -1;

  if (object >= 0 && (H5Aexists(object, name) == 0 || H5Adelete(object, name) >= 0)) {
    attribute = H5Acreate2(object, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
  }
  if (attribute >= 0) status = H5Awrite(attribute, memory, data);
  if (attribute >= 0 && H5Aclose(attribute) < 0) status = -1;
  if (object >= 0 && H5Oclose(object) < 0) status = -1;
  return status;
}

/* Collective: n numbers of type memory (n < 0: one scalar); closes space. */
static PetscErrorCode PutAttribute(CkFile file, const char path[], const char name[], hid_t memory, hid_t stored,
                                   hid_t space, size_t bytes, const void *data)
{
  CkVerdict    verdict = {0};
  CkFileRecord record = {.path = (char *)path, .attribute = (char *)name, .bytes = bytes};

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_TRUE));
  PetscCall(CkFileCheckSpace(file, (double)bytes));
  PetscCall(DropRecord(file, path, name));
  if (!CkFilePathExists(file->id, path)) {
    CkFileFail(file, path, &verdict, PETSC_ERR_ARG_WRONG, "no such object to give the attribute %s", name);
  } else if (space < 0 || WriteAttribute(file->id, path, name, memory, stored, space, data) < 0) {
    CkFileFailHDF5(file, path, &verdict, PETSC_ERR_FILE_WRITE, "attribute cannot be written");
  }
  if (space >= 0) (void)H5Sclose(space);
  PetscCall(CkFileConclude(file, &verdict));
  record.checksum = CkChecksum(0, data, bytes);
  record.type = H5Tcopy(memory);
  PetscCall(CkFileAddRecord(file, &record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileWriteString(CkFile file, const char path[], const char name[], const char value[])
{
  PetscInt64 length = file->rank == 0 ? (PetscInt64)strlen(value) + 1 : 0;
  char      *text;
  hid_t      type;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(&length, 1, MPIU_INT64, 0, file->comm));
  PetscCall(PetscMalloc1((size_t)length, &text));
  if (file->rank == 0) PetscCall(PetscArraycpy(text, value, (size_t)length));
  PetscCallMPI(MPI_Bcast(text, (PetscMPIInt)length, MPI_CHAR, 0, file->comm));
  type = H5Tcopy(H5T_C_S1);
  CkCallHDF5(type);
  CkCallHDF5(H5Tset_size(type, (size_t)length));
  CkCallHDF5(H5Tset_cset(type, H5T_CSET_UTF8));
  PetscCall(PutAttribute(file, path, name, type, type, H5Screate(H5S_SCALAR), (size_t)length, text));
  CkCallHDF5(H5Tclose(type));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileWriteReal(CkFile file, const char path[], const char name[], double value)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(&value, 1, MPI_DOUBLE, 0, file->comm));
  PetscCall(
    PutAttribute(file, path, name, H5T_NATIVE_DOUBLE, H5T_IEEE_F64LE, H5Screate(H5S_SCALAR), sizeof(value), &value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileWriteInt(CkFile file, const char path[], const char name[], PetscInt64 value)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(&value, 1, MPIU_INT64, 0, file->comm));
  PetscCall(
    PutAttribute(file, path, name, H5T_NATIVE_INT64, H5T_STD_I64LE, H5Screate(H5S_SCALAR), sizeof(value), &value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileWriteReals(CkFile file, const char path[], const char name[], PetscInt n, const double values[])
{
  const hsize_t length = (hsize_t)n;
  double       *copy;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)n + 1, &copy)); /* HDF5 refuses NULL even for no numbers */
  if (file->rank == 0) PetscCall(PetscArraycpy(copy, values, n));
  PetscCallMPI(MPI_Bcast(copy, (PetscMPIInt)n, MPI_DOUBLE, 0, file->comm));
  PetscCall(PutAttribute(file, path, name, H5T_NATIVE_DOUBLE, H5T_IEEE_F64LE, H5Screate_simple(1, &length, NULL),
                         (size_t)n * sizeof(double), copy));
  PetscCall(PetscFree(copy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- reading ---- */

/* Rank-local: opens an attribute; negative, without a failure, if it is missing and `found` may say so. */
static hid_t OpenAttribute(CkFile file, hid_t id, const char path[], const char name[], CkVerdict *verdict,
                           PetscBool *found)
{
  hid_t attribute = H5I_INVALID_HID;

  if (found) *found = PETSC_FALSE;
  if (!CkFilePathExists(id, path)) {
    CkFileFail(file, path, verdict, PETSC_ERR_FILE_UNEXPECTED, "there is no such object");
  } else if (H5Aexists_by_name(id, path, name, H5P_DEFAULT) <= 0) {
    if (!found) CkFileFail(file, path, verdict, PETSC_ERR_FILE_UNEXPECTED, "has no attribute %s", name);
  } else {
    attribute = H5Aopen_by_name(id, path, name, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0) CkFileFailHDF5(file, path, verdict, PETSC_ERR_FILE_READ, "attribute cannot be opened");
    else if (found) *found = PETSC_TRUE;
  }
  return attribute;
}

static hssize_t AttributeNumbers(hid_t attribute)
{
  const hid_t    space = H5Aget_space(attribute);
  const hssize_t n = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);

  if (space >= 0) (void)H5Sclose(space);
  return n;
}

static PetscBool AttributeIs(hid_t attribute, H5T_class_t class_a, H5T_class_t class_b)
{
  const hid_t     type = H5Aget_type(attribute);
  const PetscBool yes = (PetscBool)(H5Tget_class(type) == class_a || H5Tget_class(type) == class_b);

  if (type >= 0) (void)H5Tclose(type);
  return yes;
}

/* Text as stored by us (fixed length) or by others (variable length); NULL on failure. Free with PetscFree(). */
static char *ReadText(hid_t attribute)
{
  const hid_t type = H5Aget_type(attribute);
  hid_t       memory = H5I_INVALID_HID;
  char       *text = NULL, *variable = NULL;

  if (type >= 0 && H5Tis_variable_str(type) > 0) {
    memory = H5Tget_native_type(type, H5T_DIR_DEFAULT);
    if (memory >= 0 && H5Aread(attribute, memory, &variable) >= 0) {
      if (PetscStrallocpy(variable ? variable : "", &text)) text = NULL;
      (void)H5free_memory(variable);
    }
  } else if (type >= 0 && !PetscCalloc1(H5Tget_size(type) + 1, &text) && H5Aread(attribute, type, text) < 0) {
    (void)PetscFree(text);
  }
  if (memory >= 0) (void)H5Tclose(memory);
  if (type >= 0) (void)H5Tclose(type);
  return text;
}

PetscErrorCode CkFileReadString(CkFile file, const char path[], const char name[], char value[], size_t length,
                                PetscBool *found)
{
  CkVerdict verdict = {0};
  hid_t     attribute;
  char     *text = NULL;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_FALSE));
  attribute = OpenAttribute(file, file->id, path, name, &verdict, found);
  if (attribute >= 0) {
    if (!AttributeIs(attribute, H5T_STRING, H5T_STRING) || AttributeNumbers(attribute) != 1) {
      CkFileFail(file, path, &verdict, PETSC_ERR_FILE_UNEXPECTED, "attribute %s is not one text", name);
    } else if (!(text = ReadText(attribute))) {
      CkFileFailHDF5(file, path, &verdict, PETSC_ERR_FILE_READ, "attribute cannot be read");
    } else if (strlen(text) >= length) {
      CkFileFail(file, path, &verdict, PETSC_ERR_FILE_UNEXPECTED, "attribute %s has %zu bytes, room for %zu", name,
                 strlen(text), length - 1);
    } else {
      (void)PetscStrncpy(value, text, length);
    }
    (void)H5Aclose(attribute);
  }
  PetscCall(PetscFree(text));
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank-local: up to *n numbers, then *n is how many there are. */
static void ReadNumbers(CkFile file, const char path[], const char name[], hid_t memory, hssize_t *n, void *values,
                        CkVerdict *verdict, PetscBool *found)
{
  const H5T_class_t real = H5Tget_class(memory) == H5T_FLOAT ? H5T_FLOAT : H5T_INTEGER;
  const hid_t       attribute = OpenAttribute(file, file->id, path, name, verdict, found);
  const hssize_t    room = *n;

  if (attribute < 0) return;
  *n = AttributeNumbers(attribute);
  if (!AttributeIs(attribute, H5T_INTEGER, real)) {
    CkFileFail(file, path, verdict, PETSC_ERR_FILE_UNEXPECTED, "attribute %s is not %s", name,
               real == H5T_FLOAT ? "a number" : "an integer");
  } else if (*n < 0 || *n > room) {
    CkFileFail(file, path, verdict, PETSC_ERR_FILE_UNEXPECTED, "attribute %s has %lld numbers, room for %lld", name,
               (long long)*n, (long long)room);
  } else if (*n > 0 && H5Aread(attribute, memory, values) < 0) {
    CkFileFailHDF5(file, path, verdict, PETSC_ERR_FILE_READ, "attribute cannot be read");
  }
  (void)H5Aclose(attribute);
}

static PetscErrorCode ReadNumber(CkFile file, const char path[], const char name[], hid_t memory, void *value,
                                 PetscBool *found)
{
  CkVerdict verdict = {0};
  hssize_t  n = 1;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_FALSE));
  ReadNumbers(file, path, name, memory, &n, value, &verdict, found);
  if (!verdict.code && n != 1) {
    CkFileFail(file, path, &verdict, PETSC_ERR_FILE_UNEXPECTED, "attribute %s is empty", name);
  }
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileReadReal(CkFile file, const char path[], const char name[], double *value, PetscBool *found)
{
  PetscFunctionBeginUser;
  PetscCall(ReadNumber(file, path, name, H5T_NATIVE_DOUBLE, value, found));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileReadInt(CkFile file, const char path[], const char name[], PetscInt64 *value, PetscBool *found)
{
  PetscFunctionBeginUser;
  PetscCall(ReadNumber(file, path, name, H5T_NATIVE_INT64, value, found));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileReadReals(CkFile file, const char path[], const char name[], PetscInt *n, double values[],
                               PetscBool *found)
{
  CkVerdict verdict = {0};
  hssize_t  numbers = *n;
  PetscBool there = PETSC_TRUE;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_FALSE));
  ReadNumbers(file, path, name, H5T_NATIVE_DOUBLE, &numbers, values, &verdict, found ? &there : NULL);
  PetscCall(CkFileConclude(file, &verdict));
  if (there) *n = (PetscInt)numbers;
  if (found) *found = there;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkFileVerifyAttribute(CkFile file, hid_t id, const CkFileRecord *record, CkVerdict *verdict)
{
  const hid_t attribute = OpenAttribute(file, id, record->path, record->attribute, verdict, NULL);
  const hid_t type = attribute < 0 ? H5I_INVALID_HID : H5Aget_type(attribute);
  char       *bytes = NULL;

  if (verdict->code) return;
  if (type < 0 || H5Tget_size(record->type) * (size_t)PetscMax(AttributeNumbers(attribute), 0) != record->bytes ||
      H5Tget_size(type) != H5Tget_size(record->type) || PetscCalloc1(record->bytes, &bytes) ||
      (record->bytes && H5Aread(attribute, record->type, bytes) < 0) ||
      CkChecksum(0, bytes, record->bytes) != record->checksum) {
    CkFileFail(file, record->path, verdict, PETSC_ERR_FILE_WRITE,
               "attribute %s read back differs from what was written; disk full?", record->attribute);
  }
  (void)PetscFree(bytes);
  if (type >= 0) (void)H5Tclose(type);
  (void)H5Aclose(attribute);
}
