#!/usr/bin/env bash
# Installs into a temporary prefix, builds a small program against it by pkg-config and by find_package, runs both and the
# installed clarkia. Usage: test_install.sh <build folder> <consumer folder> <C compiler> <library folder below the prefix>
set -euo pipefail
build=$1 consumer=$2 compiler=$3 libdir=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LD_LIBRARY_PATH=$work/prefix/$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

cmake --install "$build" --prefix "$work/prefix" >"$work/log" || { cat "$work/log"; exit 1; }
run() { # <program>: must print the number of weights of small-lenet
  local said
  said=$("$@")
  echo "$said"
  [ "$said" = "small-lenet has 13338 weights" ]
}
flags=$(PKG_CONFIG_PATH=$work/prefix/$libdir/pkgconfig pkg-config --cflags --libs clarkia)
# shellcheck disable=SC2086 # the flags are several words
"$compiler" -o "$work/by-pkg-config" "$consumer/consumer.c" $flags ${CONSUMER_FLAGS:-}
run "$work/by-pkg-config"
{
  cmake -S "$consumer" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_C_COMPILER="$compiler" \
    -DCMAKE_C_FLAGS="${CONSUMER_FLAGS:-}" &&
    cmake --build "$work/build"
} >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
run "$work/build/consumer"
"$work/prefix/bin/clarkia" -help | grep -q spectrum
