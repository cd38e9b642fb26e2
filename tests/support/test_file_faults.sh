#!/usr/bin/env bash
# Files under harm: kill -9 at any moment leaves whole results under final names; where a file cannot grow there is one
# message and nothing stays. Usage: test_file_faults.sh <file_writer> <mpiexec> <flag> <ranks>
set -uo pipefail
# shellcheck source=../common/command.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common/command.sh"

results=0 temporary=0
for microseconds in 1000 20000 60000 110000 170000 240000 320000 410000; do
  if run write "$microseconds" >out 2>err; then stop "not killed"; fi
  temporary=$((temporary + $(find . -name 'result-*.h5.tmp-*' | wc -l)))
  run check >out 2>err || stop "a result is damaged after $microseconds microseconds"
  results=$((results + $(cat out)))
  rm -f result-*
done
[ "$results" -gt 0 ] || stop "killed before the first result: nothing was tested"
[ "$temporary" -gt 0 ] || stop "never killed while a file was being written: nothing was tested"
echo "$results results whole, $temporary kills while writing"

for bytes in 0 1000 50000 700000 1600000; do
  timeout 60 "${launcher[@]}" "$program" limit "$bytes" </dev/null 2>&1 | cat >out # cat: the limit holds for stderr too
  code=${PIPESTATUS[0]}
  [ "$code" -ne 0 ] || stop "wrote past $bytes bytes"
  [ "$code" -ne 124 ] || stop "hangs at $bytes bytes"
  grep -q "clarkia: error: limited.h5" out || stop "no message at $bytes bytes"
  [ -z "$(find . -name '*.h5*')" ] || stop "leaves a file at $bytes bytes"
done
