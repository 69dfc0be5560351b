"""Convolutional networks: ResNet-50, MobileNetV2, and a small one made of border cases.

BatchNormalization stays a node of its own. Its beta is random, so a channel whose weights are all pruned still carries a
constant, and about half of these constants survive the ReLU.
"""

from dataclasses import dataclass

import numpy as np

from onnx_graph import GraphBuilder


@dataclass(frozen=True)
class ResNet:
    """He et al., 2016: bottleneck blocks, `stages` of (blocks, inner channels), stride 2 from the second stage on."""

    stages: tuple = ((3, 64), (4, 128), (6, 256), (3, 512))
    stem: int = 64
    image: int = 224
    classes: int = 1000


@dataclass(frozen=True)
class MobileNet:
    """Sandler et al., 2018: inverted residuals, `stages` of (expansion, channels, blocks, stride of the first)."""

    stages: tuple = (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    )  # fmt: skip
    head: int = 1280
    image: int = 224
    classes: int = 1000


class _Net(GraphBuilder):
    """Random layers, scaled so that activations neither vanish nor explode."""

    def __init__(self, name, seed):
        super().__init__(name)
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape, std):
        return self.rng.standard_normal(shape, dtype=np.float32) * np.float32(std)

    def uniform(self, low, high, count):
        return self.rng.uniform(low, high, count).astype(np.float32)

    def conv_bn(self, x, cin, cout, kernel, stride=1, groups=1, gain=1.0, beta=0.1):
        """Conv without bias, then BatchNormalization with betas in -beta..beta; padding keeps the size at stride 1."""
        fan_in = kernel * kernel * cin // groups
        w = self.weight(self.normal(cout, cin // groups, kernel, kernel, std=(2 / fan_in) ** 0.5))
        y = self.node(
            "Conv", x, w, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups
        )
        gamma = self.uniform(0.8, 1.2, cout) * np.float32(gain)
        statistics = [self.uniform(-beta, beta, cout), self.uniform(-0.1, 0.1, cout), self.uniform(0.8, 1.2, cout)]
        return self.node("BatchNormalization", y, *map(self.weight, [gamma, *statistics]), epsilon=1e-5)

    def relu6(self, x):
        return self.node("Clip", x, self.scalar(0), self.scalar(6))

    def classifier(self, x, features, classes):
        """Global average pooling, then a Gemm to [1, classes], declared as the output `y`."""
        x = self.node("Flatten", self.node("GlobalAveragePool", x))
        w, b = self.normal(classes, features, std=features**-0.5), self.normal(classes, std=0.02)
        self.output(self.node("Gemm", x, self.weight(w), self.weight(b), transB=1), "y", [1, classes])


def resnet50(name, c=ResNet()):
    g = _Net(name, seed=150)
    x = g.node("Relu", g.conv_bn(g.input("x", [1, 3, c.image, c.image]), 3, c.stem, 7, stride=2))
    x = g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = c.stem
    for stage, (blocks, inner) in enumerate(c.stages):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            y = g.node("Relu", g.conv_bn(x, channels, inner, 1))
            y = g.node("Relu", g.conv_bn(y, inner, inner, 3, stride))
            y = g.conv_bn(y, inner, 4 * inner, 1, gain=0.3)
            shortcut = g.conv_bn(x, channels, 4 * inner, 1, stride) if block == 0 else x
            x = g.node("Relu", g.node("Add", y, shortcut))
            channels = 4 * inner
    g.classifier(x, channels, c.classes)
    return g


def mobilenet_v2(name, c=MobileNet()):
    g = _Net(name, seed=102)
    x, channels = g.relu6(g.conv_bn(g.input("x", [1, 3, c.image, c.image]), 3, 32, 3, stride=2)), 32
    for expansion, cout, blocks, first_stride in c.stages:
        for block in range(blocks):
            stride, inner = first_stride if block == 0 else 1, channels * expansion
            y = x if expansion == 1 else g.relu6(g.conv_bn(x, channels, inner, 1))
            y = g.relu6(g.conv_bn(y, inner, inner, 3, stride, groups=inner))
            y = g.conv_bn(y, inner, cout, 1)
            x = g.node("Add", x, y) if stride == 1 and channels == cout else y
            channels = cout
    x = g.relu6(g.conv_bn(x, channels, c.head, 1))
    g.classifier(x, c.head, c.classes)
    return g


def border(name):
    """Padded convolutions behind channels that pruning turns into constants, on an image that is not square.

    A pruned channel is the constant relu(bias) inside the image and 0 in the padding, so the next convolution adds to
    each output a bias that depends on which kernel positions fall outside: nine cases for 3x3, 25 for 5x5. Stride 2
    and an even height make the two borders differ. The betas are large, so that a wrong border is far above rounding.
    """
    g = _Net(name, seed=9)
    x = g.node("Relu", g.conv_bn(g.input("x", [1, 16, 14, 11]), 16, 32, 3))
    x = g.node("Relu", g.conv_bn(x, 32, 32, 3, beta=1.0))
    x = g.node("Relu", g.conv_bn(x, 32, 48, 3, beta=1.0))
    x = g.node("Relu", g.conv_bn(x, 48, 32, 3, stride=2, beta=1.0))
    x = g.node("Relu", g.conv_bn(x, 32, 32, 5, beta=1.0))
    x = g.node("Relu", g.conv_bn(x, 32, 32, 3, groups=32, beta=1.0))
    g.output(g.conv_bn(x, 32, 32, 1), "y", [1, 32, 7, 6])
    return g
