#include <file_private.h>
#include <string.h>

/* file_dataset.c: datasets of a CkFile: types, creation, rows in and out. */

/* ---- types ---- */

static const struct {
  const char *name;
  size_t      size;
} types[] = {[CK_U8] = {"uint8", 1},
             [CK_I32] = {"int32", 4},
             [CK_I64] = {"int64", 8},
             [CK_F32] = {"float32", 4},
             [CK_F64] = {"float64", 8}};

size_t CkTypeSize(CkType type)
{
  return types[type].size;
}

const char *CkTypeName(CkType type)
{
  return types[type].name;
}

hid_t CkTypeMemory(CkType type)
{
  switch (type) {
  case CK_U8:
    return H5T_NATIVE_UINT8;
  case CK_I32:
    return H5T_NATIVE_INT32;
  case CK_I64:
    return H5T_NATIVE_INT64;
  case CK_F32:
    return H5T_NATIVE_FLOAT;
  case CK_F64:
    return H5T_NATIVE_DOUBLE;
  }
  return H5I_INVALID_HID;
}

/* The same on every machine that writes the file. */
static hid_t TypeStored(CkType type)
{
  switch (type) {
  case CK_U8:
    return H5T_STD_U8LE;
  case CK_I32:
    return H5T_STD_I32LE;
  case CK_I64:
    return H5T_STD_I64LE;
  case CK_F32:
    return H5T_IEEE_F32LE;
  case CK_F64:
    return H5T_IEEE_F64LE;
  }
  return H5I_INVALID_HID;
}

/* The smallest CkType that holds every value of a stored type. */
static PetscBool TypeOf(hid_t stored, CkType *type)
{
  const size_t size = H5Tget_size(stored);

  if (H5Tget_class(stored) == H5T_FLOAT && size <= 8) {
    *type = size <= 4 ? CK_F32 : CK_F64;
  } else if (H5Tget_class(stored) == H5T_INTEGER && H5Tget_sign(stored) == H5T_SGN_NONE && size < 8) {
    *type = size == 1 ? CK_U8 : size == 2 ? CK_I32 : CK_I64;
  } else if (H5Tget_class(stored) == H5T_INTEGER && H5Tget_sign(stored) == H5T_SGN_2 && size <= 8) {
    *type = size <= 4 ? CK_I32 : CK_I64;
  } else {
    return PETSC_FALSE;
  }
  return PETSC_TRUE;
}

static const char *ClassName(hid_t stored)
{
  switch (H5Tget_class(stored)) {
  case H5T_INTEGER:
    return "an integer too wide for int64";
  case H5T_FLOAT:
    return "a real wider than float64";
  case H5T_STRING:
    return "text";
  case H5T_COMPOUND:
    return "a compound (or complex numbers)";
  case H5T_ENUM:
    return "an enumeration (or booleans)";
  default:
    return "of no numeric type";
  }
}

/* ---- opening ---- */

PetscBool CkFilePathExists(hid_t id, const char path[])
{
  char part[PETSC_MAX_PATH_LEN];

  if (strlen(path) >= sizeof(part)) return PETSC_FALSE;
  /* H5Lexists() wants every link before the last to exist */
  for (const char *end = path; *end;) {
    end += strspn(end, "/");
    if (!*end) break;
    end += strcspn(end, "/");
    (void)PetscStrncpy(part, path, (size_t)(end - path) + 1);
    if (H5Lexists(id, part, H5P_DEFAULT) <= 0) return PETSC_FALSE;
  }
  return PETSC_TRUE;
}

static PetscBool IsDataset(hid_t id, const char path[])
{
  const hid_t     object = H5Oopen(id, path, H5P_DEFAULT);
  const PetscBool yes = (PetscBool)(object >= 0 && H5Iget_type(object) == H5I_DATASET);

  if (object >= 0) (void)H5Oclose(object);
  return yes;
}

void CkFileCloseDataset(CkFileDatasetHandle *dataset)
{
  if (dataset->stored >= 0) (void)H5Tclose(dataset->stored);
  if (dataset->id >= 0) (void)H5Dclose(dataset->id);
  dataset->id = dataset->stored = H5I_INVALID_HID;
}

static void GetShape(CkFile file, const char path[], CkVerdict *verdict, CkFileDatasetHandle *dataset)
{
  const hid_t space = H5Dget_space(dataset->id);
  hsize_t     shape[H5S_MAX_RANK];

  dataset->rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, shape, NULL);
  if (space < 0 || dataset->rank < 0) {
    CkFileFailHDF5(file, path, verdict, PETSC_ERR_FILE_READ, "has no shape");
  } else if (dataset->rank < 1 || dataset->rank > CK_MAX_RANK) {
    CkFileFail(file, path, verdict, PETSC_ERR_FILE_UNEXPECTED, "has %d axes, expected 1 to %d", dataset->rank,
               CK_MAX_RANK);
  } else {
    for (int i = 0; i < dataset->rank; ++i) dataset->shape[i] = (PetscInt64)shape[i];
  }
  if (space >= 0) (void)H5Sclose(space);
}

void CkFileOpenDataset(CkFile file, hid_t id, const char path[], CkVerdict *verdict, CkFileDatasetHandle *dataset)
{
  memset(dataset, 0, sizeof(*dataset));
  dataset->id = dataset->stored = H5I_INVALID_HID;
  if (!CkFilePathExists(id, path)) {
    CkFileFail(file, path, verdict, PETSC_ERR_FILE_UNEXPECTED, "there is no such dataset");
    return;
  }
  if (!IsDataset(id, path)) {
    CkFileFail(file, path, verdict, PETSC_ERR_FILE_UNEXPECTED, "is not a dataset");
    return;
  }
  dataset->id = H5Dopen2(id, path, H5P_DEFAULT);
  dataset->stored = dataset->id < 0 ? H5I_INVALID_HID : H5Dget_type(dataset->id);
  if (dataset->stored < 0) {
    CkFileFailHDF5(file, path, verdict, PETSC_ERR_FILE_READ, "cannot be opened");
  } else if (!TypeOf(dataset->stored, &dataset->type)) {
    CkFileFail(file, path, verdict, PETSC_ERR_FILE_UNEXPECTED, "is %s; expected integers or reals",
               ClassName(dataset->stored));
  } else {
    GetShape(file, path, verdict, dataset);
  }
  if (verdict->code) CkFileCloseDataset(dataset);
}

PetscErrorCode CkFileGetDataset(CkFile file, const char path[], CkType *type, int *rank, PetscInt64 shape[CK_MAX_RANK])
{
  CkVerdict           verdict = {0};
  CkFileDatasetHandle dataset;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_FALSE));
  CkFileOpenDataset(file, file->id, path, &verdict, &dataset);
  CkFileCloseDataset(&dataset);
  PetscCall(CkFileConclude(file, &verdict));
  if (type) *type = dataset.type;
  if (rank) *rank = dataset.rank;
  if (shape) PetscCall(PetscArraycpy(shape, dataset.shape, CK_MAX_RANK));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- creation ---- */

/* chunk: NULL, or the shape of the pieces in which the numbers lie; then the first axis may grow. */
static hid_t CreateDataset(hid_t id, const char path[], CkType type, int rank, const PetscInt64 shape[],
                           const PetscInt64 chunk[])
{
  hsize_t dims[CK_MAX_RANK], limits[CK_MAX_RANK], pieces[CK_MAX_RANK];
  hid_t   space, create = H5Pcreate(H5P_DATASET_CREATE), link = H5Pcreate(H5P_LINK_CREATE), dataset = H5I_INVALID_HID;

  for (int i = 0; i < rank; ++i) {
    dims[i] = limits[i] = (hsize_t)shape[i];
    pieces[i] = chunk ? (hsize_t)chunk[i] : 0;
  }
  limits[0] = chunk ? H5S_UNLIMITED : dims[0];
  space = H5Screate_simple(rank, dims, limits);
  /* no fill values: CkFileCommit() sees to it that every row is written; no times: same content, same bytes */
  if (space >= 0 && create >= 0 && link >= 0 && (!chunk || H5Pset_chunk(create, rank, pieces) >= 0) &&
      H5Pset_fill_time(create, H5D_FILL_TIME_NEVER) >= 0 && H5Pset_obj_track_times(create, false) >= 0 &&
      H5Pset_create_intermediate_group(link, 1) >= 0) {
    dataset = H5Dcreate2(id, path, TypeStored(type), space, link, create, H5P_DEFAULT);
  }
  if (space >= 0) (void)H5Sclose(space);
  if (create >= 0) (void)H5Pclose(create);
  if (link >= 0) (void)H5Pclose(link);
  return dataset;
}

/* With the place of its numbers in the file, which parallel HDF5 fixes at creation. */
static PetscErrorCode AddDataset(CkFile file, const char path[], PetscInt64 rows, PetscBool growing, hid_t id)
{
  CkFileDataset *dataset;

  PetscFunctionBeginUser;
  if (file->n_datasets == file->room_datasets) {
    file->room_datasets = 2 * file->room_datasets + 16;
    PetscCall(PetscRealloc((size_t)file->room_datasets * sizeof(CkFileDataset), &file->datasets));
  }
  dataset = &file->datasets[file->n_datasets++];
  PetscCall(PetscStrallocpy(path, &dataset->path));
  dataset->rows = rows;
  dataset->written = 0;
  dataset->growing = growing;
  dataset->offset = H5Dget_offset(id);
  dataset->bytes = dataset->offset == HADDR_UNDEF ? 0 : H5Dget_storage_size(id);
  if (growing) file->growing += (double)H5Dget_storage_size(id);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NewDataset(CkFile file, const char path[], CkType type, int rank, const PetscInt64 shape[],
                                 const PetscInt64 chunk[], const char units[], const char description[])
{
  CkVerdict verdict = {0};
  double    bytes = (double)CkTypeSize(type);
  hid_t     dataset;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_TRUE));
  PetscCheck(rank >= 1 && rank <= CK_MAX_RANK, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%s:%s: rank %d not in 1..%d",
             file->name, path, rank, CK_MAX_RANK);
  for (int i = 0; i < rank; ++i) {
    PetscCheck(shape[i] >= 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%s:%s: axis %d has length %" PetscInt64_FMT,
               file->name, path, i, shape[i]);
    bytes *= (double)shape[i];
  }
  PetscCall(CkFileCheckSpace(file, bytes));
  dataset = CreateDataset(file->id, path, type, rank, shape, chunk);
  if (dataset < 0) CkFileFailHDF5(file, path, &verdict, PETSC_ERR_FILE_WRITE, "cannot be created");
  else PetscCall(AddDataset(file, path, shape[0], (PetscBool)(chunk != NULL), dataset));
  if (dataset >= 0 && H5Dclose(dataset) < 0) {
    CkFileFailHDF5(file, path, &verdict, PETSC_ERR_FILE_WRITE, "cannot be closed");
  }
  PetscCall(CkFileConclude(file, &verdict));
  file->reserved += bytes;
  PetscCall(CkFileWriteString(file, path, "units", units));
  PetscCall(CkFileWriteString(file, path, "description", description));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileCreateDataset(CkFile file, const char path[], CkType type, int rank, const PetscInt64 shape[],
                                   const char units[], const char description[])
{
  PetscFunctionBeginUser;
  PetscCheck(file->growing == 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "%s:%s: datasets that grow come last", file->name,
             path);
  PetscCall(NewDataset(file, path, type, rank, shape, NULL, units, description));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileCreateGrowing(CkFile file, const char path[], CkType type, int rank, const PetscInt64 shape[],
                                   const PetscInt64 chunk[], const char units[], const char description[])
{
  PetscFunctionBeginUser;
  PetscCall(NewDataset(file, path, type, rank, shape, chunk, units, description));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- transfers ---- */

typedef enum { WRITE, READ, VERIFY } Direction;

typedef struct {
  Direction direction;
  hid_t     dataset, memory, settings;
  int       rank;
  size_t    size, piece; /* bytes of a number; of the largest piece */
  char     *data;        /* next byte; VERIFY: scratch of `piece` bytes */
  uint64_t  checksum;    /* VERIFY: of what was read */
} Transfer;

/* One hyperslab; data move on behind it. */
static herr_t TransferPiece(Transfer *t, const hsize_t start[], const hsize_t count[], size_t bytes)
{
  /* the same shape as in the file: else HDF5 goes over pieces number by number */
  hid_t  memory = H5Screate_simple(t->rank, count, NULL), stored = H5Dget_space(t->dataset);
  herr_t status = -1;

  if (memory >= 0 && stored >= 0 && H5Sselect_hyperslab(stored, H5S_SELECT_SET, start, NULL, count, NULL) >= 0) {
    if (t->direction == WRITE) status = H5Dwrite(t->dataset, t->memory, memory, stored, t->settings, t->data);
    else status = H5Dread(t->dataset, t->memory, memory, stored, t->settings, t->data);
  }
  if (memory >= 0) (void)H5Sclose(memory);
  if (stored >= 0) (void)H5Sclose(stored);
  if (t->direction == VERIFY) t->checksum = CkChecksum(t->checksum, t->data, bytes);
  else t->data += bytes;
  return status;
}

/* Halves the first axis that can be halved until a piece is small enough; pieces come in the order of memory. */
static herr_t TransferBox(Transfer *t, const hsize_t start[], const hsize_t count[])
{
  hsize_t first[CK_MAX_RANK], n[CK_MAX_RANK], bytes = t->size;
  int     axis = -1;

  for (int i = t->rank - 1; i >= 0; --i) {
    bytes *= count[i];
    if (count[i] > 1) axis = i;
  }
  if (bytes == 0) return 0;
  if (bytes <= t->piece || axis < 0) return TransferPiece(t, start, count, (size_t)bytes);
  memcpy(first, start, sizeof(first[0]) * (size_t)t->rank);
  memcpy(n, count, sizeof(n[0]) * (size_t)t->rank);
  n[axis] = count[axis] / 2;
  if (TransferBox(t, first, n) < 0) return -1;
  first[axis] += n[axis];
  n[axis] = count[axis] - n[axis];
  return TransferBox(t, first, n);
}

/* Numbers are converted exactly or not at all; only float64 to float32 rounds. */
static H5T_conv_ret_t RefuseInexact(H5T_conv_except_t what, hid_t from, hid_t to, void *in, void *out, void *context)
{
  (void)from;
  (void)to;
  (void)in;
  (void)out;
  *(PetscBool *)context = (PetscBool)(what != H5T_CONV_EXCEPT_PRECISION || H5Tget_class(from) == H5T_INTEGER);
  return *(PetscBool *)context ? H5T_CONV_ABORT : H5T_CONV_UNHANDLED;
}

static herr_t TransferPart(Transfer *t, const CkFileDatasetHandle *dataset, const hsize_t start[], const hsize_t n[],
                           PetscBool *inexact)
{
  herr_t status = -1;

  t->dataset = dataset->id;
  t->rank = dataset->rank;
  t->settings = H5Pcreate(H5P_DATASET_XFER);
  *inexact = PETSC_FALSE;
  if (t->settings >= 0 && H5Pset_dxpl_mpio(t->settings, H5FD_MPIO_INDEPENDENT) >= 0 &&
      H5Pset_type_conv_cb(t->settings, RefuseInexact, inexact) >= 0) {
    status = TransferBox(t, start, n);
  }
  if (t->settings >= 0) (void)H5Pclose(t->settings);
  return status;
}

static herr_t TransferRows(Transfer *t, const CkFileDatasetHandle *dataset, PetscInt64 first, PetscInt64 count,
                           PetscBool *inexact)
{
  hsize_t start[CK_MAX_RANK] = {0}, n[CK_MAX_RANK];

  for (int i = 1; i < dataset->rank; ++i) n[i] = (hsize_t)dataset->shape[i];
  start[0] = (hsize_t)first;
  n[0] = (hsize_t)count;
  return TransferPart(t, dataset, start, n, inexact);
}

herr_t CkFileTransferBox(CkFile file, const CkFileDatasetHandle *dataset, PetscBool writing, CkType type,
                         const PetscInt64 start[], const PetscInt64 count[], void *data, PetscBool *inexact)
{
  Transfer t = {.direction = writing ? WRITE : READ,
                .memory = CkTypeMemory(type),
                .size = CkTypeSize(type),
                .piece = file->piece,
                .data = data};
  hsize_t  first[CK_MAX_RANK], n[CK_MAX_RANK];

  for (int i = 0; i < dataset->rank; ++i) {
    first[i] = (hsize_t)start[i];
    n[i] = (hsize_t)count[i];
  }
  return TransferPart(&t, dataset, first, n, inexact);
}

static PetscInt64 RowNumbers(const CkFileDatasetHandle *dataset)
{
  PetscInt64 n = 1;

  for (int i = 1; i < dataset->rank; ++i) n *= dataset->shape[i];
  return n;
}

/* Rank-local: opens the dataset and checks the range of rows. */
static void OpenRows(CkFile file, const char path[], PetscInt64 first, PetscInt64 count, CkVerdict *verdict,
                     CkFileDatasetHandle *dataset)
{
  CkFileOpenDataset(file, file->id, path, verdict, dataset);
  if (verdict->code) return;
  if (first < 0 || count < 0 || count > dataset->shape[0] || first > dataset->shape[0] - count) {
    CkFileFail(file, path, verdict, PETSC_ERR_ARG_OUTOFRANGE,
               "rows %" PetscInt64_FMT " to %" PetscInt64_FMT " asked for, it has %" PetscInt64_FMT, first,
               first + count - 1, dataset->shape[0]);
    CkFileCloseDataset(dataset);
  }
}

static CkFileDataset *FindCreated(CkFile file, const char path[])
{
  for (PetscInt i = 0; i < file->n_datasets; ++i) {
    if (!strcmp(file->datasets[i].path, path)) return &file->datasets[i];
  }
  return NULL;
}

/* Rank-local: programming errors of the caller, told as user errors so that all ranks leave together. */
static void CheckWrite(CkFile file, const char path[], CkType type, PetscInt64 first, PetscInt64 count,
                       const CkFileDatasetHandle *dataset, CkVerdict *verdict)
{
  if (!FindCreated(file, path)) {
    CkFileFail(file, path, verdict, PETSC_ERR_ARG_WRONG, "was created under another name");
  }
  if (type != dataset->type) {
    CkFileFail(file, path, verdict, PETSC_ERR_ARG_WRONG, "is of type %s, %s given", CkTypeName(dataset->type),
               CkTypeName(type));
  }
  for (PetscInt i = 0; i < file->n_records && count > 0; ++i) {
    const CkFileRecord *r = &file->records[i];

    if (!r->attribute && !strcmp(r->path, path) && first < r->first + r->count && r->first < first + count) {
      CkFileFail(file, path, verdict, PETSC_ERR_ARG_WRONGSTATE, "row %" PetscInt64_FMT " is written twice",
                 PetscMax(first, r->first));
    }
  }
}

static void WriteRows(CkFile file, CkType type, const CkFileDatasetHandle *dataset, CkFileRecord *record,
                      const void *data, CkVerdict *verdict)
{
  Transfer  t = {.direction = WRITE, .memory = CkTypeMemory(type), .size = CkTypeSize(type), .piece = file->piece};
  PetscBool inexact;

  record->bytes = (size_t)record->count * (size_t)RowNumbers(dataset) * t.size;
  record->checksum = CkChecksum(0, data, record->bytes); /* before anything could go wrong */
  t.data = (char *)data;
  if (TransferRows(&t, dataset, record->first, record->count, &inexact) < 0) {
    CkFileFailHDF5(file, record->path, verdict, PETSC_ERR_FILE_WRITE, "cannot be written; disk full?");
  }
}

PetscErrorCode CkFileWriteRows(CkFile file, const char path[], CkType type, PetscInt64 first, PetscInt64 count,
                               const void *data)
{
  CkVerdict           verdict = {0};
  CkFileDatasetHandle dataset;
  CkFileRecord        record = {.path = (char *)path, .first = first, .count = count};
  double              bytes = 0;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_TRUE));
  PetscCall(CkFileCheckSpace(file, 0));
  OpenRows(file, path, first, count, &verdict, &dataset);
  if (!verdict.code) CheckWrite(file, path, type, first, count, &dataset, &verdict);
  if (!verdict.code && count > 0) {
    WriteRows(file, type, &dataset, &record, data, &verdict);
    FindCreated(file, path)->written += count;
    PetscCall(CkFileAddRecord(file, &record));
    bytes = (double)record.bytes;
  }
  CkFileCloseDataset(&dataset);
  PetscCall(CkFileConclude(file, &verdict));
  PetscCall(MPIU_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_DOUBLE, MPI_SUM, file->comm));
  file->reserved -= bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkFileFailRead(CkFile file, const char path[], CkVerdict *verdict, CkType stored, CkType wanted, PetscBool inexact)
{
  if (inexact)
    CkFileFail(file, path, verdict, PETSC_ERR_FILE_UNEXPECTED, "%s holds a number that is no %s", CkTypeName(stored),
               CkTypeName(wanted));
  else CkFileFailHDF5(file, path, verdict, PETSC_ERR_FILE_READ, "cannot be read; truncated or damaged?");
}

PetscErrorCode CkFileReadRows(CkFile file, const char path[], CkType type, PetscInt64 first, PetscInt64 count,
                              void *data)
{
  CkVerdict           verdict = {0};
  CkFileDatasetHandle dataset;
  Transfer            t = {.direction = READ, .memory = CkTypeMemory(type), .size = CkTypeSize(type)};
  PetscBool           inexact = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_FALSE));
  OpenRows(file, path, first, count, &verdict, &dataset);
  t.piece = file->piece;
  t.data = data;
  if (!verdict.code && count > 0 && TransferRows(&t, &dataset, first, count, &inexact) < 0)
    CkFileFailRead(file, path, &verdict, dataset.type, type, inexact);
  CkFileCloseDataset(&dataset);
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkFileVerifyRows(CkFile file, hid_t id, const CkFileRecord *record, CkVerdict *verdict)
{
  CkFileDatasetHandle dataset;
  Transfer            t = {.direction = VERIFY, .checksum = CkChecksum(0, NULL, 0)};
  PetscBool           inexact;

  CkFileOpenDataset(file, id, record->path, verdict, &dataset);
  if (verdict->code) return;
  t.memory = CkTypeMemory(dataset.type);
  t.size = CkTypeSize(dataset.type);
  t.piece = PetscMin(file->piece, (size_t)16 << 20);
  if (PetscMalloc1(t.piece, &t.data)) {
    CkFileFail(file, record->path, verdict, PETSC_ERR_MEM, "no memory to read it back");
  } else if (TransferRows(&t, &dataset, record->first, record->count, &inexact) < 0) {
    CkFileFailHDF5(file, record->path, verdict, PETSC_ERR_FILE_WRITE, "cannot be read back; disk full?");
  } else if (t.checksum != record->checksum) {
    CkFileFail(file, record->path, verdict, PETSC_ERR_FILE_WRITE,
               "rows %" PetscInt64_FMT " to %" PetscInt64_FMT " read back differ from what was written; disk full?",
               record->first, record->first + record->count - 1);
  }
  (void)PetscFree(t.data);
  CkFileCloseDataset(&dataset);
}

/* ---- whole datasets ---- */

PetscErrorCode CkFileWriteAll(CkFile file, const char path[], CkType type, int rank, const PetscInt64 shape[],
                              const void *data, const char units[], const char description[])
{
  PetscFunctionBeginUser;
  PetscCall(CkFileCreateDataset(file, path, type, rank, shape, units, description));
  PetscCall(CkFileWriteRows(file, path, type, 0, file->rank == 0 ? shape[0] : 0, data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileReadAll(CkFile file, const char path[], CkType type, void *data)
{
  PetscInt64 shape[CK_MAX_RANK];
  int        rank;
  size_t     bytes = CkTypeSize(type);

  PetscFunctionBeginUser;
  PetscCall(CkFileGetDataset(file, path, NULL, &rank, shape));
  PetscCall(CkFileReadRows(file, path, type, 0, file->rank == 0 ? shape[0] : 0, data));
  for (int i = 0; i < rank; ++i) bytes *= (size_t)shape[i];
  for (size_t done = 0; done < bytes;) { /* MPI counts are 32 bits */
    const size_t piece = PetscMin(bytes - done, file->piece);

    PetscCallMPI(MPI_Bcast((char *)data + done, (PetscMPIInt)piece, MPI_BYTE, 0, file->comm));
    done += piece;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
