"""Recognises handwritten digits with a model that is compiled when the script starts."""

from pathlib import Path

import numpy as np

import sparsec

digits = Path(__file__).resolve().parent.parent / "digits"
held_out = np.load(digits / "split.npy")
images = np.load(digits / "images.npy")[held_out].astype(np.float32) / 16
labels = np.load(digits / "labels.npy")[held_out]

model = sparsec.compile(digits / "digits_pruned.onnx")
print(model)
print(model.inspect())

# The batch is open: any number of images goes through the same code.
logits = model(images.reshape(-1, 1, 8, 8))
for digit in range(10):
    example = int(np.flatnonzero(labels == digit)[0])
    print(f"image {example}: expected {digit}, predicted {logits[example].argmax()}")
right = (logits.argmax(axis=1) == labels).mean()
print(f"{right:.1%} of {len(labels)} held-out images right")
assert right > 0.97
