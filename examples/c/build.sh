#!/bin/sh
# Compiles the digits model, builds the program twice (static and shared library), and runs both; then checks its memory
# with valgrind, where there is one.
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

# Memory errors and leaks, where valgrind is at hand. It knows no AVX-512, so this library is for an older processor.
if [ "$(uname -m)" != x86_64 ] || ! command -v valgrind >/dev/null; then
    echo "skipped: memory is not checked, as there is no valgrind for this machine"
    exit 0
fi
mkdir -p "$out/checked"
"${SPARSEC:-sparsec}" compile "$here/../digits/digits_pruned.onnx" --name digits --cpu x86-64-v3 -o "$out/checked"
$cc $flags -g -I"$out/checked" "$here/main.c" "$out/checked/libdigits.a" -o "$out/checked/digits"
valgrind --quiet --leak-check=full --error-exitcode=1 "$out/checked/digits" >/dev/null
echo "valgrind: no errors, no leaks"
