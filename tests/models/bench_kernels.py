"""Kernel mode: single layers over densities, formats and widths.

What is reported is the rate on nonzeros as a share of the FMA peak that was measured in the same rounds. The dense kernel
computes the zeros, too, so its useful rate falls with the density: where its line crosses a format's, dense begins to win.
"""

import statistics

from bench_turns import Contest

DENSITIES = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
GROUPS = ["nm:1:8", "nm:1:4", "nm:2:4"]
WIDTHS = [1, 8, 32, 128, 784]
# Weights (outputs, inputs) of BERT-base's projections, and of ResNet-50's layers taken as products.
MATRICES = [(768, 768), (3072, 768), (768, 3072), (1024, 256), (256, 2304)]
# ResNet-50's convolutions (outputs, inputs, kernel, image), at the size that they have there.
CONVOLUTIONS = [
    (256, 64, 1, 56), (512, 128, 1, 28), (1024, 256, 1, 14), (2048, 512, 1, 7),
    (64, 64, 3, 56), (128, 128, 3, 28), (256, 256, 3, 14), (512, 512, 3, 7),
]  # fmt: skip


def layers(quick):
    """(kind, shape, number of columns) of what is measured."""
    matrices = [("matmul", (m, k, n), n) for m, k in (MATRICES[:1] if quick else MATRICES) for n in WIDTHS]
    convolutions = CONVOLUTIONS[2:7:4] if quick else CONVOLUTIONS
    return matrices + [("conv", shape, shape[3] ** 2) for shape in convolutions]


def title(kind, shape):
    if kind == "matmul":
        m, k, n = shape
        return f"{m}x{k}, N = {n}"
    m, c, kernel, image = shape
    return f"conv {m}x{c}x{kernel}x{kernel}, {image}x{image}"


def family(weight_format):
    """`hyb` of `hyb<...>`; blocks keep their size."""
    return weight_format if weight_format.startswith("bsr") else weight_format.split("<")[0]


def suits(pattern, weight_format):
    """Whether a format is made for a kind of pattern: blocks for blocks, N:M for N:M, the others for what has neither."""
    made_for = {"bsr": "block", "nm": "nm", "dense": None}
    return made_for.get(weight_format.split("<")[0], "un") == pattern.split(":")[0]


def field(workshop, kind, shape, quick):
    """What runs for one layer: {(pattern, format): (layer, library, name)}."""
    densities = DENSITIES[1::2] if quick else DENSITIES
    patterns = [f"un:{1 - d:.2f}" for d in densities] + [f"block:4:1:{1 - d:.2f}" for d in densities] + GROUPS
    found = {}
    dense = workshop.layer(kind, shape, "dense")
    found["dense", "dense"] = (dense, *workshop.layer_library(dense, "dense"))
    for pattern in patterns:
        layer = workshop.layer(kind, shape, pattern)
        formats, _ = workshop.candidates(layer)
        seen = set()
        for weight_format in formats:
            # Of several parameters of one format the compiler lists the one that it predicts to be best first.
            if suits(pattern, weight_format) and family(weight_format) not in seen:
                seen.add(family(weight_format))
                found[pattern, weight_format] = (layer, *workshop.layer_library(layer, weight_format))
    return found


def measure(args, workshop, machine, kind, shape, columns):
    """The points of one layer: dictionaries with pattern, format, density, milliseconds and share of the peak."""
    runs = field(workshop, kind, shape, args.quick)
    starts = {
        key: [args.turns, "--library", library, "--name", name, *layer.feed]
        for key, (layer, library, name) in runs.items()
    }
    with Contest(starts, machine, args.guard) as contest:
        times, samples = contest.run(3, args.seconds / 3)
        for key, why in contest.failed.items():
            raise SystemExit(f"{title(kind, shape)}, {' '.join(key)}: {why}")
    peak = statistics.median(sample["fma_peak_gflops"] for sample in samples)
    elements = runs["dense", "dense"][0].nonzeros
    points = []
    for (pattern, weight_format), found in times.items():
        nonzeros, median = runs[pattern, weight_format][0].nonzeros, statistics.median(found)
        points.append({
            "layer": title(kind, shape),
            "pattern": pattern.split(":")[0],
            "format": family(weight_format),
            "density": nonzeros / elements,
            "ms": median,
            "share": 2e-6 * nonzeros * columns / median / peak,
        })  # fmt: skip
    return points


def by_layer(points):
    """{layer: (share of the dense kernel, {format: points in order of density})}."""
    found = {}
    for point in points:
        dense, formats = found.setdefault(point["layer"], ([], {}))
        if point["format"] == "dense":
            dense.append(point["share"])
        else:
            formats.setdefault(point["format"], []).append(point)
    for _, formats in found.values():
        for series in formats.values():
            series.sort(key=lambda point: point["density"])
    return {layer: (dense[0], formats) for layer, (dense, formats) in found.items()}


def crossover(dense, series):
    """The density at which the dense kernel becomes as fast, as text: between two points, by interpolation."""
    gain = [(p["density"], p["share"] / (dense * p["density"])) for p in series]
    if gain[0][1] < 1:
        return f"< {gain[0][0]:.0%}"
    for (low, before), (high, after) in zip(gain, gain[1:]):
        if after < 1:
            return f"{low + (high - low) * (before - 1) / (before - after):.0%}"
    return f"> {gain[-1][0]:.0%}"


def table(points):
    """One line a layer and format."""
    densities = sorted({round(p["density"], 2) for p in points if p["pattern"] == "un"})
    heads = " | ".join(f"{d:.0%}" for d in densities)
    lines = [f"| layer | dense | format | {heads} | crossover |", "|---" * (len(densities) + 4) + "|"]
    for layer, (dense, formats) in by_layer(points).items():
        for name, series in formats.items():
            share = {round(p["density"], 2): f"{p['share']:.0%}" for p in series}
            other = ", ".join(f"{s} at {d:.1%}" for d, s in share.items() if d not in densities)
            cells = " | ".join(share.get(d, "") for d in densities)
            crossing = crossover(dense, series) + (f" ({other})" if other else "")
            lines.append(f"| {layer} | {dense:.0%} | {name} | {cells} | {crossing} |")
    return "\n".join(lines)


def charts(points):
    """{layer: {series: [(density, percent of the peak)]}} for bench_chart.panels."""
    found = {}
    for layer, (dense, formats) in by_layer(points).items():
        chart = {"dense": [(d, 100 * dense * d) for d in (0, 0.6)]}
        chart |= {name: [(p["density"], 100 * p["share"]) for p in series] for name, series in formats.items()}
        found[layer] = chart
    return found
