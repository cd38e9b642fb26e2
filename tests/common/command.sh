# shellcheck shell=bash
# What tests of commands share; to be sourced with the arguments <clarkia> <mpiexec> <flag> <ranks>: an empty folder to work in,
# and passes, fails, stop.
program=$1
launcher=("$2" "$3" "$4")
if [ "$4" -eq 1 ]; then launcher=(); fi # a failing mpiexec of one rank takes two seconds to end
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit

run() { "${launcher[@]}" "$program" "$@" </dev/null; }

stop() {
  echo "FAILED: $*"
  cat out err 2>/dev/null
  exit 1
}

# passes TEXT ARGUMENT..: exit code 0, TEXT is printed, nothing on stderr
passes() {
  local text=$1
  shift
  run "$@" >out 2>err || stop "refused: $*"
  grep -qF -- "$text" out || stop "'$text' is not printed: $*"
  [ ! -s err ] || stop "warnings: $*"
}

# fails TEXT ARGUMENT..: one message with TEXT, exit code not 0, no files left
fails() {
  local text=$1
  shift
  if run "$@" >out 2>err; then stop "accepted: $*"; fi
  [ "$(grep -c '^clarkia: error: ' err)" -eq 1 ] || stop "not one message: $*"
  grep '^clarkia: error: ' err | grep -qF -- "$text" || stop "message without '$text': $*"
  grep -q 'PETSC ERROR' err && stop "trace-back: $*"
  [ -z "$(find . -name '*.h5*')" ] || stop "leaves files: $*"
}
