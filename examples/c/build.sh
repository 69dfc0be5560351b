#!/bin/sh
# Compiles the digits model, builds the program twice (static and shared library), and runs both.
# Usage: build.sh [OUTPUT_FOLDER]   SPARSEC names the compiler's binary, CC the C compiler.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-"$here/out"}
cc=${CC:-cc}
flags="-std=c99 -O2 -Wall -Wextra -Werror"

mkdir -p "$out"
"${SPARSEC:-sparsec}" compile "$here/../digits/digits_pruned.onnx" --name digits -o "$out"

$cc $flags -I"$out" "$here/main.c" "$out/libdigits.a" -o "$out/digits_static"
"$out/digits_static"

$cc $flags -I"$out" "$here/main.c" -L"$out" -ldigits -Wl,-rpath,"$out" -o "$out/digits_shared"
"$out/digits_shared"
