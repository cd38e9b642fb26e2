#!/usr/bin/env bash
# The command import from the command line. Usage: test_import.sh <clarkia> <mpiexec> <flag> <ranks>
set -euo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"

printf 'x,y,kind\n1,10,a\n2,20,b\n3,60,a\n4,80,c\n' >training.csv
printf 'x,y,kind\n5,30,b\n' >test.csv
printf 'x,y,kind\n1,10,a\n2,nan,b\n' >broken.csv

# Bad input: one message, nothing written
passes "-data_class_column TEXT" import -help
fails "-output" import -data training.csv
fails "-data fashion-mnist, synthetic" import -output a.h5
fails "did you mean -data_offset?" import -data training.csv -data_ofset 1 -output a.h5
fails "none.csv: No such file" import -data none.csv -output a.h5
fails "for a plan without data: -data synthetic" import -data none.csv -dry_run
mkdir empty
fails "train-images-idx3-ubyte" import -data empty -data_format idx -output a.h5
fails "line 3, column 2 (y): 'nan'" import -data broken.csv -output a.h5
fails "leave out -data_split test" import -data training.csv -data_test test.csv -data_split test -output a.h5
fails "-data_offset 4 is beyond the 4 samples" import -data training.csv -data_offset 4 -output a.h5
fails "missing/a.h5" import -data training.csv -output missing/a.h5
fails "memory" import -data synthetic -data_count 100000 -memory_limit 0.01 -output a.h5

# The plan writes nothing; the run says what it has written.
passes "nothing is written" import -data training.csv -data_test test.csv -output table.h5 -dry_run
[ -z "$(find . -name '*.h5*')" ] || stop "the dry run left files"
passes "training and test" import -data training.csv -data_test test.csv -data_transform standardise -output table.h5
for text in "training.csv train, rows 0-3 of 4" "test.csv test, rows 0-0 of 1" "0: 2" "standardise" "float32" "table.h5"; do
  grep -qF -- "$text" out || stop "'$text' is not in the summary"
done
[ "$(find . -name '*.h5*')" = ./table.h5 ] || stop "other files than asked for"
checksum=$(grep -F checksum out | head -1)

# What is imported again is the same.
passes "$checksum" import -data table.h5 -output again.h5
if command -v h5diff >/dev/null; then
  h5diff table.h5 again.h5 /features /features || stop "other features"
  h5diff table.h5 again.h5 /test/features /test/features || stop "another test split"
  h5diff table.h5 again.h5 /transform /transform || stop "other transforms"
fi
passes "training.csv train, rows 1-2 of 4" import -data table.h5 -data_offset 1 -data_count 2 -output part.h5
passes "training.csv (rows 1-2 of 4) train, rows 0-1 of 2" import -data part.h5 -dry_run
rm -f ./*.h5
echo "all fine"
