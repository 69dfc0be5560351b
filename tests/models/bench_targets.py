"""What is measured, and what it is compared with: networks, contenders, targets."""

from dataclasses import dataclass
from typing import NamedTuple

# Products of single layers that are held against the machine's peak: M x K x N.
PRODUCTS = [(768, 768, 128), (3072, 768, 128)]


class Contender(NamedTuple):
    """An engine that runs a network pruned in a pattern, on so many threads."""

    engine: str
    pattern: str = "dense"
    threads: int = 1

    def name(self):
        names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "deepsparse": "DeepSparse"}
        return names.get(self.engine, self.engine)

    def label(self):
        threads = "" if self.threads == 1 else f", {self.threads} threads"
        return f"{self.name()} {self.pattern}{threads}"


ORT, OPENVINO = Contender("onnxruntime"), Contender("openvino")
DEEPSPARSE = Contender("deepsparse", "un:0.9")
UN_90, UN_95 = Contender("sparsec", "un:0.9"), Contender("sparsec", "un:0.95")
UN_90_TWO = Contender("sparsec", "un:0.9", 2)
DENSE, NM = Contender("sparsec"), Contender("sparsec", "nm:2:4")
BLOCK, CHANNEL = Contender("sparsec", "block:4:1:0.8"), Contender("sparsec", "channel:0.5")


@dataclass(frozen=True)
class Target:
    """`network` run by `ours` is to be `at_least` times as fast as the fastest of `against`."""

    network: str
    ours: Contender
    against: tuple
    at_least: float


@dataclass(frozen=True)
class PeakTarget:
    """A product with `sparsity` is to reach `at_least` of the machine's peak, counting nonzeros only."""

    product: tuple
    sparsity: float
    at_least: float


TARGETS = [
    Target("resnet50", UN_90, (ORT,), 5.0),
    Target("resnet50", UN_90, (DEEPSPARSE,), 3.0),
    Target("resnet50", UN_95, (ORT,), 6.5),
    Target("bert_base", UN_90, (ORT,), 5.0),
    Target("bert_base", UN_90, (DEEPSPARSE,), 1.7),
    Target("bert_base", BLOCK, (ORT,), 3.5),
    Target("bert_base", NM, (ORT,), 1.6),
    Target("resnet50", CHANNEL, (ORT,), 2.2),
    Target("minilm", UN_90, (ORT,), 4.0),
    Target("mobilenet_v2", UN_90, (ORT,), 2.5),
    Target("mlp_b1", UN_90, (ORT,), 6.0),
    Target("mlp_b64", UN_90, (ORT,), 5.5),
    Target("gpt2_decode", UN_90, (ORT,), 2.0),
    Target("resnet50", DENSE, (ORT, OPENVINO), 1.0),
    Target("bert_base", DENSE, (ORT, OPENVINO), 1.0),
    Target("mobilenet_v2", DENSE, (ORT, OPENVINO), 1.0),
    Target("mlp_b64", DENSE, (ORT, OPENVINO), 1.0),
    *(PeakTarget(p, s, share) for p in PRODUCTS for s, share in [(0.8, 0.70), (0.9, 0.64)]),
    Target("resnet50", UN_90_TWO, (UN_90,), 1.8),
    Target("bert_base", UN_90_TWO, (UN_90,), 1.8),
]

NETWORKS = ["resnet50", "bert_base", "mobilenet_v2", "mlp_b1", "mlp_b64", "minilm", "gpt2_decode"]

# What runs beside the contenders of the targets, unless --quick is given.
_PATTERNS = [DENSE, UN_90, NM, BLOCK, CHANNEL]
_ALL = [ORT, OPENVINO, *_PATTERNS, DEEPSPARSE]
_TWO = [c._replace(threads=2) for c in (ORT, OPENVINO, DEEPSPARSE, UN_90)]
_BESIDE = {
    "resnet50": _ALL + _TWO,
    "bert_base": _ALL + _TWO,
    "mobilenet_v2": _ALL,
    "mlp_b1": _ALL,
    "mlp_b64": _ALL,
    # DeepSparse and OpenVINO would need the open dimensions fixed, which is another model than the others run.
    "minilm": [ORT, *_PATTERNS],
    "gpt2_decode": [ORT, DENSE, UN_90],
}


def contenders(network, quick):
    """All that runs in the contest of a network, in a fixed order."""
    found = [] if quick else list(_BESIDE[network])
    for target in TARGETS:
        if isinstance(target, Target) and target.network == network:
            found += [*target.against, target.ours]
    return list(dict.fromkeys(found))


def product_name(product, sparsity):
    """`spmm_768x768x128 un:0.8`, as results have it."""
    return f"spmm_{'x'.join(map(str, product))} un:{sparsity}"
