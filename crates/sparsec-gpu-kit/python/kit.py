#!/usr/bin/env python3
"""The GPU bench kit: checks and times what sparsec compiles for GPUs, and what other libraries take for the same.

    python3 kit.py [--simulate] [--binary FILE] [--output DIR] [--docs FILE] [--every N] [--no-peers]

Needs this folder, the program `sparsec-gpu-kit` (beside this file, unless --binary names it), and for other libraries' columns
PyTorch, Triton and CuPy; where one is missing its column says so. No network. Writes DIR/results.json and DIR/results.md;
--docs has the tables put into a file like docs/benchmarks-gpu.md, between its two marks.

With --simulate all of it runs on a machine without a GPU, on sparsec's simulator, in small sizes: instructions stand for time.
The exit code is 1 if a result is wrong.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import peers

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
HERE = Path(__file__).resolve().parent


def key(layer):
    return layer["name"], layer["m"], layer["k"], layer["n"], layer["pattern"]


def with_peers(results):
    """Adds the other libraries' times: once for each shape and pattern, whatever formats sparsec was asked for."""
    known = {}
    for layer in results["layers"]:
        if key(layer) not in known:
            known[key(layer)] = peers.times(peers.LAYERS, layer)
        layer["peers"] = known[key(layer)]
    dense = {}
    for network in results["networks"]:
        # Zeros make no difference to them.
        if network["name"] not in dense:
            dense[network["name"]] = peers.times(peers.NETWORKS, network)
        network["peers"] = dense[network["name"]]


def number(value):
    """A cell: microseconds with three digits, or why there are none."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def rows(cases, names, first):
    """A table: what sparsec takes, then each peer, with how many times as long."""
    lines = []
    for case in cases:
        own = case["microseconds"] if case["microseconds"] is not None else case["instructions"]
        cells = first(case) + [number(own)]
        for name in names:
            other = case.get("peers", {}).get(name)
            cell = number(other)
            if isinstance(other, float) and case["microseconds"]:
                cell += f" ({other / case['microseconds']:.2f}x)"
            cells.append(cell)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def table(head, lines):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines]


def only_reasons(cases, names):
    """Peers that have no time anywhere, with their reasons; they get a line and no column."""
    reasons = {}
    for name in names:
        cells = [case.get("peers", {}).get(name) for case in cases]
        if cells and not any(isinstance(cell, float) for cell in cells):
            reasons[name] = ", ".join(sorted({cell for cell in cells if cell})) or "not run"
    return reasons


def report(results):
    unit = "instructions of warps" if results["simulated"] else "us"
    checks = results["checks"]
    good = sum(check["passed"] for check in checks)
    alike = [check["like_simulator"] for check in checks if check["like_simulator"] is not None]
    worst = max((check["error"] for check in checks), default=0)
    lines = [
        f"Device: {results['device']}. Compiled for {results['gpu']}. "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + ".",
        "",
        f"{good} of {len(checks)} small kernels are right (largest error {worst:.1e}); {sum(alike)} of {len(alike)} "
        "have what the simulator computes: its bits in f32, and within 1e-5 on tensor cores, which add in an order of their own.",
    ]
    for title, cases, all_names, head, first in (
        (
            "Layers",
            results["layers"],
            list(peers.LAYERS),
            ["layer", "M x K x N", "pattern", "compute", "asked", "format", "error"],
            lambda c: [
                c["name"],
                f"{c['m']} x {c['k']} x {c['n']}",
                c["pattern"],
                c["compute"],
                c["asked"],
                c["format"],
                f"{c['error']:.0e}" + ("" if c["passed"] else " WRONG"),
            ],
        ),
        (
            "Networks",
            results["networks"],
            list(peers.NETWORKS),
            ["network", "pattern", "compute", "launches", "error"],
            lambda c: [
                c["name"],
                c["pattern"],
                c["compute"],
                str(c["launches"]),
                ("-" if c["error"] is None else f"{c['error']:.0e}") + ("" if c["passed"] else " WRONG"),
            ],
        ),
    ):
        reasons = only_reasons(cases, all_names)
        names = [name for name in all_names if name not in reasons]
        lines += ["", f"### {title}", "", f"Medians, in {unit}; in brackets, how many times as long as sparsec's.", ""]
        lines += table(head + ["sparsec"] + names, rows(cases, names, first))
        if reasons:
            lines += ["", "Without times: " + "; ".join(f"{name} ({why})" for name, why in reasons.items()) + "."]
    return "\n".join(lines) + "\n"


def put(text, file):
    """Replaces what stands between the marks of a file."""
    page = file.read_text()
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    file.write_text(page[:begin] + "\n\n" + text + "\n" + page[end:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulate", action="store_true", help="on the simulator, in small sizes")
    parser.add_argument("--binary", type=Path, default=HERE / "sparsec-gpu-kit", help="the program")
    parser.add_argument("--output", type=Path, default=Path("gpu-results"), help="folder for the results")
    parser.add_argument("--docs", type=Path, help="a page whose tables are replaced")
    parser.add_argument("--every", type=int, default=1, help="only every N-th layer")
    parser.add_argument("--parts", default="check,layers,networks", help="some of check, layers, networks")
    parser.add_argument("--no-peers", action="store_true", help="sparsec alone")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    file = args.output / "results.json"
    command = [str(args.binary), "--output", str(file), "--every", str(args.every), "--parts", args.parts]
    done = subprocess.run(command + ["--simulate"] * args.simulate)
    if done.returncode != 0 and not file.exists():
        sys.exit(done.returncode)
    results = json.loads(file.read_text())
    results["versions"] = peers.versions()
    if not args.no_peers:
        with_peers(results)
    file.write_text(json.dumps(results, indent=2) + "\n")
    text = report(results)
    (args.output / "results.md").write_text(text)
    if args.docs:
        put(text, args.docs)
    print(f"wrote {file} and {args.output / 'results.md'}")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
