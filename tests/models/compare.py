#!/usr/bin/env python3
"""Runs networks with sparsec and with ONNX Runtime and compares every output.

    python compare.py --sparsec BINARY --work DIR [--small] [--models a,b] [--patterns dense,un:0.9] [--interpret]
                      [--threads N] [--simulate sm_80 [--compute f16]]

Builds each network (build.py), prunes it in each pattern (prune.py), and prints one line for each pair: the largest
difference relative to the output's largest magnitude, which may be 1e-4, over all outputs and all input shapes. The last
line counts; the exit code is 1 if anything failed. Pruned files are deleted afterwards unless they failed or --keep is
given.

A network with symbolic dimensions is also compiled once, and that one library answers all its input shapes through the C
interface (shared_library.py); its line says `one library`.

With --simulate the networks are compiled for that GPU and run on a simulated one, which takes seconds for miniatures and
hours for full sizes. With --compute products with weights are rounded for tensor cores, and the tolerance is that of the precision.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime

import build
import inputs
import prune
from shared_library import Library, StatusError

TOLERANCE = 1e-4
# Of products whose factors are rounded to so many bits, as docs/ptx.md has them.
ROUNDED = {"f16": 2e-3, "tf32": 2e-3, "bf16": 2e-2}
PATTERNS = ["dense", "un:0.9", "nm:2:4", "block:4:1:0.8"]
CHANNEL = "channel:0.5"
MODELS = ["resnet50", "mobilenet_v2", "mlp_b1", "mlp_b64", "bert_base", "minilm", "voice", "keywords"]
# Small ones whose structure is what is hard about them: one library each, dense.
STRUCTURES = ["graph_network", "detector", "rotary_decoder", "relative_encoder", "sound_encoder"]
WITH_CHANNEL = {"resnet50", "bert_base", "border"}


class Failure(Exception):
    """A network that does not run or gives something else; the message is one line."""


def reference(model, feeds):
    """ONNX Runtime's outputs by name."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, feed))) for feed in feeds]


def run_sparsec(args, model, feed, folder):
    """Runs the model through the command line; returns a function from an output's name to its array."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [args.sparsec, "run", str(model), "--output-dir", str(folder / "out")]
    (folder / "out").mkdir()
    for number, (name, array) in enumerate(feed.items()):
        file = folder / f"in_{number}.npy"
        np.save(file, array)
        command += ["--input", f"{name}={file}"]
    if args.interpret:
        command.append("--interpret")
    if args.simulate:
        command += ["--target", "cuda", "--gpu", args.simulate, "--simulate"]
        command += ["--compute", args.compute] if args.compute else []
    if args.threads:
        command += ["--threads", str(args.threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=args.timeout)
    except subprocess.TimeoutExpired:
        raise Failure(f"ran for more than {args.timeout} s") from None
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Failure(f"exit code {done.returncode}: {' | '.join(said[:4]) or 'no message'}")

    def output(name):
        file = folder / "out" / f"{name.replace('/', '_')}.npy"
        if not file.exists():
            raise Failure(f"no output {name!r}")
        return np.load(file)

    return output


def difference(name, got, expected):
    """The largest difference relative to the largest expected magnitude."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise Failure(f"{name} is {got.dtype}{list(got.shape)}, expected {expected.dtype}{list(expected.shape)}")
    if expected.size == 0:
        return 0.0
    if not np.isfinite(expected).all():
        raise Failure(f"{name}: ONNX Runtime's result is not finite, so it can't be compared")
    if not np.isfinite(got).all():
        raise Failure(f"{name} has {np.count_nonzero(~np.isfinite(got))} values that are not finite")
    largest = np.abs(expected.astype(np.float64)).max()
    error = np.abs(got.astype(np.float64) - expected).max()
    return float(error / largest) if largest else float(error)


def compare(args, name, model, scratch):
    """The largest difference over all cases of one model file; raises Failure."""
    worst = 0.0
    cases = list(inputs.cases(name, model))
    for (label, feed), expected in zip(cases, reference(model, [feed for _, feed in cases])):
        try:
            output = run_sparsec(args, model, feed, scratch)
            for output_name, array in expected.items():
                error = difference(output_name, output(output_name), array)
                worst = max(worst, error)
                if error > ROUNDED.get(args.compute, TOLERANCE):
                    raise Failure(f"{output_name} differs by {error:.1e}")
        except Failure as failure:
            raise Failure(f"input shape {label}: {failure}" if len(cases) > 1 else str(failure)) from None
    return worst


def compare_library(args, name, model, folder):
    """Compiles the network once and compares the library's answers to all cases; raises Failure."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [args.sparsec, "compile", str(model), "-o", str(folder), "--name", name]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise Failure(f"compile: exit code {done.returncode}: {done.stderr.strip() or 'no message'}")
    worst = 0.0
    cases = list(inputs.cases(name, model))
    with Library(folder / f"lib{name}.so", name) as library:
        for (label, feed), expected in zip(cases, reference(model, [feed for _, feed in cases])):
            try:
                found = library.run(feed)
            except StatusError as error:
                raise Failure(f"input shape {label}: {error}") from None
            for output_name, array in expected.items():
                error = difference(output_name, found[output_name], array)
                worst = max(worst, error)
                if error > TOLERANCE:
                    raise Failure(f"input shape {label}: {output_name} differs by {error:.1e}")
        for label, feed in inputs.refused(name, model):
            try:
                library.run(feed)
            except StatusError:
                continue
            raise Failure(f"input shape {label}: answered, though the model has no result for it")
    return worst


def check_library(args, name, dense):
    """Prints the line of one library for all input shapes; returns whether it agreed."""
    folder = args.work / "one_library" / dense.stem
    try:
        worst = compare_library(args, name, dense, folder)
        shapes = " ".join(label for label, _ in inputs.cases(name, dense))
        result, good = f"max error {worst:.1e}  ok ({shapes})", True
    except Failure as failure:
        result, good = f"FAIL  {failure}", False
    print(f"{dense.stem:20} {'one library':15} {result}", flush=True)
    if good and not args.keep:
        shutil.rmtree(folder)
    return good


def patterns_of(args, name):
    if args.patterns:
        return args.patterns
    if name in STRUCTURES:
        return []
    return PATTERNS + [CHANNEL] if name in WITH_CHANNEL else PATTERNS


def check(args, name, pattern, dense):
    """Prunes, compares and prints the line of one network in one pattern; returns whether it agreed."""
    model = dense
    if pattern != "dense":
        model = dense.with_name(f"{dense.stem}.{pattern.replace(':', '_')}.onnx")
        prune.prune(dense, model, pattern)
    # A folder of its own for each check, so that several runs may share one --work.
    scratch = args.work / ("interpreted" if args.interpret else args.simulate or "compiled") / model.stem
    try:
        result, good = f"max error {compare(args, name, model, scratch):.1e}  ok", True
    except Failure as failure:
        result, good = f"FAIL  {failure}", False
    print(f"{dense.stem:20} {pattern:15} {result}", flush=True)
    if good and not args.keep:
        shutil.rmtree(scratch)
        if model != dense:
            model.unlink()
    return good


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsec", required=True, help="the sparsec binary")
    parser.add_argument("--work", required=True, type=Path, help="folder for models, inputs and outputs")
    parser.add_argument("--small", action="store_true", help="the networks in miniature, and `border`")
    parser.add_argument("--models", type=lambda s: s.split(","), help="names separated by commas")
    parser.add_argument("--patterns", type=lambda s: s.split(","), help="patterns separated by commas, or dense")
    parser.add_argument("--interpret", action="store_true", help="use sparsec's graph interpreter")
    parser.add_argument("--simulate", metavar="GPU", help="compile for this GPU, and simulate it")
    parser.add_argument("--compute", choices=list(ROUNDED), help="with --simulate: what products with weights are rounded to")
    parser.add_argument("--threads", type=int, help="threads of a run (default: the command line's)")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one run (default 900)")
    parser.add_argument("--keep", action="store_true", help="delete nothing")
    args = parser.parse_args()
    if args.compute and not args.simulate:
        parser.error("--compute is for --simulate: CPUs compute in f32")
    args.models = args.models or MODELS + (["border", *STRUCTURES] if args.small else [])
    for name in args.models:
        if name not in (build.SMALL if args.small else build.FULL):
            parser.error(f"unknown network {name!r}")
    for pattern in args.patterns or []:
        if pattern != "dense":
            try:
                prune.parse_pattern(pattern)
            except ValueError as error:
                parser.error(str(error))
    if shutil.which(args.sparsec) is None:
        parser.error(f"{args.sparsec} is not a program")
    return args


def main():
    args = arguments()
    results = []
    for name in args.models:
        dense = build.build(args.work, name, args.small)
        results += [check(args, name, pattern, dense) for pattern in patterns_of(args, name)]
        if name in inputs.DIMENSIONS and not (args.interpret or args.simulate):
            results.append(check_library(args, name, dense))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
