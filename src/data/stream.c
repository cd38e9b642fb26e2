#include "stream.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Largest piece handed to zlib, which counts in int. */
#define PIECE ((size_t)1 << 28)
/* Mark of UTF-8 that some programs put in front of a table. */
#define BYTE_ORDER_MARK "\xEF\xBB\xBF"
/* Longest line of a table. */
#define LINE_LIMIT ((size_t)1 << 24)
/* Deflate cannot do better than 1032:1. */
#define DEFLATE_RATIO 1032

void CkStreamOpen(CkStream *stream, const char name[], CkVerdict *verdict)
{
  struct stat   status;
  unsigned char magic[2] = {0, 0};
  FILE         *file;

  memset(stream, 0, sizeof(*stream));
  if (verdict->code) return;
  if (strlen(name) >= sizeof(stream->name)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%.64s...: a file name of %zu letters; at most %zu", name, strlen(name),
                  sizeof(stream->name) - 1);
    return;
  }
  strcpy(stream->name, name);
  if (stat(name, &status)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%s: %s; check the path", name, strerror(errno));
  } else if (!S_ISREG(status.st_mode)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%s: is no regular file; name a file", name);
  } else if (status.st_size == 0) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: the file is empty", name);
  } else if (!(file = fopen(name, "rb"))) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%s: cannot be opened: %s", name, strerror(errno));
  } else {
    stream->gzip = (PetscBool)(fread(magic, 1, 2, file) == 2 && magic[0] == 0x1f && magic[1] == 0x8b);
    stream->disk = (PetscInt64)status.st_size;
    fclose(file);
    CkFileNoteInput(name);
    stream->file = gzopen(name, "rb");
    if (!stream->file) CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%s: cannot be opened: %s", name, strerror(errno));
    else gzbuffer(stream->file, 1 << 18);
  }
}

void CkStreamClose(CkStream *stream)
{
  if (stream->file) gzclose(stream->file);
  stream->file = NULL;
}

/* A read came back short: says whether the compression or the length is wrong. */
static void ShortRead(CkStream *stream, PetscInt64 wanted, CkVerdict *verdict)
{
  int         code = Z_OK;
  const char *text = gzerror(stream->file, &code);

  if (code == Z_OK || code == Z_STREAM_END)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: truncated: %" PetscInt64_FMT " bytes of content expected, only %" PetscInt64_FMT " there",
                  stream->name, wanted, (PetscInt64)gztell(stream->file));
  else if (code == Z_BUF_ERROR)
    CkVerdictFail(verdict, PETSC_ERR_FILE_READ,
                  "%s: truncated gzip file: it ends after %" PetscInt64_FMT " bytes of content", stream->name,
                  stream->position);
  else if (code == Z_ERRNO)
    CkVerdictFail(verdict, PETSC_ERR_FILE_READ, "%s: reading failed: %s", stream->name, strerror(errno));
  else
    CkVerdictFail(verdict, PETSC_ERR_FILE_READ,
                  "%s: corrupt gzip data near byte %" PetscInt64_FMT " of content (%s); fetch the file again",
                  stream->name, stream->position, text);
}

size_t CkStreamReadSome(CkStream *stream, size_t bytes, void *out, CkVerdict *verdict)
{
  size_t done = 0;

  while (!verdict->code && done < bytes) {
    const size_t piece = PetscMin(bytes - done, PIECE);
    const int    got = gzread(stream->file, (char *)out + done, (unsigned)piece);
    int          code = Z_OK;

    if (got > 0) {
      done += (size_t)got;
      stream->position += got;
    }
    gzerror(stream->file, &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) ShortRead(stream, stream->position + 1, verdict);
    if (got < (int)piece) break;
  }
  return done;
}

void CkStreamRead(CkStream *stream, PetscInt64 offset, size_t bytes, void *out, CkVerdict *verdict)
{
  if (verdict->code || bytes == 0) return;
  if (offset != stream->position) {
    if (gzseek(stream->file, (z_off_t)offset, SEEK_SET) != (z_off_t)offset) {
      ShortRead(stream, offset + (PetscInt64)bytes, verdict);
      return;
    }
    stream->position = offset;
  }
  if (CkStreamReadSome(stream, bytes, out, verdict) < bytes && !verdict->code)
    ShortRead(stream, offset + (PetscInt64)bytes, verdict);
}

void CkStreamExpect(CkStream *stream, PetscInt64 size, CkVerdict *verdict)
{
  if (verdict->code) return;
  if (!stream->gzip && stream->disk != size)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: %s: the header asks for %" PetscInt64_FMT " bytes, the file has %" PetscInt64_FMT, stream->name,
                  stream->disk < size ? "truncated" : "over-long", size, stream->disk);
  if (stream->gzip && size / DEFLATE_RATIO > stream->disk)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: truncated: the header asks for %" PetscInt64_FMT " bytes, which %" PetscInt64_FMT
                  " bytes of gzip cannot hold",
                  stream->name, size, stream->disk);
}

/* Bytes behind the last gzip member, which zlib passes over in silence: walks over the members. Zeros are padding, as
   for gzip itself. */
static PetscBool HasTrailingBytes(const char name[])
{
  static const size_t room = 1 << 16;
  unsigned char      *in = malloc(2 * room), *out = in + room;
  FILE               *file = fopen(name, "rb");
  z_stream            z = {0};
  PetscBool           junk = PETSC_FALSE;
  int                 code = in && file ? inflateInit2(&z, 16 + MAX_WBITS) : Z_MEM_ERROR;

  while (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR) {
    if (z.avail_in == 0) {
      z.next_in = in;
      z.avail_in = (unsigned)fread(in, 1, room, file);
      if (z.avail_in == 0) break;
    }
    if (code == Z_STREAM_END) {
      while (z.avail_in > 0 && *z.next_in == 0) ++z.next_in, --z.avail_in;
      if (z.avail_in == 0) continue;
      junk = (PetscBool)(*z.next_in != 0x1f);
      code = junk ? Z_DATA_ERROR : inflateReset(&z);
      continue;
    }
    z.next_out = out;
    z.avail_out = (unsigned)room;
    code = inflate(&z, Z_NO_FLUSH);
  }
  if (code == Z_DATA_ERROR) junk = PETSC_TRUE;
  inflateEnd(&z);
  if (file) fclose(file);
  free(in);
  return junk;
}

/* The last four bytes of a gzip file are its length modulo 2^32: where they are not, the file has several members,
   which is fine, or something behind them. */
void CkStreamEnd(CkStream *stream, CkVerdict *verdict)
{
  unsigned char bytes[4] = {0};
  FILE         *file;
  uint32_t      length;

  if (verdict->code || !stream->gzip || !(file = fopen(stream->name, "rb"))) return;
  if (fseek(file, -4, SEEK_END) || fread(bytes, 1, 4, file) != 4) length = 0;
  else length = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
  fclose(file);
  if (length != (uint32_t)stream->position && HasTrailingBytes(stream->name))
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: over-long: other bytes follow the end of the gzip data; fetch the file again", stream->name);
}

void CkStreamFinish(CkStream *stream, PetscInt64 size, CkVerdict *verdict)
{
  char piece[1 << 14];

  if (verdict->code) return;
  while (CkStreamReadSome(stream, sizeof(piece), piece, verdict) > 0)
    if (verdict->code || stream->position > size) break;
  if (verdict->code) return;
  if (stream->position > size)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: over-long: the header asks for %" PetscInt64_FMT " bytes, the file has more", stream->name,
                  size);
  else if (stream->position < size) ShortRead(stream, size, verdict);
  CkStreamEnd(stream, verdict);
}

PetscErrorCode CkLinesOpen(CkLines *lines, const char name[], CkVerdict *verdict)
{
  PetscFunctionBeginUser;
  memset(lines, 0, sizeof(*lines));
  CkStreamOpen(&lines->stream, name, verdict);
  lines->room = (size_t)1 << 16;
  PetscCall(PetscMalloc1(lines->room, &lines->buffer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLinesClose(CkLines *lines)
{
  PetscFunctionBeginUser;
  CkStreamClose(&lines->stream);
  PetscCall(PetscFree(lines->buffer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Moves what is left to the front, makes room, and reads more. One byte stays free for the terminator. */
static PetscErrorCode CkLinesFill(CkLines *lines, CkVerdict *verdict)
{
  size_t got;

  PetscFunctionBeginUser;
  memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
  lines->end -= lines->start;
  lines->start = 0;
  if (lines->end + 1 == lines->room) {
    if (lines->room >= LINE_LIMIT) {
      CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                    "%s: line %" PetscInt64_FMT " is longer than %zu bytes; is this a text file?", lines->stream.name,
                    lines->number + 1, LINE_LIMIT);
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    lines->room *= 2;
    PetscCall(PetscRealloc(lines->room, &lines->buffer));
  }
  got = CkStreamReadSome(&lines->stream, lines->room - 1 - lines->end, lines->buffer + lines->end, verdict);
  lines->end += got;
  if (got == 0) {
    lines->ended = PETSC_TRUE;
    CkStreamEnd(&lines->stream, verdict);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLinesNext(CkLines *lines, char **line, CkVerdict *verdict)
{
  char  *begin, *stop = NULL;
  size_t length;

  PetscFunctionBeginUser;
  *line = NULL;
  while (!verdict->code) {
    stop = memchr(lines->buffer + lines->start, '\n', lines->end - lines->start);
    if (stop || lines->ended) break;
    PetscCall(CkLinesFill(lines, verdict));
  }
  if (verdict->code || (!stop && lines->start == lines->end)) PetscFunctionReturn(PETSC_SUCCESS);
  begin = lines->buffer + lines->start;
  length = stop ? (size_t)(stop - begin) : lines->end - lines->start;
  lines->start += length + (stop ? 1 : 0);
  ++lines->number;
  begin[length] = '\0';
  if (memchr(begin, '\0', length)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: line %" PetscInt64_FMT " holds a zero byte: no text file",
                  lines->stream.name, lines->number);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (length > 0 && begin[length - 1] == '\r') begin[length - 1] = '\0';
  *line = begin;
  if (lines->number == 1 && strncmp(begin, BYTE_ORDER_MARK, 3) == 0) *line += 3;
  PetscFunctionReturn(PETSC_SUCCESS);
}
