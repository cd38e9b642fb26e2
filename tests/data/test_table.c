#include "datatest.h"
#include "formats.h"

/* The table reader: layouts, classes, and rows that do not fit. */

static CkData table(const char text[], const char options[])
{
  const char *path = write_text("table", text);

  return create_data(PETSC_COMM_WORLD, "-data %s -data_format table %s", path, options);
}

/* All features and labels are these. */
static void assert_table(CkData data, PetscInt n, PetscInt size, const float features[], const PetscInt labels[])
{
  PetscInt *have_labels;
  float    *have;

  OK(CkDataSetUp(data));
  assert_on_all_ranks(size_of(data) == n && has_shape(data, size, 1, 1));
  have = fetch_all(data, &have_labels);
  assert_on_all_ranks(same_bits(have, features, (size_t)(n * size) * sizeof(float)) &&
                      same_bits(have_labels, labels, (size_t)n * sizeof(PetscInt)));
  free(have);
  free(have_labels);
  OK(CkDataDestroy(&data));
}

static void reads_delimiters_line_ends_and_headers(void **state)
{
  const float    x[] = {1, 2.5f, -3e-3f, 4};
  const PetscInt y[] = {0, 1};
  const char    *texts[] = {"1,2.5,a\n-3e-3,4,b\n",
                            "1,2.5,a\r\n-3e-3,4,b\r\n",
                            "1;2.5;a\n-3e-3;4;b",
                            "  1 \t 2.5 a  \n\n-3e-3\t4 b\n\n",
                            "x,y,class\n1,2.5,a\n-3e-3,4,b\n",
                            "\357\273\277\"x\", \"y\", \"class\"\r\n 1 , 2.5 ,\"a\"\r\n-3e-3,4,\"b\"\r\n"};

  (void)state;
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); ++i) assert_table(table(texts[i], ""), 2, 2, x, y);
}

static void numbers_classes_in_sorted_order(void **state)
{
  const float    x[] = {1, 2, 3, 4};
  const PetscInt by_value[] = {1, 2, 0, 1}, by_letter[] = {1, 0, 2, 1};
  CkData         data;

  (void)state;
  assert_table(table("1,9\n2,10\n3,-1\n4,9.0\n", ""), 4, 1, x, by_value);
  assert_table(table("1 b\n2 B\n3 c\n4 b\n", ""), 4, 1, x, by_letter);
  data = table("1,9\n2,10\n3,-1\n4,9.0\n", "");
  OK(CkDataOpen(data));
  assert_on_all_ranks(classes_of(data) == 3 && !strcmp(class_name(data, 0), "-1") &&
                      !strcmp(class_name(data, 2), "10"));
  OK(CkDataDestroy(&data));
}

static void takes_and_drops_columns(void **state)
{
  const char    *text = "id,f,kind,g\n7,1,a,2\n8,3,b,4\n";
  const float    two[] = {1, 2, 3, 4}, three[] = {7, 1, 2, 8, 3, 4};
  const PetscInt y[] = {0, 1};

  (void)state;
  assert_table(table(text, "-data_class_column kind -data_columns_drop id"), 2, 2, two, y);
  assert_table(table(text, "-data_class_column 3"), 2, 3, three, y);
  assert_table(table("7,1,a,2\n8,3,b,4\n", "-data_class_column 3 -data_columns_drop 1"), 2, 2, two, y);
  assert_refused(table(text, "-data_class_column type"), "type", "-data_class_column", "id, f, kind, g");
  assert_refused(table(text, "-data_class_column kind -data_columns_drop 5"), "'5'", "1 to 4");
  assert_refused(table(text, "-data_class_column kind -data_columns_drop id,f,g"), "no column of features");
}

static void reads_gzip_and_test_file_with_the_training_classes(void **state)
{
  Bytes          plain = {.bytes = (unsigned char *)"1,a\n2,c\n3,b\n", .n = 12}, z = gzip_of(plain);
  const float    x[] = {1, 2, 3};
  const PetscInt y[] = {0, 2, 1};
  float          value;
  const char    *path;
  CkData         data, test;

  (void)state;
  path = write_file("table.gz", z.bytes, z.n);
  assert_table(create_data(PETSC_COMM_WORLD, "-data %s", path), 3, 1, x, y);
  write_text("test", "5,c\n6,b\n");
  data = make_data("-data %s -data_test %s", path, path_of("test"));
  OK(CkDataCreateTest(data, &test));
  assert_on_all_ranks(size_of(test) == 2 && fetch_one(test, 0, &value) == 2 && value == 5 &&
                      fetch_one(test, 1, &value) == 1);
  OK(CkDataDestroy(&test));
  write_text("test", "5,c\n6,d\n");
  assert_message(CkDataCreateTest(data, &test), "test", "line 2", "'d'", "3 classes");
  write_text("test", "5,7,c\n");
  assert_message(CkDataCreateTest(data, &test), "test", "3 columns", "training file", path, "has 2");
  OK(CkDataDestroy(&data));
  z.n -= 3;
  path = write_file("table.gz", z.bytes, z.n);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_format table", path), "table.gz", "gzip");
  free(z.bytes);
}

static void refuses_rows_that_do_not_fit(void **state)
{
  char many[16000] = "";

  (void)state;
  assert_refused(table("1,2,a\n1,2,3,b\n", ""), "line 2", "4 columns", "has 3");
  assert_refused(table("1,2,a\n\n1,b\n", ""), "line 3", "2 columns", "has 3");
  assert_refused(table("1,2,a\n1,?,b\n", ""), "line 2, column 2", "'?'", "no number");
  assert_refused(table("x,y,c\n1,2,a\n1,,b\n", ""), "line 3, column 2 (y)", "no number");
  assert_refused(table("1,2,a\n1,nan,b\n", ""), "line 2, column 2", "'nan'", "finite");
  assert_refused(table("1,2,a\n1,-1e99,b\n", ""), "line 2, column 2", "'-1e99'", "finite");
  assert_refused(table("1,2,a\n1,2,\n", ""), "line 2, column 3", "no class");
  assert_refused(table("1,2,3\n1,2,inf\n", ""), "line 2, column 3", "no class");
  assert_refused(table("a,b,c\n", ""), "holds 0 samples");
  assert_refused(table("\n\n", ""), "no line with text");
  assert_refused(table("", ""), "empty");
  assert_refused(table("5\n6\n", ""), "no column of features");
  for (int i = 0; i < 1001; ++i) snprintf(many + strlen(many), 16, "1,%d.5\n", i);
  assert_refused(table(many, ""), "more than 1000 different values", "line 1001", "-data_class_column");
  write_file("zero", "1,2\n3\0004,5\n", 10);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_format table", path_of("zero")), "line 2", "zero byte");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(reads_delimiters_line_ends_and_headers),
  cmocka_unit_test(numbers_classes_in_sorted_order),
  cmocka_unit_test(takes_and_drops_columns),
  cmocka_unit_test(reads_gzip_and_test_file_with_the_training_classes),
  cmocka_unit_test(refuses_rows_that_do_not_fit),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
