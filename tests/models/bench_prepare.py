"""What a benchmark needs before it starts: networks, pruned networks, input arrays, compiled libraries; each made once."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np

import bench_layers
import build
import inputs
import prune


class Layer(NamedTuple):
    """A network of a single layer."""

    path: Path
    feed: list
    nonzeros: int


class Workshop:
    """Files under one folder. Libraries are made anew where the compiler has changed."""

    def __init__(self, folder, sparsec):
        self._folder, self._sparsec = Path(folder), sparsec
        self._compiler = hashlib.sha256(Path(sparsec).read_bytes()).hexdigest()
        for part in ("models", "feeds", "libraries", "layers"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)

    def model(self, network, pattern="dense"):
        """The ONNX file of a network, pruned in a pattern."""
        dense = self._folder / "models" / f"{network}.onnx"
        if not dense.exists():
            build.build(dense.parent, network, False)
        if pattern == "dense":
            return dense
        pruned = dense.with_name(f"{network}.{pattern.replace(':', '_')}.onnx")
        if not pruned.exists():
            unfinished = pruned.with_suffix(".part")
            prune.prune(dense, unfinished, pattern)
            unfinished.rename(pruned)
        return pruned

    def feed(self, network):
        """`NAME=FILE` for each input of a network, in the order of its inputs."""
        listing = self._folder / "feeds" / f"{network}.json"
        if not listing.exists():
            found = []
            for number, (name, array) in enumerate(inputs.timed(network, self.model(network)).items()):
                file = listing.with_name(f"{network}.{number}.npy")
                np.save(file, array)
                found.append(f"{name}={file}")
            listing.write_text(json.dumps(found))
        return json.loads(listing.read_text())

    def library(self, network, pattern):
        """The compiled network and the prefix of its functions."""
        return self._compile(self.model(network, pattern), [])

    def layer(self, kind, shape, pattern):
        """A network of a single layer: kind `matmul` or `conv` of bench_layers.py."""
        stem = f"{kind}_{'x'.join(map(str, shape))}.{pattern.replace(':', '_')}"
        path = self._folder / "layers" / f"{stem}.onnx"
        nonzeros, x_shape = getattr(bench_layers, kind)(path, shape, pattern)
        array = path.with_name(f"x_{'x'.join(map(str, x_shape))}.npy")
        if not array.exists():
            np.save(array, np.random.default_rng(1).standard_normal(x_shape, dtype=np.float32))
        return Layer(path, [f"x={array}"], nonzeros)

    def layer_library(self, layer, weight_format):
        """A layer compiled with its weight in this format, or in the one that the compiler chooses (`auto`)."""
        force = [] if weight_format == "auto" else ["--format", f"w={weight_format}"]
        return self._compile(layer.path, force)

    def discard_layers(self):
        """Removes the networks of a single layer, and their libraries."""
        for path in (self._folder / "layers").iterdir():
            path.unlink()
        for kind in ("matmul", "conv"):
            for folder in (self._folder / "libraries").glob(f"{kind}_*"):
                shutil.rmtree(folder)

    def candidates(self, layer):
        """The formats that the compiler considers for the layer's weight, and the one it takes."""
        command = [self._sparsec, "inspect", str(layer.path), "--json", "--candidates"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        (weight,) = json.loads(done.stdout)["weights"]
        return [candidate["format"] for candidate in weight["candidates"]], weight["chosen"]

    def assembly(self, model, dims):
        """The assembly of a model file."""
        folder = self._folder / "assembly"
        command = [self._sparsec, "compile", str(model), "-o", str(folder), "--name", "m", "--emit", "asm"]
        subprocess.run([*command, *(f"--dim={k}={v}" for k, v in dims.items())], check=True, capture_output=True)
        return (folder / "m.s").read_text()

    def cpu(self):
        """LLVM's name of this machine's CPU, as a library of this folder has it."""
        manifests = sorted(self._folder.glob("libraries/*/m.json"))
        return json.loads(manifests[0].read_text())["target"]["cpu"] if manifests else "?"

    def _compile(self, model, options):
        # What the library depends on, as a name.
        stat = model.stat()
        what = f"{self._compiler} {stat.st_size} {stat.st_mtime_ns} {options}"
        folder = self._folder / "libraries" / (model.stem + "".join(f"_{o}" for o in options if o != "--format"))
        library, stamp = folder / "libm.so", folder / "made-from.txt"
        if not stamp.exists() or stamp.read_text() != what:
            command = [self._sparsec, "compile", str(model), "-o", str(folder), "--name", "m", "--emit", "shared"]
            done = subprocess.run([*command, *options], capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"{model.name} {' '.join(options)}: {done.stderr.strip()}")
            stamp.write_text(what)
        return library, "m"
