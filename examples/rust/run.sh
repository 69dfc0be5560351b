#!/bin/sh
# Builds the package with cargo and runs it; then compiles the model to a shared library and opens that.
# Usage: run.sh [OUTPUT_FOLDER]   SPARSEC names the compiler's binary.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-"$here/out"}
mkdir -p "$out"
out=$(cd "$out" && pwd)
SPARSEC=$(command -v "${SPARSEC:-sparsec}")
SPARSEC=$(cd "$(dirname "$SPARSEC")" && pwd)/$(basename "$SPARSEC")
export SPARSEC

"$SPARSEC" compile "$here/../digits/digits_pruned.onnx" --name digits --emit shared -o "$out" >/dev/null
CARGO_TARGET_DIR="$out/target" "${CARGO:-cargo}" run --quiet --locked --manifest-path "$here/Cargo.toml" -- "$out/libdigits.so"
