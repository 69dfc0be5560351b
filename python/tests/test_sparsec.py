"""The package as a user has it: compiled models, sessions in place of ONNX Runtime's, tables, errors.

SPARSEC_MODELS names a folder with minilm.onnx and minilm_vocab.txt (tests/models/build.py).
"""

import contextlib
import ctypes
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import sparsec

ROOT = Path(__file__).resolve().parent.parent.parent
DIGITS = ROOT / "examples" / "digits"
EXAMPLES = ROOT / "examples" / "python"


def model(nodes, inputs, outputs, weights=(), opset=17):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def twice(dtype=TensorProto.FLOAT, shape=("n", 3)):
    return model([helper.make_node("Add", ["x", "x"], ["y"])], [("x", dtype, shape)], [("y", dtype, shape)])


class Compiling(unittest.TestCase):
    def test_paths_bytes_and_protos_are_models(self):
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        proto = twice()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "twice.onnx"
            onnx.save(proto, path)
            for source in (path, str(path), proto.SerializeToString(), proto):
                np.testing.assert_array_equal(sparsec.compile(source)(x), 2 * x)
        with self.assertRaises(TypeError):
            sparsec.compile(3)

    def test_the_model_describes_itself(self):
        compiled = sparsec.compile(twice(), name="double")
        self.assertEqual(compiled.name, "double")
        self.assertEqual(compiled.symbols, ["n"])
        self.assertEqual(compiled.inputs, [sparsec.Port("x", "f32", ("n", 3))])
        self.assertEqual(compiled.outputs, [sparsec.Port("y", "f32", ("n", 3))])
        self.assertIn("double(x: f32[n, 3]) -> y: f32[n, 3]", repr(compiled))

    def test_dimensions_and_inputs_can_be_fixed(self):
        fixed = sparsec.compile(twice(), dims={"n": 2})
        self.assertEqual(fixed.inputs[0].shape, (2, 3))
        with self.assertRaisesRegex(ValueError, r"input `x` has shape \[1, 3\]; the model takes \[2, 3\]"):
            fixed(np.zeros((1, 3), np.float32))
        add = model(
            [helper.make_node("Add", ["x", "b"], ["y"])],
            [("x", TensorProto.FLOAT, (3,)), ("b", TensorProto.FLOAT, (3,))],
            [("y", TensorProto.FLOAT, (3,))],
        )
        bound = sparsec.compile(add, bind={"b": np.array([1, 2, 3], np.float32)})
        np.testing.assert_array_equal(bound(np.ones(3, np.float32)), [2, 3, 4])

    def test_libraries_can_be_kept_and_opened(self):
        x = np.ones((4, 3), np.float32)
        with tempfile.TemporaryDirectory() as folder:
            compiled = sparsec.compile(twice(), name="kept", output=folder)
            names = {os.path.basename(file) for file in compiled.files}
            self.assertLessEqual({"libkept.a", "libkept.so", "kept.h", "kept.pc"}, names)
            opened = sparsec.load(Path(folder) / "libkept.so")
            np.testing.assert_array_equal(opened.run({"x": x})["y"], 2 * x)
            with self.assertRaises(ValueError):
                opened.inspect()
            with self.assertRaisesRegex(sparsec.RunError, "is the model's name right"):
                sparsec.load(Path(folder) / "libkept.so", "other")

    def test_progress_names_the_stages(self):
        told = []
        sparsec.compile(twice(), progress=lambda *stage: told.append(stage))
        self.assertEqual([told[0][0], told[-1][0]], ["read", "package"])
        self.assertEqual([done for _, done, _ in told], list(range(len(told))))
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown):
            sparsec.compile(twice(), progress=True)
        self.assertIn("lower", shown.getvalue())

    def test_what_progress_raises_stops(self):
        def stop(stage, done, total):
            if stage == "lower":
                raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            sparsec.compile(twice(), progress=stop)

    def test_messages_are_those_of_the_command(self):
        unknown = model(
            [helper.make_node("NoSuchOperator", ["x"], ["y"], name="odd")],
            [("x", TensorProto.FLOAT, (3,))],
            [("y", TensorProto.FLOAT, (3,))],
        )
        with self.assertRaisesRegex(sparsec.CompileError, "NoSuchOperator"):
            sparsec.compile(unknown)
        with self.assertRaisesRegex(sparsec.CompileError, "no-such-file"):
            sparsec.compile("no-such-file.onnx")
        with self.assertRaisesRegex(ValueError, "unknown CPU `z80`"):
            sparsec.compile(twice(), cpu="z80")
        with self.assertRaises(sparsec.CompileError):
            sparsec.compile(b"not a model")


class Arrays(unittest.TestCase):
    def test_types(self):
        for onnx_type, dtype in [
            (TensorProto.FLOAT, np.float32),
            (TensorProto.DOUBLE, np.float64),
            (TensorProto.FLOAT16, np.float16),
            (TensorProto.INT32, np.int32),
            (TensorProto.INT64, np.int64),
            (TensorProto.UINT8, np.uint8),
            (TensorProto.INT8, np.int8),
        ]:
            x = np.array([[1, 2, 3]], dtype)
            y = sparsec.compile(twice(onnx_type))(x)
            self.assertEqual(y.dtype, x.dtype)
            np.testing.assert_array_equal(y, x + x)
        flip = model(
            [helper.make_node("Not", ["x"], ["y"])], [("x", TensorProto.BOOL, (2,))], [("y", TensorProto.BOOL, (2,))]
        )
        np.testing.assert_array_equal(sparsec.compile(flip)(np.array([True, False])), [False, True])

    def test_layouts(self):
        compiled = sparsec.compile(twice())
        x = np.arange(12, dtype=np.float32).reshape(4, 3)
        for given in (x[::2], x[:, ::-1], np.asfortranarray(x), x.astype(">f4")):
            np.testing.assert_array_equal(compiled(given), 2 * given.astype(np.float32))
        np.testing.assert_array_equal(compiled([[1, 2, 3]]), [[2, 4, 6]])
        read_only = x.copy()
        read_only.flags.writeable = False
        np.testing.assert_array_equal(compiled(read_only), 2 * x)
        self.assertEqual(compiled(np.zeros((0, 3), np.float32)).shape, (0, 3))

    def test_memory_is_not_copied(self):
        compiled = sparsec.compile(twice())
        seen = []
        x = np.ones((2, 3), np.float32)

        class Exporter:
            """Speaks DLPack and nothing else."""

            def __dlpack__(self, **options):
                seen.append(options)
                return x.__dlpack__(**options)

            def __dlpack_device__(self):
                return x.__dlpack_device__()

        np.testing.assert_array_equal(compiled(Exporter()), 2 * x)
        self.assertEqual(len(seen), 1)
        from sparsec import _arrays

        self.assertTrue(np.shares_memory(_arrays.prepare(Exporter(), "f32", "x"), x))
        self.assertTrue(np.shares_memory(_arrays.prepare(x, "f32", "x"), x))
        # Outputs are arrays of NumPy, which speak DLPack.
        np.testing.assert_array_equal(np.from_dlpack(compiled(x)), 2 * x)
        # Memory of C, with nothing of NumPy about it.
        memory = ((ctypes.c_float * 3) * 2)(*[(1, 2, 3), (4, 5, 6)])
        np.testing.assert_array_equal(compiled(memory), [[2, 4, 6], [8, 10, 12]])

    def test_what_does_not_fit_is_refused(self):
        compiled = sparsec.compile(twice())
        with self.assertRaisesRegex(ValueError, "input `x` has elements of float64"):
            compiled(np.zeros((1, 3)))
        with self.assertRaisesRegex(ValueError, "the model takes .n, 3."):
            compiled(np.zeros((1, 4), np.float32))
        with self.assertRaisesRegex(ValueError, "inputs are missing: x"):
            compiled.run({})
        with self.assertRaisesRegex(ValueError, "no inputs z"):
            compiled.run({"x": np.zeros((1, 3), np.float32), "z": 1})
        with self.assertRaisesRegex(sparsec.RunError, "takes 1 inputs"):
            compiled()

    def test_statuses_of_the_c_interface(self):
        both = model(
            [helper.make_node("Add", ["a", "b"], ["y"])],
            [("a", TensorProto.FLOAT, ("n",)), ("b", TensorProto.FLOAT, ("n",))],
            [("y", TensorProto.FLOAT, ("n",))],
        )
        with self.assertRaisesRegex(sparsec.RunError, "disagree about a symbolic dimension") as raised:
            sparsec.compile(both)(np.zeros(2, np.float32), np.zeros(3, np.float32))
        self.assertEqual(raised.exception.status, 6)

    def test_extents_that_data_determine(self):
        nonzero = model(
            [helper.make_node("NonZero", ["x"], ["y"])],
            [("x", TensorProto.FLOAT, (2, 3))],
            [("y", TensorProto.INT64, (2, "found"))],
        )
        x = np.array([[1, 0, 2], [0, 0, 3]], np.float32)
        np.testing.assert_array_equal(sparsec.compile(nonzero)(x), np.nonzero(x))

    def test_threads_of_python_share_a_model(self):
        compiled = sparsec.compile(DIGITS / "digits_pruned.onnx")
        images = np.load(DIGITS / "images.npy").astype(np.float32).reshape(-1, 1, 8, 8)
        expected = [compiled(images[i : i + 8]) for i in range(16)]
        wrong = []

        def work():
            for i in [*range(16)] * 8:
                if not np.array_equal(compiled(images[i : i + 8]), expected[i]):
                    wrong.append(i)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_a_pool_gives_the_same_answers(self):
        images = np.load(DIGITS / "images.npy").astype(np.float32).reshape(-1, 1, 8, 8)
        alone = sparsec.compile(DIGITS / "digits_pruned.onnx")(images)
        pooled = sparsec.compile(DIGITS / "digits_pruned.onnx", threads=2)(images)
        np.testing.assert_array_equal(alone, pooled)


class Inspecting(unittest.TestCase):
    def test_tables(self):
        found = sparsec.inspect(DIGITS / "digits_pruned.onnx")
        self.assertGreater(len(found.weights), 2)
        self.assertTrue(any(weight["chosen"] != "dense" for weight in found.weights))
        table = found.table()
        self.assertEqual(list(table["chosen"]), [weight["chosen"] for weight in found.weights])
        json.dumps(found.to_dict())
        self.assertIn(found.weights[0]["tensor"], str(found))
        shown = found._repr_html_()
        self.assertEqual(shown.count("<tr>"), 1 + len(found.weights))
        self.assertNotIn("block<", shown)
        compiled = sparsec.compile(DIGITS / "digits_pruned.onnx").inspect()
        self.assertEqual(compiled.weights, found.weights)

    def test_formats_can_be_forced(self):
        weight = sparsec.inspect(DIGITS / "digits_pruned.onnx").weights[-1]["tensor"]
        forced = sparsec.inspect(DIGITS / "digits_pruned.onnx", formats={weight: "dense"})
        self.assertEqual(forced.weights[-1]["chosen"], "dense")
        with self.assertRaises(sparsec.CompileError):
            sparsec.inspect(DIGITS / "digits_pruned.onnx", formats={weight: "no-format"})


class Sessions(unittest.TestCase):
    def test_as_onnxruntime_has_it(self):
        path = str(DIGITS / "digits_pruned.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        theirs = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        ours = sparsec.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for get in ("get_inputs", "get_outputs"):
            for a, b in zip(getattr(theirs, get)(), getattr(ours, get)(), strict=True):
                self.assertEqual((a.name, a.type, list(a.shape)), (b.name, b.type, list(b.shape)))
        images = np.load(DIGITS / "images.npy").astype(np.float32).reshape(-1, 1, 8, 8)[:32]
        feed = {ours.get_inputs()[0].name: images}
        names = [ours.get_outputs()[0].name]
        for wanted in (None, [], names):
            (expected,), (got,) = theirs.run(wanted or None, feed), ours.run(wanted, feed)
            np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
        with self.assertRaisesRegex(ValueError, "no outputs z"):
            ours.run(["z"], feed)

    def test_sentence_similarity_with_the_import_swapped(self):
        """MiniLM with its own weights and vocabulary."""
        folder = os.environ.get("SPARSEC_MODELS")
        self.assertTrue(folder, "SPARSEC_MODELS is not set")
        subjects = [
            ("A man is playing the guitar on stage.", "Someone performs music in front of an audience."),
            ("The central bank raised interest rates again.", "Borrowing money becomes more expensive this year."),
            ("My cat sleeps on the sofa all day.", "The kitten is napping on the couch."),
        ]
        sentences = [sentence for subject in subjects for sentence in subject]
        said = {}
        for engine in ("onnxruntime", "sparsec"):
            command = [sys.executable, EXAMPLES / "similarity.py", "--engine", engine]
            command += [Path(folder) / "minilm.onnx", Path(folder) / "minilm_vocab.txt", *sentences]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            said[engine] = {tuple(line.split(maxsplit=1)[1].split(" | ")): float(line.split()[0]) for line in lines}
        expected, got = said["onnxruntime"], said["sparsec"]
        self.assertEqual(len(got), 15)
        self.assertEqual(list(expected), list(got))
        for pair, value in expected.items():
            self.assertAlmostEqual(got[pair], value, delta=1e-4)
        ranking = sorted(got, key=got.get, reverse=True)
        self.assertEqual(ranking, sorted(expected, key=expected.get, reverse=True))
        self.assertEqual(set(ranking[:3]), set(subjects))


class Processors(unittest.TestCase):
    @unittest.skipUnless(platform.machine() in ("x86_64", "AMD64"), "levels are x86-64's")
    def test_one_library_for_several(self):
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        with tempfile.TemporaryDirectory() as folder:
            compiled = sparsec.compile(twice(), cpu="x86-64-v2,x86-64-v3", name="both", output=folder)
            np.testing.assert_array_equal(compiled(x), 2 * x)
            header = (Path(folder) / "both.h").read_text(encoding="utf-8")
        self.assertIn("Code for x86-64-v2, x86-64-v3", header)
        with self.assertRaisesRegex(sparsec.CompileError, "tuning is for one CPU"):
            sparsec.compile(twice(), cpu="x86-64-v2,x86-64-v3", tune=1.0)


class Texts(unittest.TestCase):
    def session(self, **options):
        node = helper.make_node("StringConcat", ["x", "x"], ["y"])
        texts = [("x", TensorProto.STRING, ["n"])], [("y", TensorProto.STRING, ["n"])]
        proto = model([node], *texts, opset=20)
        return proto, sparsec.InferenceSession(proto.SerializeToString(), **options)

    def test_texts_go_in_and_come_out_as_onnxruntime_has_them(self):
        proto, ours = self.session()
        theirs = onnxruntime.InferenceSession(proto.SerializeToString())
        for get in ("get_inputs", "get_outputs"):
            (a,), (b,) = getattr(theirs, get)(), getattr(ours, get)()
            self.assertEqual((a.name, a.type, list(a.shape)), (b.name, b.type, list(b.shape)))
        words = ["monday", "", "caf\u00e9", "a much longer text than the others"]
        for value in (words, np.array(words), np.array(words, dtype=object), np.char.encode(np.array(words), "utf-8")):
            (got,) = ours.run(None, {"x": value})
            (expected,) = theirs.run(None, {"x": np.array(words, dtype=object)})
            self.assertEqual((got.dtype, got.shape), (expected.dtype, expected.shape))
            self.assertEqual(list(got), list(expected))
            self.assertEqual(list(got), [word + word for word in words])
        with self.assertRaisesRegex(ValueError, "takes texts"):
            ours.run(None, {"x": np.array([1.0])})
        with self.assertRaisesRegex(ValueError, "something else"):
            ours.run(None, {"x": np.array(["a", 3], dtype=object)})

    def test_a_fixed_width_is_padded_and_kept(self):
        _, session = self.session(dims={"x_bytes": 8})
        self.assertEqual(list(session.run(None, {"x": ["ab", "abcdefgh"]})[0]), ["abab", "abcdefgh" * 2])
        with self.assertRaisesRegex(ValueError, "at most 8 bytes, and got one of 9"):
            session.run(None, {"x": ["abcdefghi"]})


class Sequences(unittest.TestCase):
    def concatenation(self):
        item = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 2])
        sequence = helper.make_value_info("x", helper.make_sequence_type_proto(item))
        node = helper.make_node("ConcatFromSequence", ["x"], ["y"], axis=0)
        graph = helper.make_graph([node], "test", [sequence], [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", 2]),
        ])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def test_items_say_how_many_tensors_a_sequence_has(self):
        compiled = sparsec.compile(self.concatenation(), items={"x": [(1, 2), (3, 2)]})
        parts = [np.ones((1, 2), np.float32), np.arange(6, dtype=np.float32).reshape(3, 2)]
        for feeds in ({"x": parts}, {"x.0": parts[0], "x.1": parts[1]}):
            (got,) = compiled.run(feeds).values()
            np.testing.assert_array_equal(got, np.concatenate(parts))
        with self.assertRaisesRegex(ValueError, "compiled for 2 tensors, not 1"):
            compiled.run({"x": parts[:1]})
        with self.assertRaisesRegex(sparsec.CompileError, "items"):
            sparsec.compile(self.concatenation())


class Notebook(unittest.TestCase):
    def test_every_cell_runs(self):
        """The cells in one namespace; the value of a cell's last line is what a notebook would show."""
        notebook = json.loads((EXAMPLES / "digits.ipynb").read_text(encoding="utf-8"))
        cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        namespace, shown = {}, []
        here = os.getcwd()
        os.chdir(EXAMPLES)
        try:
            for cell in cells:
                body, _, last = cell.rpartition("\n")
                exec(compile(body, "cell", "exec"), namespace)
                try:
                    shown.append(eval(compile(last, "cell", "eval"), namespace))
                except SyntaxError:
                    exec(compile(last, "cell", "exec"), namespace)
        finally:
            os.chdir(here)
        self.assertIn("<table>", shown[0]._repr_html_())
        self.assertGreater(namespace["accuracy"], 0.97)
        self.assertEqual(set(shown[-1]), {"dense", "pruned"})


if __name__ == "__main__":
    unittest.main()
