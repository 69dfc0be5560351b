#!/usr/bin/env python3
"""Times compiled networks against other engines, in turns; `cargo xtask bench` calls it.

    bench.py --sparsec BINARY --turns BINARY --work DIR [--deepsparse PYTHON] [--quick] [--models a,b] [--seconds S]
    bench.py ... --kernels        single layers over densities, formats and widths instead of networks

Networks are built, pruned and compiled once and kept in DIR. Then each network's engines take turns (bench_turns.py), and
the ratios of their medians are held against the targets (bench_targets.py). Results are collected in DIR/networks.json or
DIR/kernels.json; a full run also updates docs/benchmarks.md and its charts, --docs does so with what is there.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import bench_chart
import bench_kernels
import bench_profile
import bench_report
import bench_targets as targets
from bench_prepare import Workshop
from bench_turns import Contest, Engine, Guard

ROUNDS = 7


def summary(times):
    return {
        "median_ms": statistics.median(times),
        "min_ms": min(times),
        "runs": len(times),
    }


def machine_summary(samples):
    """The median over the rounds of each quantity."""
    return {name: statistics.median(s[name] for s in samples) for name in samples[0]} if samples else {}


def start_command(args, workshop, network, contender):
    """The command that loads a network into an engine."""
    feed = workshop.feed(network)
    if contender.engine == "sparsec":
        library, name = workshop.library(network, contender.pattern)
        return [args.turns, "--library", library, "--name", name, "--threads", contender.threads, *feed]
    python = args.deepsparse if contender.engine == "deepsparse" else sys.executable
    peer = Path(__file__).with_name("bench_peer.py")
    return [python, "-B", peer, contender.engine, workshop.model(network, contender.pattern), contender.threads, *feed]


def measure_network(args, workshop, machine, network):
    """The results of one contest."""
    field, failed, engine = {}, {}, {}
    for contender in targets.contenders(network, args.quick):
        if contender.engine == "deepsparse" and not args.deepsparse:
            failed[contender.label()] = f"does not install here: {args.no_deepsparse}"
        else:
            field[contender.label()] = start_command(args, workshop, network, contender)
            engine[contender.label()] = contender.name()
    with Contest(field, machine, args.guard) as contest:
        times, samples = contest.run(args.rounds, args.seconds / args.rounds)
        return {
            "results": {label: summary(found) for label, found in times.items()},
            "failed": failed | contest.failed,
            "versions": sorted({f"{engine[label]} {v}" for label, v in contest.versions.items() if v}),
            "machine": machine_summary(samples),
        }


def measure_products(args, workshop, machine):
    """The layers that are held against the peak."""
    field, nonzeros = {}, {}
    for product in targets.PRODUCTS:
        for sparsity in (0.8, 0.9):
            name = targets.product_name(product, sparsity)
            layer = workshop.layer("matmul", product, f"un:{sparsity}")
            library, symbol = workshop.layer_library(layer, "auto")
            field[name] = [args.turns, "--library", library, "--name", symbol, *layer.feed]
            nonzeros[name] = layer.nonzeros * product[2]
    with Contest(field, machine, args.guard) as contest:
        times, samples = contest.run(2 * args.rounds, args.seconds / args.rounds / 4)
        results = {name: summary(found) for name, found in times.items()}
        for name, result in results.items():
            result["gflops"] = 2e-6 * nonzeros[name] / result["median_ms"]
        return {"results": results, "failed": contest.failed, "machine": machine_summary(samples)}


def explain(args, workshop, results):
    """Profiles of what misses its target, by the name of the row."""
    found = {}
    for row in bench_report.rows(results):
        if row["measured"] is None or row["measured"] >= row["target"] or row["model"] in found:
            continue
        print(f"-- profile of {row['model']}", flush=True)
        if row["network"]:
            model, dims = workshop.model(row["network"], row["pattern"]), bench_profile.dims_of(row["network"])
        else:
            model, dims = workshop.layer("matmul", row["product"], row["pattern"]).path, {}
        found[row["model"]] = bench_profile.profile(args, workshop, model, row["threads"], dims, args.guard)
    return found


def describe(workshop):
    """The machine and the programs, for the page."""
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {
        "cpu": cpu,
        "llvm_cpu": workshop.cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{release.get('PRETTY_NAME', '?').strip(chr(34))}, Linux {platform.release().split('-')[0]}",
        "commit": commit,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def load(path):
    return json.loads(path.read_text()) if path.exists() else {}


def run_networks(args, workshop, machine):
    path = args.work / "networks.json"
    results = load(path)
    results["described"] = describe(workshop)
    for network in args.models:
        print(f"-- {network}", flush=True)
        results.setdefault("networks", {})[network] = entry = measure_network(args, workshop, machine, network)
        for label, found in entry["results"].items():
            print(f"   {label:36} {found['median_ms']:9.3f} ms, best {found['min_ms']:9.3f}, {found['runs']} runs", flush=True)
        for label, why in entry["failed"].items():
            print(f"   {label:36} {why}", flush=True)
        path.write_text(json.dumps(results, indent=1))
    if args.products:
        print("-- products", flush=True)
        results["products"] = measure_products(args, workshop, machine)
        path.write_text(json.dumps(results, indent=1))
    if args.profiles:
        results["profiles"] = explain(args, workshop, results)
        path.write_text(json.dumps(results, indent=1))
    shown = {name: results["networks"][name] for name in args.models}
    print("\n" + bench_report.targets_table(results | {"networks": shown}) + "\n\n" + bench_report.machine_line(results))
    return results


def run_kernels(args, workshop, machine):
    path = args.work / "kernels.json"
    results = {"points": []}
    for kind, shape, columns in bench_kernels.layers(args.quick):
        found = bench_kernels.measure(args, workshop, machine, kind, shape, columns)
        print(bench_kernels.table(found) + "\n", flush=True)
        results["points"] += found
        workshop.discard_layers()
        results["described"] = describe(workshop)
        path.write_text(json.dumps(results, indent=1))
    return results


def prepare(args, workshop):
    """Everything that takes long and is kept."""
    for network in args.models:
        for contender in targets.contenders(network, args.quick):
            model = workshop.model(network, contender.pattern)
            if contender.engine == "sparsec":
                print(f"compiling {model.name}", flush=True)
                workshop.library(network, contender.pattern)
        workshop.feed(network)


def update_page(args):
    networks, kernels = load(args.work / "networks.json"), load(args.work / "kernels.json")
    if not args.kernels and networks:
        chart = bench_chart.targets(bench_report.rows(networks))
        bench_report.update("networks", bench_report.networks_page(networks), {"benchmarks-networks.svg": chart})
    if args.kernels and kernels:
        chart = bench_chart.panels(bench_kernels.charts(kernels["points"]), "density", "share of the FMA peak, %")
        text = bench_report.machine_line(kernels) + "\n\n![share of the peak](benchmarks-kernels.svg)\n\n"
        text += bench_kernels.table(kernels["points"])
        bench_report.update("kernels", text, {"benchmarks-kernels.svg": chart})


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsec", required=True, help="the sparsec binary")
    parser.add_argument("--turns", required=True, help="the binary that times libraries")
    parser.add_argument("--work", required=True, type=Path, help="folder for models, libraries and results")
    parser.add_argument("--deepsparse", help="Python of an environment that has DeepSparse")
    parser.add_argument("--no-deepsparse", default="no environment was given", help="why there is none")
    parser.add_argument("--quick", action="store_true", help="only what the targets need, and shorter; few layers")
    parser.add_argument("--kernels", action="store_true", help="single layers instead of networks")
    parser.add_argument("--models", type=lambda s: s.split(","), help="names separated by commas; `products` is one, too")
    parser.add_argument("--seconds", type=float, help="seconds for each engine and network in all")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--guard", type=Guard, default=Guard(""), help="command that keeps the machine quiet in a round")
    parser.add_argument("--prepare", action="store_true", help="build and compile the networks, and end there")
    parser.add_argument("--profiles", action="store_true", help="profile what misses its target; a full run does")
    parser.add_argument("--docs", action="store_true", help="update the page from the results even if not all was run")
    args = parser.parse_args()
    whole = not args.models and not args.quick
    known = [*targets.NETWORKS, "products"]
    for name in args.models or []:
        if name not in known:
            parser.error(f"unknown network {name!r}; known: {' '.join(known)}")
    wanted = args.models or known
    args.products = "products" in wanted
    args.models = [name for name in targets.NETWORKS if name in wanted]
    args.docs = args.docs or (whole and not args.prepare)
    args.profiles = args.profiles or args.docs
    args.seconds = args.seconds or {(0, 0): 4.0, (0, 1): 1.5, (1, 0): 0.09, (1, 1): 0.06}[args.kernels, args.quick]
    return args


def main():
    args = arguments()
    workshop = Workshop(args.work, args.sparsec)
    if not args.kernels:
        # Layers are made one by one and thrown away, since together they are large.
        prepare(args, workshop)
    if args.prepare:
        return
    machine = Engine([args.turns, "--machine"])
    machine.wait()
    (run_kernels if args.kernels else run_networks)(args, workshop, machine)
    machine.close()
    if args.docs:
        update_page(args)


if __name__ == "__main__":
    main()
