#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* formats.h: files of the raw formats in memory, written from their definitions. Buffers are the caller's: free(). */
typedef struct {
  unsigned char *bytes;
  size_t         n;
} Bytes;

static inline Bytes new_bytes(size_t n)
{
  Bytes b = {.bytes = calloc(n + 1, 1), .n = n};

  if (!b.bytes) abort();
  return b;
}

static inline void put_big_endian(unsigned char at[4], uint32_t value)
{
  for (int i = 0; i < 4; ++i) at[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* Value of byte j of sample k in the test files. */
static inline unsigned char pixel(int k, int j)
{
  return (unsigned char)((37 * k + 11 * j + k * j) % 256);
}

/* IDX file of n images h x w, or (w = 0) of n labels k mod classes (classes = h). */
static inline Bytes idx_images(int n, int h, int w)
{
  Bytes b = new_bytes((size_t)(16 + n * h * w));

  put_big_endian(b.bytes, 0x803);
  put_big_endian(b.bytes + 4, (uint32_t)n);
  put_big_endian(b.bytes + 8, (uint32_t)h);
  put_big_endian(b.bytes + 12, (uint32_t)w);
  for (int i = 0; i < n * h * w; ++i) b.bytes[16 + i] = pixel(i / (h * w), i % (h * w));
  return b;
}

static inline Bytes idx_labels(int n, int classes)
{
  Bytes b = new_bytes((size_t)(8 + n));

  put_big_endian(b.bytes, 0x801);
  put_big_endian(b.bytes + 4, (uint32_t)n);
  for (int i = 0; i < n; ++i) b.bytes[8 + i] = (unsigned char)(i % classes);
  return b;
}

/* CIFAR records; label_bytes 1 or 2 (coarse = k mod 20, fine = k mod 100). */
static inline Bytes cifar_records(int n, int label_bytes)
{
  const size_t record = (size_t)(3072 + label_bytes);
  Bytes        b = new_bytes((size_t)n * record);

  for (int k = 0; k < n; ++k) {
    unsigned char *r = b.bytes + (size_t)k * record;

    if (label_bytes == 1) r[0] = (unsigned char)(k % 10);
    else {
      r[0] = (unsigned char)(k % 20);
      r[1] = (unsigned char)(k % 100);
    }
    for (int j = 0; j < 3072; ++j) r[label_bytes + j] = pixel(k, j);
  }
  return b;
}

/* The same bytes as one gzip member. */
static inline Bytes gzip_of(Bytes plain)
{
  Bytes    b = new_bytes(plain.n + plain.n / 100 + 256);
  z_stream z = {0};

  if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
  z.next_in = plain.bytes;
  z.avail_in = (uInt)plain.n;
  z.next_out = b.bytes;
  z.avail_out = (uInt)b.n;
  if (deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
  b.n = z.total_out;
  deflateEnd(&z);
  return b;
}
