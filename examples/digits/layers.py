"""The layers of the digits network in numpy, each with its forward and backward pass.

Activations are [batch, height, width, channels] while training, since a convolution is then one matrix product over
nine shifted copies of its input; `export.py` turns the weights to ONNX's order. Every parameter is a `Param`, so that
the optimiser and the pruning schedule see one flat list.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Param:
    """A trained tensor with its gradient, Adam's moments and, for a pruned weight, the mask of what is left.

    `target` is the fraction of the tensor that pruning removes in the end; 0 marks a tensor that is never pruned.
    """

    name: str
    value: np.ndarray
    target: float = 0.0
    grad: np.ndarray = None
    mask: np.ndarray = None
    moments: list = field(default_factory=list)

    def __post_init__(self):
        self.value = self.value.astype(np.float32)
        self.grad = np.zeros_like(self.value)
        self.moments = [np.zeros_like(self.value), np.zeros_like(self.value)]


def he_normal(rng, shape, fan_in):
    """Initial weights for a layer followed by ReLU (He et al., 2015)."""
    return rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)


class Conv3x3:
    """3x3 convolution, stride 1, padding 1, no bias (the BatchNorm after it has one). Weight: [3 * 3 * cin, cout]."""

    def __init__(self, rng, name, cin, cout, target):
        self.cin, self.cout = cin, cout
        self.weight = Param(name, he_normal(rng, (9 * cin, cout), 9 * cin), target)

    def params(self):
        return [self.weight]

    def forward(self, x, training):
        b, h, w, c = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        columns = np.empty((b, h, w, 9, c), np.float32)
        for tap in range(9):
            dy, dx = divmod(tap, 3)
            columns[:, :, :, tap] = padded[:, dy : dy + h, dx : dx + w]
        self.columns, self.shape = columns.reshape(b * h * w, 9 * c), x.shape
        return (self.columns @ self.weight.value).reshape(b, h, w, self.cout)

    def backward(self, dy):
        b, h, w, c = self.shape
        dy = dy.reshape(-1, self.cout)
        self.weight.grad = self.columns.T @ dy
        taps = (dy @ self.weight.value.T).reshape(b, h, w, 9, c)
        dx = np.zeros((b, h + 2, w + 2, c), np.float32)
        for tap in range(9):
            i, j = divmod(tap, 3)
            dx[:, i : i + h, j : j + w] += taps[:, :, :, tap]
        return dx[:, 1:-1, 1:-1]


class BatchNorm:
    """Normalises each channel by the batch's statistics while training and by their running mean afterwards."""

    EPSILON, MOMENTUM = 1e-5, 0.9

    def __init__(self, name, channels):
        self.gamma = Param(f"{name}.gamma", np.ones(channels))
        self.beta = Param(f"{name}.beta", np.zeros(channels))
        self.mean, self.var = np.zeros(channels, np.float32), np.ones(channels, np.float32)

    def params(self):
        return [self.gamma, self.beta]

    def forward(self, x, training):
        mean, var = self.mean, self.var
        if training:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.mean = self.MOMENTUM * self.mean + (1 - self.MOMENTUM) * mean
            self.var = self.MOMENTUM * self.var + (1 - self.MOMENTUM) * var
        self.scale = 1 / np.sqrt(var + np.float32(self.EPSILON))
        self.normed = (x - mean) * self.scale
        return self.normed * self.gamma.value + self.beta.value

    def backward(self, dy):
        n = dy.size // dy.shape[-1]
        self.gamma.grad = (dy * self.normed).sum((0, 1, 2))
        self.beta.grad = dy.sum((0, 1, 2))
        return self.gamma.value * self.scale * (dy - self.beta.grad / n - self.normed * (self.gamma.grad / n))


class Relu:
    def params(self):
        return []

    def forward(self, x, training):
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy):
        return dy * self.positive


class MaxPool2:
    """2x2 maximum, stride 2. Of equal maxima the first takes the gradient."""

    def params(self):
        return []

    def forward(self, x, training):
        b, h, w, c = x.shape
        cells = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(b, h // 2, w // 2, c, 4)
        self.shape, self.winner = x.shape, cells.argmax(-1)[..., None]
        return np.take_along_axis(cells, self.winner, -1)[..., 0]

    def backward(self, dy):
        b, h, w, c = self.shape
        cells = np.zeros((b, h // 2, w // 2, c, 4), np.float32)
        np.put_along_axis(cells, self.winner, dy[..., None], -1)
        return cells.reshape(b, h // 2, w // 2, c, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(self.shape)


class Flatten:
    """To [batch, channels * height * width], channels slowest: the order that ONNX's Flatten gives."""

    def params(self):
        return []

    def forward(self, x, training):
        self.shape = x.shape
        return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)

    def backward(self, dy):
        b, h, w, c = self.shape
        return dy.reshape(b, c, h, w).transpose(0, 2, 3, 1)


class Gemm:
    """Fully connected layer. Weight: [outputs, inputs], as ONNX's Gemm with transB = 1 takes it."""

    def __init__(self, rng, name, fin, fout, target):
        self.weight = Param(name, he_normal(rng, (fout, fin), fin), target)
        self.bias = Param(f"{name}.bias", np.zeros(fout))

    def params(self):
        return [self.weight, self.bias]

    def forward(self, x, training):
        self.x = x
        return x @ self.weight.value.T + self.bias.value

    def backward(self, dy):
        self.weight.grad, self.bias.grad = dy.T @ self.x, dy.sum(0)
        return dy @ self.weight.value


class Residual:
    """x + body(x)."""

    def __init__(self, *body):
        self.body = body

    def params(self):
        return [p for layer in self.body for p in layer.params()]

    def forward(self, x, training):
        y = x
        for layer in self.body:
            y = layer.forward(y, training)
        return x + y

    def backward(self, dy):
        dx = dy
        for layer in reversed(self.body):
            dx = layer.backward(dx)
        return dy + dx


def softmax_cross_entropy(logits, labels):
    """Mean loss of a batch and its gradient with respect to the logits."""
    shifted = logits - logits.max(1, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(p[rows, labels] + 1e-12).mean()
    p[rows, labels] -= 1
    return loss, p / np.float32(len(labels))
