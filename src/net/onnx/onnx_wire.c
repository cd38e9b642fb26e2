#include "onnx.h"
#include <stdio.h>

/*
  The wire format of protocol buffers (a field: number and type, then a varint, 4, 8 or a counted run of bytes), walked
  along the messages of onnx.proto. What the generated reader does not guard against is refused here: nesting without
  end, a few bytes a message, and singular fields that are given more than once, which no exporter writes.
*/
typedef struct {
  const uint8_t *bytes;
  size_t         messages;
  char          *message;
  size_t         length;
} Wire;

static PetscBool Bad(Wire *w, size_t at, const char what[])
{
  snprintf(w->message, w->length, "%s at byte %zu", what, at);
  return PETSC_FALSE;
}

/* *at moves behind the number. */
static PetscBool Varint(Wire *w, size_t *at, size_t end, uint64_t *value)
{
  const size_t start = *at;

  *value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    uint8_t byte;

    if (*at >= end) return Bad(w, start, "the file is truncated or damaged: a number has no end");
    byte = w->bytes[(*at)++];
    if (shift < 64) *value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return PETSC_TRUE;
  }
  return Bad(w, start, "the file is damaged: a number has more than ten bytes");
}

static const ProtobufCFieldDescriptor *Field(const ProtobufCMessageDescriptor *m, uint64_t id, unsigned *index)
{
  for (*index = 0; *index < m->n_fields; ++*index)
    if (m->fields[*index].id == id) return &m->fields[*index];
  return NULL;
}

/* Length of the field's bytes after the tag (and length), which begin at *at. */
static PetscBool Length(Wire *w, unsigned type, size_t *at, size_t end, size_t *length)
{
  const size_t start = *at;
  uint64_t     value = 0;

  switch (type) {
  case 0:
    *length = 0;
    return Varint(w, at, end, &value);
  case 1:
    value = 8;
    break;
  case 2:
    if (!Varint(w, at, end, &value)) return PETSC_FALSE;
    break;
  case 5:
    value = 4;
    break;
  default:
    return Bad(w, start, "the file is damaged, or no ONNX file: a field of a type that does not exist");
  }
  if (value > end - *at) return Bad(w, start, "the file is truncated or damaged: a field is longer than what is left");
  *length = (size_t)value;
  return PETSC_TRUE;
}

static PetscBool Walk(Wire *w, const ProtobufCMessageDescriptor *m, size_t at, size_t end, int depth)
{
  uint64_t seen = 0; /* fields by index */

  if (depth > ONNX_MAX_DEPTH) return Bad(w, at, "messages are nested too deeply");
  if (++w->messages > ONNX_MAX_MESSAGES) return Bad(w, at, "the file has too many messages");
  while (at < end) {
    const ProtobufCFieldDescriptor *field;
    const size_t                    start = at;
    uint64_t                        tag;
    unsigned                        index;
    size_t                          length;

    if (!Varint(w, &at, end, &tag)) return PETSC_FALSE;
    if (!Length(w, (unsigned)(tag & 7), &at, end, &length)) return PETSC_FALSE;
    field = Field(m, tag >> 3, &index);
    if (field && field->label != PROTOBUF_C_LABEL_REPEATED) {
      if (index < 64 && seen & UINT64_C(1) << index) return Bad(w, start, "a field is given twice");
      if (index < 64) seen |= UINT64_C(1) << index;
    }
    if (field && field->type == PROTOBUF_C_TYPE_MESSAGE && (tag & 7) == 2 &&
        !Walk(w, (const ProtobufCMessageDescriptor *)field->descriptor, at, at + length, depth + 1))
      return PETSC_FALSE;
    at += length;
  }
  return PETSC_TRUE;
}

PetscBool OnnxWireCheck(size_t n, const uint8_t bytes[], char message[], size_t length)
{
  Wire w = {.bytes = bytes, .message = message, .length = length};

  return Walk(&w, &onnx__model_proto__descriptor, 0, n, 0);
}
