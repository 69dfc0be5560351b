"""Transformers and multilayer perceptrons: BERT, MiniLM as a sentence encoder, one decoding step of GPT-2, MLPs.

Weights are kept under the names of the published checkpoints ([outputs, inputs], as PyTorch stores them), so that MiniLM's
real weights and random ones go through the same code.
"""

from dataclasses import dataclass

import numpy as np

from onnx_graph import FLOAT, INT64, GraphBuilder


@dataclass(frozen=True)
class Bert:
    """An encoder: `width` features, `heads` attention heads, `inner` features between the two feed-forward layers."""

    layers: int = 12
    width: int = 768
    heads: int = 12
    inner: int = 3072
    vocab: int = 30522
    positions: int = 128


@dataclass(frozen=True)
class Gpt2:
    """A decoder with a key/value cache."""

    layers: int = 12
    width: int = 768
    heads: int = 12
    vocab: int = 50257
    positions: int = 1024


MINILM = Bert(layers=6, width=384, heads=12, inner=1536, positions=512)


def random_encoder_weights(c, seed):
    """Weights of an encoder at the scale of a trained one, under the names of a BERT checkpoint."""
    rng = np.random.default_rng(seed)
    normal = lambda std, *shape: rng.standard_normal(shape, dtype=np.float32) * np.float32(std)
    weights = {}

    def linear(name, fin, fout, gain):
        weights[f"{name}.weight"] = normal(gain * fin**-0.5, fout, fin)
        weights[f"{name}.bias"] = normal(0.02, fout)

    def norm(name):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = 1 + normal(0.02, c.width), normal(0.02, c.width)

    for table, rows in [("word", c.vocab), ("position", c.positions), ("token_type", 2)]:
        weights[f"embeddings.{table}_embeddings.weight"] = normal(0.05, rows, c.width)
    norm("embeddings.LayerNorm")
    for i in range(c.layers):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", c.width, c.width, 1.1)
        linear(f"{layer}.attention.output.dense", c.width, c.width, 0.55)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", c.width, c.inner, 0.55)
        linear(f"{layer}.output.dense", c.inner, c.width, 1.1)
        norm(f"{layer}.output.LayerNorm")
    return weights


class _Encoder(GraphBuilder):
    """Layers that look their weights up by the name in the checkpoint."""

    def __init__(self, name, config, weights, batch, seq):
        super().__init__(name)
        self.c, self.w, self.batch, self.seq = config, weights, batch, seq

    def dense(self, x, name):
        return self.linear(x, self.w[f"{name}.weight"].T, self.w[f"{name}.bias"])

    def norm(self, x, name):
        return self.layer_norm(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], epsilon=1e-12)

    def table(self, name):
        return self.weight(self.w[f"embeddings.{name}_embeddings.weight"])

    def reshape(self, x, *tail):
        """To [batch, seq, *tail]; a 0 copies a dimension that is only known at run time."""
        head = [d if isinstance(d, int) else 0 for d in (self.batch, self.seq)]
        return self.node("Reshape", x, self.ints(*head, *tail))

    def mask_bias(self, mask):
        """0 where the float mask is 1, -10000 where it is 0: [batch, 1, 1, seq]."""
        hidden = self.node("Sub", self.scalar(1), self.node("Unsqueeze", mask, self.ints(1, 2)))
        return self.node("Mul", hidden, self.scalar(-1e4))

    def attention(self, x, name, bias):
        per_head = self.c.width // self.c.heads
        heads = {}
        for part, order in [("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3))]:
            y = self.reshape(self.dense(x, f"{name}.{part}"), self.c.heads, per_head)
            heads[part] = self.node("Transpose", y, perm=order)
        scores = self.node("MatMul", heads["query"], heads["key"])
        scores = self.node("Add", self.node("Div", scores, self.scalar(per_head**0.5)), bias)
        y = self.node("MatMul", self.node("Softmax", scores, axis=-1), heads["value"])
        return self.reshape(self.node("Transpose", y, perm=(0, 2, 1, 3)), self.c.width)

    def layers(self, x, bias):
        for i in range(self.c.layers):
            layer = f"encoder.layer.{i}"
            y = self.dense(self.attention(x, f"{layer}.attention.self", bias), f"{layer}.attention.output.dense")
            x = self.norm(self.node("Add", y, x), f"{layer}.attention.output.LayerNorm")
            y = self.gelu(self.dense(x, f"{layer}.intermediate.dense"))
            x = self.norm(self.node("Add", self.dense(y, f"{layer}.output.dense"), x), f"{layer}.output.LayerNorm")
        return x


def bert_base(name, c=Bert()):
    """Fixed batch 1 and length `c.positions`; the position table is a plain constant, as tracing leaves it."""
    g = _Encoder(name, c, random_encoder_weights(c, seed=112), 1, c.positions)
    ids = g.input("input_ids", [1, c.positions], INT64)
    mask = g.input("attention_mask", [1, c.positions], INT64)
    positions = g.weight(g.w["embeddings.position_embeddings.weight"][None])
    x = g.node("Add", g.node("Gather", g.table("word"), ids), positions)
    x = g.norm(x, "embeddings.LayerNorm")
    x = g.layers(x, g.mask_bias(g.node("Cast", mask, to=FLOAT)))
    g.output(x, "y", [1, c.positions, c.width])
    return g


def minilm(name, c, weights):
    """all-MiniLM-L6-v2 with mean pooling and L2 normalisation; batch and length are dynamic."""
    g = _Encoder(name, c, weights, "batch", "seq")
    ids = g.input("input_ids", ["batch", "seq"], INT64)
    mask = g.node("Cast", g.input("attention_mask", ["batch", "seq"], INT64), to=FLOAT)
    length = g.node("Shape", ids, start=1, end=2)
    positions = g.node("Slice", g.table("position"), g.ints(0), length, g.ints(0))
    x = g.node("Add", g.node("Gather", g.table("word"), ids), positions)
    x = g.node("Add", x, g.weight(g.w["embeddings.token_type_embeddings.weight"][0]))
    x = g.layers(g.norm(x, "embeddings.LayerNorm"), g.mask_bias(mask))
    # The mean over the tokens that the mask keeps, then a vector of length 1.
    kept = g.node("Unsqueeze", mask, g.ints(2))
    total = g.node("ReduceSum", g.node("Mul", x, kept), g.ints(1), keepdims=0)
    x = g.node("Div", total, g.node("ReduceSum", kept, g.ints(1), keepdims=0))
    x = g.node("Div", x, g.node("ReduceL2", x, axes=[1], keepdims=1))
    g.output(x, "embedding", ["batch", c.width])
    return g


def gpt2_decode(name, c=Gpt2()):
    """One decoding step: a token and the cached keys and values in, logits and the grown cache out."""
    g = GraphBuilder(name)
    rng = np.random.default_rng(117)
    normal = lambda std, *shape: rng.standard_normal(shape, dtype=np.float32) * np.float32(std)
    dense = lambda x, fin, fout, gain: g.linear(x, normal(gain * fin**-0.5, fin, fout), normal(0.02, fout))
    norm = lambda x: g.layer_norm(x, 1 + normal(0.02, c.width), normal(0.02, c.width), epsilon=1e-5)
    per_head = c.width // c.heads
    to_heads = lambda x: g.node(
        "Transpose", g.node("Reshape", x, g.ints(1, 1, c.heads, per_head)), perm=(0, 2, 1, 3)
    )  # [1, heads, 1, per_head]

    tokens = g.weight(normal(0.02, c.vocab, c.width))
    x = g.node("Gather", tokens, g.input("input_ids", [1, 1], INT64))
    places = g.weight(normal(0.01, c.positions, c.width))
    x = g.node("Add", x, g.node("Gather", places, g.input("position_ids", [1, 1], INT64)))
    present = []
    for i in range(c.layers):
        q, k, v = map(to_heads, g.split("Split", dense(norm(x), c.width, 3 * c.width, 0.55), count=3, axis=-1))
        cache = [1, c.heads, "past", per_head]
        k = g.node("Concat", g.input(f"past_key_{i}", cache), k, axis=2)
        v = g.node("Concat", g.input(f"past_value_{i}", cache), v, axis=2)
        present += [(k, f"present_key_{i}"), (v, f"present_value_{i}")]
        scores = g.node("MatMul", q, g.node("Transpose", k, perm=(0, 1, 3, 2)))
        scores = g.node("Softmax", g.node("Mul", scores, g.scalar(per_head**-0.5)), axis=-1)
        y = g.node("Transpose", g.node("MatMul", scores, v), perm=(0, 2, 1, 3))
        x = g.node("Add", x, dense(g.node("Reshape", y, g.ints(1, 1, c.width)), c.width, c.width, 0.55))
        y = g.gelu(dense(norm(x), c.width, 4 * c.width, 0.55))
        x = g.node("Add", x, dense(y, 4 * c.width, c.width, 1.1))
    logits = g.node("MatMul", norm(x), g.node("Transpose", tokens, perm=(1, 0)))
    g.output(logits, "logits", [1, 1, c.vocab])
    for value, output in present:
        g.output(value, output, [1, c.heads, "total", per_head])
    return g


def mlp(name, batch, widths=(1024, 4096, 4096, 1024)):
    """Linear layers with ReLU between them, on [batch, widths[0]]."""
    g = GraphBuilder(name)
    rng = np.random.default_rng(100 + batch)
    x = g.input("x", [batch, widths[0]])
    for i, (fin, fout) in enumerate(zip(widths, widths[1:])):
        w = rng.standard_normal((fin, fout), dtype=np.float32) * np.float32((1.6 / fin) ** 0.5)
        x = g.linear(x if i == 0 else g.node("Relu", x), w, rng.standard_normal(fout).astype(np.float32) * 0.02)
    g.output(x, "y", [batch, widths[-1]])
    return g
