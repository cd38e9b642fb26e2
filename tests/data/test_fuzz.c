#include "datatest.h"
#include "formats.h"
#include <clarkia/random.h>

/* Damaged files, the same ones in every run: each is read, and then its samples are sound, or it is refused with a
   message that names it. Nothing else may happen; run it with sanitizers. */

enum { ROUNDS = 600, MOST_CHANGES = 4 };

typedef struct {
  const char *name, *companion; /* files; the companion is left whole */
  const char *options;          /* with %s for the file and, if there is one, its companion */
  Bytes       whole;
} Target;

static const CkRandom stream = {.seed = 20, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = 0};

/* One damage: a byte changed, a piece lost or doubled, or the end cut off. bits: where and which. */
static void damage(Bytes *b, const uint32_t bits[4])
{
  const size_t at = bits[0] % b->n, span = PetscMin(1 + bits[1] % 16, b->n - at);

  switch (bits[2] % 8) {
  case 0:
    b->n = at;
    break;
  case 1:
    memmove(b->bytes + at, b->bytes + at + span, b->n - at - span);
    b->n -= span;
    break;
  case 2: /* room: see new_copy() */
    memmove(b->bytes + at + span, b->bytes + at, b->n - at);
    b->n += span;
    break;
  case 3:
    b->bytes[at] = bits[3] % 2 ? 0xff : 0;
    break;
  case 4: /* near the front, where headers are */
    b->bytes[at % PetscMin(b->n, 24)] = (unsigned char)bits[3];
    break;
  default:
    b->bytes[at] ^= (unsigned char)(1u << bits[3] % 8);
  }
}

static Bytes new_copy(Bytes from)
{
  Bytes b = new_bytes(from.n + MOST_CHANGES * 16);

  memcpy(b.bytes, from.bytes, from.n);
  b.n = from.n;
  return b;
}

/* Labels in range and features finite. */
static int is_sound(CkData data)
{
  const PetscInt n = size_of(data), size = CkShapeSize(shape_of(data)), classes = classes_of(data);
  PetscInt      *labels;
  float         *x = fetch_all(data, &labels);
  int            right = n >= 1 && size >= 1;

  for (PetscInt i = 0; i < n && right; ++i) right = labels[i] >= 0 && labels[i] < classes;
  for (size_t i = 0; i < (size_t)n * (size_t)size && right; ++i) right = isfinite(x[i]) != 0;
  free(x);
  free(labels);
  return right;
}

/* Reads the file as it now is; returns whether it was accepted. */
static int read_or_refuse(const Target *t, int round)
{
  const char    *path = path_of(t->name), *companion = t->companion ? path_of(t->companion) : "";
  CkData         data = create_data(PETSC_COMM_SELF, t->options, path, companion);
  PetscErrorCode failed;
  int            right;

  last_message[0] = '\0';
  OK(PetscPushErrorHandler(KeepMessage, NULL));
  failed = CkDataSetUp(data);
  OK(PetscPopErrorHandler());
  right = failed ? strstr(last_message, t->name) != NULL : is_sound(data);
  if (!right) fprintf(stderr, "%s, round %d: %s\n", t->name, round, failed ? last_message : "unsound samples");
  assert_true(right);
  OK(CkDataDestroy(&data));
  return !failed;
}

static void survives(Target t, int number)
{
  int accepted = 0;

  write_file(t.name, t.whole.bytes, t.whole.n);
  assert_true(read_or_refuse(&t, -1));
  for (int round = 0; round < ROUNDS; ++round) {
    const uint64_t block = ((uint64_t)number * ROUNDS + (uint64_t)round) * (MOST_CHANGES + 1);
    Bytes          b = new_copy(t.whole);
    uint32_t       bits[4];
    int            changes;

    CkRandomBits(&stream, block, bits);
    changes = 1 + (int)(bits[0] % MOST_CHANGES);
    for (int c = 0; c < changes && b.n > 0; ++c) {
      CkRandomBits(&stream, block + 1 + (uint64_t)c, bits);
      damage(&b, bits);
    }
    write_file(t.name, b.bytes, b.n);
    free(b.bytes);
    accepted += read_or_refuse(&t, round);
  }
  fprintf(stderr, "%s: %d of %d damaged files accepted\n", t.name, accepted, ROUNDS);
  free(t.whole.bytes);
}

static const char pair[] = "-data %s -data_labels %s -data_format idx -memory_limit 0.1";

static void damaged_idx_images(void **state)
{
  Bytes l = idx_labels(12, 3), i = idx_images(12, 5, 4);

  (void)state;
  write_file("labels", l.bytes, l.n);
  survives((Target){"images.idx", "labels", pair, i}, 0);
  i = idx_images(12, 5, 4);
  survives((Target){"images.gz", "labels", pair, gzip_of(i)}, 1);
  free(i.bytes);
  free(l.bytes);
}

static void damaged_idx_labels(void **state)
{
  Bytes i = idx_images(12, 5, 4), l = idx_labels(12, 3);

  (void)state;
  write_file("images", i.bytes, i.n);
  /* the damaged file comes second among the names: %2$s */
  survives((Target){"labels.idx", "images", "-data %2$s -data_labels %1$s -data_format idx -data_classes 256", l}, 2);
  l = idx_labels(12, 3);
  survives((Target){"labels.gz", "images", "-data %2$s -data_labels %1$s -data_format idx", gzip_of(l)}, 3);
  free(l.bytes);
  free(i.bytes);
}

static void damaged_cifar_files(void **state)
{
  (void)state;
  survives((Target){"ten.bin", NULL, "-data %s -data_format cifar10", cifar_records(2, 1)}, 4);
  survives((Target){"hundred.bin", NULL, "-data %s -data_format cifar100", cifar_records(2, 2)}, 5);
}

static Bytes bytes_of(const char text[])
{
  Bytes b = new_bytes(strlen(text));

  memcpy(b.bytes, text, b.n);
  return b;
}

static void damaged_tables(void **state)
{
  const char comma[] = "x,\"y\",kind\r\n1.5,-2,a\r\n3e2,4,b\r\n.5,6.25,a\r\n-7,8,c\r\n";
  const char blank[] = "1.5 -2 10\n3e2\t4 9\n .5 6.25 10\n-7 8 9\n";
  Bytes      plain = bytes_of(blank);

  (void)state;
  survives((Target){"comma.csv", NULL, "-data %s -data_format table", bytes_of(comma)}, 6);
  survives((Target){"blank.txt", NULL, "-data %s -data_format table", bytes_of(blank)}, 7);
  survives((Target){"table.gz", NULL, "-data %s -data_format table", gzip_of(plain)}, 8);
  survives((Target){"guess.csv", NULL, "-data %s", bytes_of(comma)}, 9);
  free(plain.bytes);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(damaged_idx_images),
  cmocka_unit_test(damaged_idx_labels),
  cmocka_unit_test(damaged_cifar_files),
  cmocka_unit_test(damaged_tables),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
