"""Why a target is missed: where the time of a network goes, kernel family by kernel family.

The library's own clock times each launch (`sparsec bench --layers`). Beside it stands what the assembly of a family's largest
kernel says: how many loads go with a multiply-add in its inner loop. A core of x86 issues two loads a cycle, so half of that
is a bound on cycles; a peak of one vector multiply-add a cycle is the other. What is above both is stalls, packing, sums
between partitions, lanes that are computed and not stored.
"""

import json
import re
import subprocess

import inputs

# Where the machine's peak is one vector multiply-add of the widest kind a cycle, cycles for each are the inverse share.
LOADS_A_CYCLE = 2


def profile(args, workshop, model, threads, dims, guard):
    """{family: layers, microseconds, multiply-adds, share of the peak, loads for each multiply-add} of a model file."""
    command = [args.sparsec, "bench", str(model), "--layers", "--json", "--seconds", "1", "--threads", str(threads)]
    for name, size in dims.items():
        command += ["--dim", f"{name}={size}"]
    guard.acquire()
    done = subprocess.run(command, capture_output=True, text=True)
    guard.release()
    if done.returncode != 0:
        return {"failed": done.stderr.strip()}
    report = json.loads(done.stdout)
    largest, families = {}, {}
    for layer in report["profile"]["layers"]:
        family = layer["family"]
        if layer["median_us"] > largest.get(family, {"median_us": -1})["median_us"]:
            largest[family] = layer
    assembly = workshop.assembly(model, dims)
    for family, found in report["profile"]["families"].items():
        macs = found["kept_macs"]
        share = 2e-3 * macs / found["us"] / report["fma_peak_gflops"] if macs and found["us"] else None
        families[family] = {
            "layers": found["layers"],
            "us": found["us"],
            "macs": macs,
            "share": share,
            "loads": loads_for_each_fma(assembly, largest[family]["kernel"]) if share else None,
        }
    return {"median_ms": report["median_ms"], "families": families}


def dims_of(network):
    return inputs.TIMED.get(network, {})


def loads_for_each_fma(assembly, kernel):
    """Loads in the innermost loop with the most multiply-adds of a kernel, for each of these; None where it has no loop."""
    body = re.search(rf"^\w+_{kernel}_body:$(.*?)^\.Lfunc_end", assembly, re.DOTALL | re.MULTILINE)
    if body is None:
        return None
    lines = [line.split("#")[0].strip() for line in body.group(1).splitlines()]
    counts = [_count(lines[start:end]) for start, end in _innermost(lines)]
    fmas, loads = max(counts, default=(0, 0))
    return loads / fmas if fmas else None


def _innermost(lines):
    """(first, end) of each loop that has none within: from a label to the last jump back to it."""
    found = []
    for start, line in enumerate(lines):
        if re.fullmatch(r"\.L\w+:", line):
            jumps = [i for i in range(start, len(lines)) if re.fullmatch(rf"(j|b|c|t)\S*\s.*\{line[:-1]}", lines[i])]
            if jumps:
                found.append((start, jumps[-1] + 1))
    holds = lambda a, b: a != b and a[0] <= b[0] and b[1] <= a[1]
    return [a for a in found if not any(holds(a, b) for b in found)]


def _count(lines):
    """Multiply-adds of a loop, and loads of any kind."""
    fmas = loads = 0
    for line in lines:
        mnemonic, _, operands = line.partition("\t")
        fma = re.match(r"vfn?madd|fmla", mnemonic) is not None
        fmas += fma
        x86 = "%" in operands
        memory = "(" in operands if x86 else re.search(r"\[(x|sp)", operands) is not None
        stores = not fma and (operands.endswith(")") if x86 else mnemonic.startswith("st"))
        loads += memory and not stores and not mnemonic.startswith(("lea", "pr", "nop"))
    return fmas, loads


def table(found):
    """The families that take at least a fiftieth of the time, as lines of a table."""
    total = sum(family["us"] for family in found["families"].values())
    lines = [
        "| kernels | layers | share of the time | % of the FMA peak | cycles for each vector multiply-add | least by loads |",
        "|---|---|---|---|---|---|",
    ]
    for name, family in sorted(found["families"].items(), key=lambda item: -item[1]["us"]):
        if family["us"] < total / 50:
            continue
        rate = cycles = bound = ""
        if family["share"]:
            rate, cycles = f"{family['share']:.0%}", f"{1 / family['share']:.2f}"
            bound = f"{family['loads'] / LOADS_A_CYCLE:.2f}" if family["loads"] else ""
        lines.append(f"| {name} | {family['layers']} | {family['us'] / total:.0%} | {rate} | {cycles} | {bound} |")
    return "\n".join(lines)
