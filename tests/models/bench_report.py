"""Turns results into tables, and puts them into docs/benchmarks.md between its markers."""

import re
from pathlib import Path

import bench_profile
import bench_targets as targets
from bench_targets import Contender, Target

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def rows(results):
    """The table of targets: dictionaries with model, against, target, measured (None where it could not be) and why not."""
    found = []
    for target in targets.TARGETS:
        row = _ratio(target, results) if isinstance(target, Target) else _share(target, results)
        if row is not None:
            found.append(row)
    return found


def _ratio(target, results):
    entry = results.get("networks", {}).get(target.network)
    if entry is None:
        return None
    times = entry["results"]
    row = {
        "model": f"{target.network} {_short(target.ours)}",
        "network": target.network,
        "pattern": target.ours.pattern,
        "threads": target.ours.threads,
        "against": " and ".join(_against(c, target) for c in target.against),
        "target": target.at_least,
        "unit": "x",
        "measured": None,
    }
    missing = [c.label() for c in (target.ours, *target.against) if c.label() not in times]
    if missing:
        row["why"] = "; ".join(f"{label}: {entry['failed'].get(label, 'was not run')}" for label in missing)
        return row
    fastest = min(times[c.label()]["median_ms"] for c in target.against)
    row["ms"], row["against_ms"] = times[target.ours.label()]["median_ms"], fastest
    row["measured"] = fastest / row["ms"]
    return row


def _share(target, results):
    entry = results.get("products")
    if entry is None:
        return None
    name = targets.product_name(target.product, target.sparsity)
    row = {
        "model": name,
        "network": None,
        "product": target.product,
        "pattern": f"un:{target.sparsity}",
        "threads": 1,
        "against": "FMA peak",
        "target": target.at_least * 100,
        "unit": "%",
    }
    result = entry["results"].get(name)
    if result is None:
        return row | {"measured": None, "why": entry["failed"].get(name, "was not run")}
    peak = entry["machine"]["fma_peak_gflops"]
    return row | {"measured": result["gflops"] / peak * 100, "ms": result["median_ms"]}


def _short(contender):
    return contender.pattern + ("" if contender.threads == 1 else f", {contender.threads} threads")


def _against(contender, target):
    return "itself on 1 thread" if contender.engine == "sparsec" else contender.label()


def verdict(row):
    if row["measured"] is None:
        return f"not measured: {row['why']}"
    if row["measured"] >= row["target"]:
        return "met"
    return f"missed by {(1 - row['measured'] / row['target']) * 100:.0f} %"


def targets_table(results):
    lines = ["| model | against | target | measured | |", "|---|---|---|---|---|"]
    for row in rows(results):
        target = f"{row['target']:g}{row['unit']}" if row["unit"] == "x" else f"{row['target']:.0f} %"
        measured = "-"
        if row["measured"] is not None:
            measured = f"{row['measured']:.2f}x" if row["unit"] == "x" else f"{row['measured']:.0f} %"
            if "against_ms" in row:
                measured += f" ({milliseconds(row['against_ms'])} / {milliseconds(row['ms'])})"
        lines.append(f"| {row['model']} | {row['against']} | {target} | {measured} | {verdict(row)} |")
    return "\n".join(lines)


def milliseconds(value):
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f} ms"


def times_table(results):
    """All medians: one line a network and number of threads."""
    networks = results.get("networks", {})
    columns = list(dict.fromkeys(
        (c.engine, c.pattern) for n in targets.NETWORKS if n in networks for c in targets.contenders(n, False)
    ))
    columns.sort(key=lambda c: c[0] == "sparsec")
    heads = [Contender(*c).label() for c in columns]
    lines = ["| network | threads | " + " | ".join(heads) + " |", "|---" * (len(heads) + 2) + "|"]
    for network in (n for n in targets.NETWORKS if n in networks):
        times = networks[network]["results"]
        for threads in (1, 2):
            labels = [Contender(*c, threads).label() for c in columns]
            if any(label in times for label in labels):
                cells = [milliseconds(times[label]["median_ms"]) if label in times else "" for label in labels]
                lines.append(f"| {network} | {threads} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def failures(results):
    """A line for each contender that could not run."""
    lines = []
    for network in targets.NETWORKS:
        for label, why in results.get("networks", {}).get(network, {}).get("failed", {}).items():
            lines.append(f"- {network}: {label} did not run ({why})")
    return "\n".join(lines)


def machine_line(results):
    """The machine and the versions, as a sentence."""
    d = results["described"]
    entries = [*results.get("networks", {}).values(), *([results["products"]] if "products" in results else [])]
    versions = sorted({v for entry in entries for v in entry.get("versions", [])})
    text = f"{d['cpu']} ({d['llvm_cpu']}), {d['cores']} cores, {d['system']}; sparsec {d['commit']}, {d['date']}"
    text += "".join(f", {v}" for v in versions)
    peaks = [e["machine"] for e in entries if e.get("machine")]
    if peaks:
        peak = sorted(p["fma_peak_gflops"] for p in peaks)
        copy = sorted(p["copy_gbs"] for p in peaks)
        text += (
            f". Measured beside, one thread: FMA peak {peak[0]:.0f}-{peak[-1]:.0f} GFLOP/s, "
            f"copy {copy[0]:.0f}-{copy[-1]:.0f} GB/s"
        )
    return text + "."


def networks_page(results):
    """The generated part of the page that is about networks."""
    parts = [machine_line(results), targets_table(results), "![measured against target](benchmarks-networks.svg)"]
    parts += ["Medians:", times_table(results)]
    if failures(results):
        parts.append(failures(results))
    missed = {row["model"]: row for row in rows(results) if verdict(row).startswith("missed")}
    for model, found in results.get("profiles", {}).items():
        if model in missed and "families" in found:
            parts += [f"**{model}**, {verdict(missed[model])}: where the time goes", bench_profile.table(found)]
    return "\n\n".join(parts)


def put(page, part, text):
    """The page with the generated part replaced."""
    begin, end = f"<!-- generated: {part} -->", f"<!-- end: {part} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise ValueError(f"the page must have one part between {begin} and {end}")
    return pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page)


def update(part, text, charts):
    """Rewrites one generated part of docs/benchmarks.md, and the charts beside it."""
    PAGE.write_text(put(PAGE.read_text(), part, text))
    for name, svg in charts.items():
        (PAGE.parent / name).write_text(svg)
