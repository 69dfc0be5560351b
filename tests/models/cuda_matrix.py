#!/usr/bin/env python3
"""Compiles networks for GPUs and has NVIDIA's assembler accept every kernel.

    python cuda_matrix.py --sparsec BINARY --ptx-tools DIR --work DIR [--small] [--models a,b] [--patterns dense,un:0.9]
                          [--gpus sm_80,sm_90a] [--options=--compute=f16]

Each network (build.py) is pruned in each pattern (prune.py), compiled with `--target cuda` for each architecture, and its PTX
assembled by both pinned releases of ptxas. A line of the table has the number of kernels, the size of the PTX, the seconds
that compiling took, and, for each release, the most registers of a thread and the bytes that are spilled. The exit code is 1
if anything is refused, warned about or spilled. Pruned files and results are deleted. No GPU is needed.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

MODELS = ["resnet50", "mobilenet_v2", "bert_base", "minilm", "mlp_b1", "mlp_b64"]
PATTERNS = ["dense", "un:0.9", "nm:2:4", "block:16:16:0.8", "channel:0.5"]
GPUS = ["sm_80", "sm_90a"]
# `cargo xtask ptx-tools` unpacks them so.
PTXAS = {"12.9": "nvidia/cuda_nvcc/bin/ptxas", "13.5": "nvidia/cu13/bin/ptxas"}


class Failure(Exception):
    """A network that is not compiled or not assembled; the message is one line."""


def one_line(text):
    return " | ".join(line.strip() for line in text.splitlines() if line.strip())[:300] or "no message"


def usage(log):
    """Most registers, spilled bytes and warnings that the assembler's messages tell."""
    registers = max((int(n) for n in re.findall(r"Used (\d+) registers", log)), default=0)
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill (?:stores|loads)", log))
    warnings = [line for line in log.splitlines() if "warning" in line]
    return registers, spilled, warnings


def assemble(ptxas, ptx, gpu, cubin):
    """Assembles a file; returns most registers and spilled bytes. Raises Failure."""
    command = [str(ptxas), "--verbose", f"--gpu-name={gpu}", str(ptx), "-o", str(cubin)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise Failure(f"ptxas: {one_line(done.stderr)}")
    registers, spilled, warnings = usage(done.stdout + done.stderr)
    if warnings:
        raise Failure(f"ptxas: {one_line(chr(10).join(warnings))}")
    return registers, spilled


def row(args, model, gpu, folder):
    """Compiles and assembles one file for one architecture; returns the columns and whether nothing is spilled."""
    shutil.rmtree(folder, ignore_errors=True)
    start = time.monotonic()
    command = [args.sparsec, "compile", str(model), "--target", "cuda", "--gpu", gpu, "-o", str(folder), "--name", "m"]
    done = subprocess.run(command + args.options, capture_output=True, text=True, errors="replace")
    seconds = time.monotonic() - start
    if done.returncode != 0:
        raise Failure(f"compile: exit code {done.returncode}: {one_line(done.stderr)}")
    (folder / "m.weights").unlink()
    ptx = folder / "m.ptx"
    kernels = ptx.read_text().count(".visible .entry")
    columns, good = [str(kernels), f"{ptx.stat().st_size / 1e3:.0f} kB", f"{seconds:.1f}"], True
    for name, path in PTXAS.items():
        registers, spilled = assemble(args.ptx_tools / path, ptx, gpu, folder / "m.cubin")
        columns += [str(registers), str(spilled)]
        good &= spilled == 0
    return columns, good


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda s: s.split(",")  # noqa: E731
    parser.add_argument("--sparsec", required=True, help="the sparsec binary")
    parser.add_argument("--ptx-tools", required=True, type=Path, help="the folder of both releases of ptxas")
    parser.add_argument("--work", required=True, type=Path, help="folder for models and results")
    parser.add_argument("--small", action="store_true", help="the networks in miniature")
    parser.add_argument("--models", type=words, default=MODELS)
    parser.add_argument("--patterns", type=words, default=PATTERNS)
    parser.add_argument("--gpus", type=words, default=GPUS)
    parser.add_argument("--options", type=words, default=[], help="more arguments for `sparsec compile`")
    return parser.parse_args()


def dense_model(args, name):
    """The network's file, which is built where it is missing."""
    file = args.work / f"{name}{'_small' if args.small else ''}.onnx"
    if not file.exists():
        import build

        build.build(args.work, name, args.small)
    return file


def main():
    args = arguments()
    head = ["model", "pattern", "gpu", "kernels", "PTX", "seconds"]
    head += [f"{what} {release}" for release in PTXAS for what in ("registers", "spilled")]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    failed = 0
    for name in args.models:
        dense = dense_model(args, name)
        for pattern in args.patterns:
            model = dense
            if pattern != "dense":
                import prune

                model = args.work / f"cuda-matrix.{dense.stem}.{pattern.replace(':', '_')}.onnx"
                prune.prune(dense, model, pattern)
            for gpu in args.gpus:
                folder = args.work / "cuda-matrix"
                try:
                    columns, good = row(args, model, gpu, folder)
                except Failure as failure:
                    columns, good = [f"FAILED {failure}"], False
                failed += not good
                print("| " + " | ".join([dense.stem, pattern, gpu] + columns) + " |", flush=True)
                shutil.rmtree(folder, ignore_errors=True)
            if model != dense:
                model.unlink()
    print(f"\n{failed} failed" if failed else "\nevery kernel is accepted, and none spills")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
