"""What prune.py promises: `python -m unittest discover tests/models`."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import build
import prune


def zeros(weight):
    return weight.size - np.count_nonzero(weight)


class PruneTest(unittest.TestCase):
    """Each test prunes a small network and looks at its weights, in the layout of the ONNX file."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def pruned(self, name, pattern):
        """(node, weight before, weight after) of every Conv, Gemm and MatMul with a constant weight."""
        source, target = build.build(self.folder, name, small=True), self.folder / "pruned.onnx"
        prune.prune(source, target, pattern)
        before, after = (
            {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer} for path in (source, target)
        )
        nodes = [n for n in onnx.load(target).graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
        found = [(n, before[n.input[1]], after[n.input[1]]) for n in nodes if n.input[1] in after]
        self.assertTrue(found)
        for _, old, new in found:
            np.testing.assert_array_equal(new[new != 0], old[new != 0], "a kept weight changed")
        return found

    def changed(self, name, pattern):
        return [(node, new) for node, old, new in self.pruned(name, pattern) if (old != new).any()]

    def test_first_grouped_and_small_weights_stay(self):
        found = self.pruned("mobilenet_v2", "un:0.9")
        for i, (node, old, new) in enumerate(found):
            grouped = prune.attribute(node, "group", 1) != 1
            small = old.size < prune.MIN_ELEMENTS
            self.assertEqual(zeros(new) > 0, not (i == 0 or grouped or small), node.name)

    def test_unstructured_takes_the_smallest(self):
        for node, old, new in self.pruned("mlp_b1", "un:0.9"):
            self.assertEqual(zeros(new), int(0.9 * new.size))
            self.assertLessEqual(np.abs(old[new == 0]).max(), np.abs(old[new != 0]).min())

    def test_nm_runs_along_the_inputs_of_matmul(self):
        for _, new in self.changed("mlp_b1", "nm:2:4"):
            groups = new.T.reshape(-1, 4)  # [inputs, outputs] in the file
            self.assertTrue((np.count_nonzero(groups, axis=1) == 2).all())

    def test_nm_runs_along_the_input_channels_of_conv(self):
        convolutions = [new for node, new in self.changed("resnet50", "nm:2:4") if node.op_type == "Conv"]
        self.assertTrue(any(new.shape[2] == 3 for new in convolutions))
        for new in convolutions:
            groups = new.transpose(0, 2, 3, 1).reshape(-1, 4)
            self.assertTrue((np.count_nonzero(groups, axis=1) == 2).all())

    def test_blocks_run_along_the_outputs(self):
        for node, new in self.changed("resnet50", "block:4:1:0.8"):
            matrix = new.reshape(len(new), -1)
            per_block = np.count_nonzero(matrix.reshape(len(new) // 4, 4, -1), axis=1)
            self.assertTrue(np.isin(per_block, (0, 4)).all(), node.name)
            self.assertEqual((per_block == 0).sum(), int(0.8 * per_block.size))

    def test_blocks_that_do_not_divide_leave_the_weight(self):
        shapes = {new.shape for _, new in self.changed("resnet50", "block:4:1:0.8")}
        self.assertNotIn((10, 256), shapes)

    def test_channels_are_outputs(self):
        for node, new in self.changed("resnet50", "channel:0.5"):
            rows = np.abs(new).reshape(len(new), -1).sum(1)
            self.assertEqual((rows == 0).sum(), len(new) // 2, node.name)

    def test_border_has_constants_that_survive_their_relu(self):
        """The network `border` must keep its purpose: constants, not zeros, before padded convolutions."""
        self.pruned("border", "channel:0.5")
        graph = onnx.load(self.folder / "pruned.onnx").graph
        weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        survivors = 0
        for conv, norm, relu, following in zip(graph.node, graph.node[1:], graph.node[2:], graph.node[3:]):
            kinds = (conv.op_type, norm.op_type, relu.op_type, following.op_type)
            if kinds == ("Conv", "BatchNormalization", "Relu", "Conv"):
                dead = ~weights[conv.input[1]].any(axis=(1, 2, 3))
                gamma, beta, mean, var = (weights[i] for i in norm.input[1:])
                survivors += ((beta - gamma * mean / np.sqrt(var + 1e-5))[dead] > 0.1).sum()
        self.assertGreater(survivors, 20)

    def test_wrong_patterns_are_refused(self):
        numbers = ("un:1.1", "un:-0.1", "un:x", "channel:1", "nm:5:4", "nm:0:4", "block:0:1:0.5")
        for text in ("", "un", "block:4:1", "rows:0.5", *numbers):
            with self.assertRaises(ValueError, msg=text):
                prune.parse_pattern(text)


if __name__ == "__main__":
    unittest.main()
