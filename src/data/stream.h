#pragma once
#include "datasettings.h"
#include <zlib.h>

/*
  stream.h: the bytes of one file, plain or gzip, read in increasing order, with messages that name file and byte.
  Not collective. After a recorded failure calls do nothing.
*/
typedef struct {
  gzFile     file; /* NULL: closed */
  char       name[PETSC_MAX_PATH_LEN];
  PetscBool  gzip;
  PetscInt64 disk;     /* bytes on disk */
  PetscInt64 position; /* of the next byte of content */
} CkStream;

/* Refuses what is missing, no regular file, or empty. */
void CkStreamOpen(CkStream *stream, const char name[], CkVerdict *verdict);
void CkStreamClose(CkStream *stream);
/* bytes [offset, offset + bytes) of the content; a short file is a failure */
void CkStreamRead(CkStream *stream, PetscInt64 offset, size_t bytes, void *out, CkVerdict *verdict);
/* Up to bytes next bytes, 0 at the end. */
size_t CkStreamReadSome(CkStream *stream, size_t bytes, void *out, CkVerdict *verdict);
/* The content has exactly `size` bytes. Exact for plain files, at once; of a gzip file only what the compressed size
   makes impossible is refused here, and the rest by CkStreamFinish(). */
void CkStreamExpect(CkStream *stream, PetscInt64 size, CkVerdict *verdict);
/* At the end of the content: refuses a gzip file with other bytes behind its end. */
void CkStreamEnd(CkStream *stream, CkVerdict *verdict);
/* Reads on to the end, which checks gzip's checksum, compares the size and calls CkStreamEnd(). */
void CkStreamFinish(CkStream *stream, PetscInt64 size, CkVerdict *verdict);

/* Lines of a stream, without line ends (LF or CRLF). */
typedef struct {
  CkStream   stream;
  char      *buffer;
  size_t     room, start, end;
  PetscBool  ended;
  PetscInt64 number; /* of the line returned last, from 1 */
} CkLines;

PetscErrorCode CkLinesOpen(CkLines *lines, const char name[], CkVerdict *verdict);
PetscErrorCode CkLinesClose(CkLines *lines);
/* Next line, 0-terminated, valid until the next call and free to be changed; NULL at the end or on failure. */
PetscErrorCode CkLinesNext(CkLines *lines, char **line, CkVerdict *verdict);
