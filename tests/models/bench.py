#!/usr/bin/env python3
"""Times sparsec's pruned networks against ONNX Runtime's dense ones, in turn, in one process, on one thread.

    python bench.py --sparsec BINARY --work DIR [--models a,b] [--patterns dense,un:0.9] [--rounds 7]

Each round runs every engine for a while, so that drifts of the machine's speed meet all of them; what is printed is the
ratio of the medians. Beside it stand the fused multiply-add peak and the copy bandwidth, as `sparsec bench` measures them.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

import onnxruntime

import build
import inputs
import prune
from shared_library import Library

MODELS = ["resnet50", "bert_base", "mobilenet_v2", "mlp_b1", "mlp_b64", "minilm"]
PATTERNS = ["dense", "un:0.9", "nm:2:4", "block:4:1:0.8", "channel:0.5"]
SECONDS_A_TURN = 0.7
# The case of inputs.py that is timed, where a network has several.
CASE = {"minilm": "1x64"}


def times(run):
    """Milliseconds of the runs of one turn."""
    run()
    found, start = [], time.perf_counter()
    while time.perf_counter() - start < SECONDS_A_TURN or len(found) < 3:
        begin = time.perf_counter()
        run()
        found.append((time.perf_counter() - begin) * 1e3)
    return found


def compiled(args, model, name, folder):
    """The model as a shared library."""
    command = [args.sparsec, "compile", str(model), "-o", str(folder), "--name", name, "--emit", "shared"]
    subprocess.run(command, check=True, capture_output=True)
    return Library(folder / f"lib{name}.so", name)


def machine(args, model):
    """FMA peak in GFLOP/s and copy bandwidth in GB/s."""
    done = subprocess.run([args.sparsec, "bench", str(model), "--json"], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    return report["fma_peak_gflops"], report["copy_gbs"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsec", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--patterns", default=",".join(PATTERNS))
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    print("| network | pattern | ONNX Runtime dense, ms | sparsec, ms | ratio |\n|---|---|---|---|---|")
    small = None
    for name in args.models.split(","):
        dense = args.work / f"{name}.onnx"
        if not dense.exists():
            build.build(args.work, name, False)
        if small is None or dense.stat().st_size < small.stat().st_size:
            small = dense
        feed = dict(inputs.cases(name, dense))[CASE.get(name, "fixed")]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(dense), options, providers=["CPUExecutionProvider"])
        engines = {}
        for pattern in args.patterns.split(","):
            model = dense
            if pattern != "dense":
                model = args.work / f"{name}.{pattern.replace(':', '_')}.onnx"
                prune.prune(dense, model, pattern)
            engines[pattern] = compiled(args, model, name + "_" + "".join(c if c.isalnum() else "_" for c in pattern), args.work)
            if pattern != "dense":
                model.unlink()
        reference, found = [], {pattern: [] for pattern in engines}
        for _ in range(args.rounds):
            reference += times(lambda: session.run(None, feed))
            for pattern, library in engines.items():
                found[pattern] += times(lambda: library.run(feed))
        base = statistics.median(reference)
        for pattern, library in engines.items():
            ours = statistics.median(found[pattern])
            print(f"| {name} | {pattern} | {base:.2f} | {ours:.2f} | {base / ours:.2f}x |", flush=True)
            library.close()
    peak, copy = machine(args, small)
    print(f"\nFMA peak {peak:.0f} GFLOP/s, copy {copy:.1f} GB/s, one thread each")


if __name__ == "__main__":
    main()
