#!/usr/bin/env python3
"""Compiles fetched models with sparsec and compares them with ONNX Runtime: agreement, time to compile, time to run.

    python real.py --sparsec BINARY --models FOLDER --work DIR [--only ppocr_det,...] [--patterns dense,un:0.9]
                   [--seconds S]

FOLDER holds models as their packages ship them (fetch.py); what is missing is skipped and said so. Each model is
compiled once, and that one library answers all its input shapes. A line for each model, pattern and shape: the largest
difference relative to the output's largest magnitude (1e-4 at most, integers and NaN exactly), the time to compile, and, with
--seconds, the best times of both in turns, on one thread.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

from fetched import MODELS
from shared_library import Library, StatusError

TOLERANCE = 1e-4


def difference(ours, theirs):
    """Relative to the largest magnitude; infinite where shapes or integers differ."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return np.inf
    if not np.issubdtype(theirs.dtype, np.floating):
        return 0.0 if np.array_equal(ours, theirs) else np.inf
    # What a model masks with NaN is compared as such.
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
        return np.inf
    ours, theirs = np.nan_to_num(ours, nan=0.0), np.nan_to_num(theirs, nan=0.0)
    # ONNX Runtime's sigmoid is 0 where it is below about 1e-8, so a detector that finds nothing has no magnitude to compare.
    scale = max(float(np.abs(theirs).max(initial=0.0)), 1e-6)
    worst = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0)) / scale
    return worst if np.isfinite(worst) else np.inf


def best_times(seconds, runs):
    """The best time of each function, in milliseconds, called in turns."""
    best = [np.inf] * len(runs)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], (time.perf_counter() - start) * 1e3)
    return best


def check(args, name, pattern):
    """Number of failures of a model in a pattern."""
    file, options, makers = MODELS[name]
    model = Path(args.models) / file
    if not model.exists():
        print(f"{name}: skipped, {model} is not there")
        return 0
    folder = Path(args.work) / f"{name}.{pattern.replace(':', '_')}"
    folder.mkdir(parents=True, exist_ok=True)
    if pattern != "dense":
        pruned = folder / "model.onnx"
        subprocess.run([args.sparsec, "prune", model, "--pattern", pattern, "-o", pruned], check=True, capture_output=True)
        model = pruned
    start = time.perf_counter()
    command = [args.sparsec, "compile", model, "-o", folder, "--name", "net", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{name} {pattern}: does not compile: {done.stderr.strip()}  FAILED", flush=True)
        return 1
    compiling = time.perf_counter() - start
    one = onnxruntime.SessionOptions()
    one.intra_op_num_threads = 1
    # Some models state shapes that they do not have.
    one.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), one, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    failures = 0
    with Library(folder / "libnet.so", "net") as library:
        for make in makers:
            feed = make(np.random.default_rng(1))
            theirs = dict(zip(names, session.run(names, feed)))
            try:
                ours = library.run(feed)
            except StatusError as error:
                print(f"{name} {pattern} {list(next(iter(feed.values())).shape)}: {error}  FAILED", flush=True)
                failures += 1
                continue
            worst = max(difference(ours[output], theirs[output]) for output in names)
            failures += worst > TOLERANCE
            line = f"{name} {pattern} {list(next(iter(feed.values())).shape)}: {worst:.1e}, compiled in {compiling:.1f} s"
            if args.seconds:
                mine, other = best_times(args.seconds, [lambda: library.run(feed), lambda: session.run(names, feed)])
                line += f", {mine:.2f} ms, ONNX Runtime {other:.2f} ms, ratio {other / mine:.2f}"
            print(line + ("" if worst <= TOLERANCE else "  FAILED"), flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsec", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--patterns", default="dense,un:0.9")
    parser.add_argument("--seconds", type=float, default=0.0)
    args = parser.parse_args()
    if unknown := [name for name in args.only.split(",") if name not in MODELS]:
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(MODELS)}")
    pairs = [(name, pattern) for name in args.only.split(",") for pattern in args.patterns.split(",")]
    failures = sum(check(args, name, pattern) for name, pattern in pairs)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
