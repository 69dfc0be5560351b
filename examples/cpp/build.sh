#!/bin/sh
# Installs sparsec's CMake package into the output folder, builds the program with CMake, and runs it.
# Usage: build.sh [OUTPUT_FOLDER]   SPARSEC names the compiler's binary.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-"$here/out"}
mkdir -p "$out"
out=$(cd "$out" && pwd)
sparsec=$(command -v "${SPARSEC:-sparsec}")
sparsec=$(cd "$(dirname "$sparsec")" && pwd)/$(basename "$sparsec")

"$sparsec" integrate "$out/prefix" >/dev/null
cmake -S "$here" -B "$out/build" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_PREFIX_PATH="$out/prefix" -DSPARSEC_EXECUTABLE="$sparsec" >/dev/null
cmake --build "$out/build"
"$out/build/read_digits"
