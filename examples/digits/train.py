#!/usr/bin/env python3
"""Trains a small convolutional network on 8x8 handwritten digits, prunes it, and writes both as ONNX files.

    pip install -r requirements.txt
    python train.py

Beside this file it leaves digits_dense.onnx, digits_pruned.onnx and split.npy (the indices of the held-out images). The
images are read from images.npy and labels.npy. With one version of numpy on one machine the result is the same
every time; the last digits may differ between BLAS libraries.

Pruning is gradual magnitude pruning (Zhu and Gupta, "To prune, or not to prune", 2017): every few steps the smallest
weights of each tensor are fixed at zero, their share following a cubic ramp, while training goes on.
"""

import sys
import time
from pathlib import Path

import numpy as np

import layers as L
from export import export

HERE = Path(__file__).resolve().parent
SEED = 8
BATCH = 32
DENSE_EPOCHS, RAMP_EPOCHS, TUNE_EPOCHS = 30, 30, 30
MASK_EVERY = 8  # steps between two updates of the masks
REQUIRED_ACCURACY, REQUIRED_SPARSITY = 0.97, 0.90


def build(rng):
    """The network: two convolutions, a residual block at half the resolution, two fully connected layers.

    The first convolution and the last layer are small and sensitive, so they are pruned less.
    """
    most = 0.92
    return [
        L.Conv3x3(rng, "conv1", 1, 32, 0.5), L.BatchNorm("bn1", 32), L.Relu(),
        L.Conv3x3(rng, "conv2", 32, 48, most), L.BatchNorm("bn2", 48), L.Relu(),
        L.MaxPool2(),
        L.Residual(
            L.Conv3x3(rng, "conv3", 48, 48, most), L.BatchNorm("bn3", 48), L.Relu(),
            L.Conv3x3(rng, "conv4", 48, 48, most), L.BatchNorm("bn4", 48),
        ),
        L.Relu(),
        L.MaxPool2(),
        L.Flatten(),
        L.Gemm(rng, "fc1", 4 * 48, 64, most), L.Relu(),
        L.Gemm(rng, "fc2", 64, 10, 0.8),
    ]  # fmt: skip


def parameters(network):
    return [p for layer in network for p in layer.params()]


def forward(network, x, training=False):
    for layer in network:
        x = layer.forward(x, training)
    return x


def accuracy(network, x, y):
    return float((forward(network, x).argmax(1) == y).mean())


def held_out_fifth(labels, rng):
    """Indices of a fifth of the images, the same share of every digit, ascending."""
    chosen = []
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        chosen.append(members[: round(len(members) / 5)])
    return np.sort(np.concatenate(chosen))


def shifted(x, rng):
    """Moves every image by at most one pixel in each direction: the training set is small."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.empty_like(x)
    for i, (dy, dx) in enumerate(rng.choice(3, size=(len(x), 2), p=[0.15, 0.7, 0.15])):
        out[i] = padded[i, dy : dy + 8, dx : dx + 8]
    return out


class Adam:
    """Adam with decoupled weight decay. A masked weight stays exactly zero."""

    def __init__(self, params, decay=1e-4):
        self.params, self.decay, self.steps = params, decay, 0

    def step(self, rate):
        self.steps += 1
        for p in self.params:
            m, v = p.moments
            m += 0.1 * (p.grad - m)
            v += 0.001 * (p.grad * p.grad - v)
            m_hat, v_hat = m / (1 - 0.9**self.steps), v / (1 - 0.999**self.steps)
            p.value -= np.float32(rate) * (m_hat / (np.sqrt(v_hat) + 1e-8) + np.float32(self.decay) * p.value)
            if p.mask is not None:
                p.value *= p.mask


def update_masks(params, progress):
    """Zeroes the smallest weights; `progress` runs from 0 to 1 and the sparsity follows target * (1 - (1 - progress)^3)."""
    for p in params:
        if p.target:
            gone = round(p.target * (1 - (1 - progress) ** 3) * p.value.size)
            order = np.argsort(np.abs(p.value), axis=None, kind="stable")
            mask = np.ones(p.value.size, np.float32)
            mask[order[:gone]] = 0
            p.mask = mask.reshape(p.value.shape)
            p.value *= p.mask


def train(network, x, y, rng, epochs, peak_rate, ramp_epochs=0):
    """Trains for `epochs` with a cosine-shaped rate, raising the sparsity during the first `ramp_epochs`."""
    params = parameters(network)
    optimiser = Adam(params)
    steps_per_epoch = len(x) // BATCH
    total, ramp = epochs * steps_per_epoch, ramp_epochs * steps_per_epoch
    step = 0
    for epoch in range(epochs):
        order, loss_sum = rng.permutation(len(x)), 0.0
        for b in range(steps_per_epoch):
            if step <= ramp and ramp and (step % MASK_EVERY == 0 or step == ramp):
                update_masks(params, step / ramp)
            pick = order[b * BATCH : (b + 1) * BATCH]
            logits = forward(network, shifted(x[pick], rng), training=True)
            loss, grad = L.softmax_cross_entropy(logits, y[pick])
            for layer in reversed(network):
                grad = layer.backward(grad)
            optimiser.step(peak_rate * 0.5 * (1 + np.cos(np.pi * step / total)))
            loss_sum += loss
            step += 1
        if epoch % 10 == 9:
            print(f"  epoch {epoch + 1:3}  loss {loss_sum / steps_per_epoch:.4f}", flush=True)


def overall_sparsity(network):
    weights = [p.value for p in parameters(network) if p.target]
    return 1 - sum(np.count_nonzero(w) for w in weights) / sum(w.size for w in weights)


def save_checked(network, path, images, labels):
    """Writes the ONNX file and checks that ONNX Runtime computes with it what the network here computes."""
    import onnxruntime

    export(network, path, path.stem)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": images.transpose(0, 3, 1, 2)})[0]
    expected = forward(network, images)
    error = float(np.abs(logits - expected).max() / np.abs(expected).max())
    agrees = error < 1e-4 and (logits.argmax(1) == labels).mean() == accuracy(network, images, labels)
    print(f"{path.name}: {path.stat().st_size:,} bytes, ONNX Runtime differs by {error:.1e} of the largest logit")
    return agrees


def main():
    started = time.time()
    images = np.load(HERE / "images.npy").astype(np.float32)[..., None] / 16
    labels = np.load(HERE / "labels.npy").astype(np.int64)
    rng = np.random.default_rng(SEED)
    test = held_out_fifth(labels, rng)
    np.save(HERE / "split.npy", test.astype(np.uint16))
    learn = np.setdiff1d(np.arange(len(labels)), test)
    x, y, test_x, test_y = images[learn], labels[learn], images[test], labels[test]

    network = build(rng)
    print(f"training on {len(y)} images, {len(test_y)} held out")
    train(network, x, y, rng, DENSE_EPOCHS, 2e-3)
    dense = accuracy(network, test_x, test_y)
    print(f"dense:  accuracy {dense:.4f} on the held-out images")
    good = save_checked(network, HERE / "digits_dense.onnx", test_x, test_y)

    train(network, x, y, rng, RAMP_EPOCHS + TUNE_EPOCHS, 2e-3, ramp_epochs=RAMP_EPOCHS)
    pruned, sparsity = accuracy(network, test_x, test_y), overall_sparsity(network)
    print(f"pruned: accuracy {pruned:.4f} on the held-out images, overall sparsity {sparsity:.4f}")
    for p in parameters(network):
        if p.target:
            zeros = p.value.size - np.count_nonzero(p.value)
            print(f"  {p.name:6} {p.value.size:6} weights  sparsity {zeros / p.value.size:.4f}")
    good &= save_checked(network, HERE / "digits_pruned.onnx", test_x, test_y)
    print(f"{time.time() - started:.0f} s")

    if not good:
        sys.exit("an ONNX file does not compute what was trained")
    if min(dense, pruned) < REQUIRED_ACCURACY or sparsity < REQUIRED_SPARSITY:
        sys.exit(f"required: accuracy {REQUIRED_ACCURACY} for both networks, sparsity {REQUIRED_SPARSITY}")


if __name__ == "__main__":
    main()
