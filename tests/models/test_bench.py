"""Tests of the benchmark's arithmetic and of what it writes; the timing itself needs a quiet machine."""

import sys
import unittest
import xml.dom.minidom

import bench_chart
import bench_kernels
import bench_profile
import bench_report
import bench_targets as targets
from bench_turns import Contest, Engine, Guard

# A program that answers turns: each time it says how often it was asked.
ENGINE = """
import json, sys
print(json.dumps({"ready": True, "version": "7"}), flush=True)
for turn, _ in enumerate(sys.stdin):
    print(json.dumps({"ms": [float(turn)], "fma_peak_gflops": 100.0, "copy_gbs": 10.0}), flush=True)
"""
MACHINE = {"fma_peak_gflops": 100.0, "copy_gbs": 10.0}


def network(times, failed=()):
    results = {label: {"median_ms": ms, "min_ms": ms, "runs": 1} for label, ms in times.items()}
    return {"results": results, "failed": dict(failed), "machine": MACHINE, "versions": ["ONNX Runtime 1"]}


def results():
    label = targets.Contender.label
    mlp = {label(targets.ORT): 40.0, label(targets.OPENVINO): 36.0, label(targets.DENSE): 45.0, label(targets.UN_90): 5.0}
    resnet = {label(targets.ORT): 80.0, label(targets.UN_90): 10.0, label(targets.UN_90_TWO): 8.0}
    lost = {label(targets.DEEPSPARSE): "does not install here"}
    products = {targets.product_name(p, s): {"median_ms": 1.0, "gflops": 68.0} for p in targets.PRODUCTS for s in (0.8, 0.9)}
    return {
        "described": {"cpu": "C", "llvm_cpu": "c", "cores": 2, "system": "S", "commit": "abc", "date": "2000-01-01"},
        "networks": {"mlp_b64": network(mlp), "resnet50": network(resnet, lost)},
        "products": {"results": products, "failed": {}, "machine": MACHINE},
    }


def row(model, against):
    (found,) = [r for r in bench_report.rows(results()) if r["model"] == model and r["against"].startswith(against)]
    return found


class Targets(unittest.TestCase):
    def test_every_target_is_of_a_known_network_and_runs_in_both_modes(self):
        for target in targets.TARGETS:
            if isinstance(target, targets.Target):
                for quick in (False, True):
                    field = targets.contenders(target.network, quick)
                    self.assertTrue({target.ours, *target.against} <= set(field), target)
                    self.assertEqual(len(field), len(set(field)))

    def test_ratios(self):
        met = row("mlp_b64 un:0.9", "ONNX Runtime")
        self.assertAlmostEqual(met["measured"], 8.0)
        self.assertEqual(bench_report.verdict(met), "met")
        # Dense is compared with the faster of the two, which is OpenVINO here.
        missed = row("mlp_b64 dense", "ONNX Runtime")
        self.assertAlmostEqual(missed["measured"], 0.8)
        self.assertEqual(bench_report.verdict(missed), "missed by 20 %")
        self.assertAlmostEqual(row("resnet50 un:0.9, 2 threads", "itself")["measured"], 1.25)
        self.assertEqual(bench_report.verdict(row("spmm_768x768x128 un:0.9", "FMA peak")), "met")
        self.assertEqual(bench_report.verdict(row("spmm_768x768x128 un:0.8", "FMA peak")), "missed by 3 %")

    def test_what_did_not_run_is_said(self):
        lost = row("resnet50 un:0.9", "DeepSparse")
        self.assertIsNone(lost["measured"])
        self.assertIn("does not install here", bench_report.verdict(lost))
        self.assertIn("was not run", bench_report.verdict(row("resnet50 channel:0.5", "ONNX Runtime")))

    def test_networks_without_results_have_no_rows(self):
        self.assertFalse([r for r in bench_report.rows(results()) if r["network"] == "bert_base"])


class Page(unittest.TestCase):
    def test_generated_parts_are_replaced_and_nothing_else(self):
        page = "a\n<!-- generated: x -->\nold\n<!-- end: x -->\nb <!-- generated: y --><!-- end: y -->"
        once = bench_report.put(page, "x", "new \\1")
        self.assertNotIn("old", once)
        self.assertTrue(once.startswith("a\n") and once.endswith("b <!-- generated: y --><!-- end: y -->"))
        self.assertEqual(bench_report.put(once, "x", "new \\1"), once)
        with self.assertRaises(ValueError):
            bench_report.put(page, "z", "new")

    def test_the_page_has_the_parts(self):
        page = bench_report.PAGE.read_text()
        for part in ("networks", "kernels"):
            self.assertIn("new", bench_report.put(page, part, "new"))

    def test_the_networks_part_names_the_machine_and_all_rows(self):
        text = bench_report.networks_page(results())
        self.assertIn("C (c), 2 cores", text)
        self.assertIn("FMA peak 100-100 GFLOP/s", text)
        self.assertIn("resnet50: DeepSparse un:0.9 did not run", text)

    def test_charts_are_xml(self):
        chart = bench_chart.targets(bench_report.rows(results()))
        self.assertEqual(len(xml.dom.minidom.parseString(chart).getElementsByTagName("rect")), 8)
        lines = bench_chart.panels({"a < b": {"hyb": [(0.1, 20.0), (0.2, 30.0)], "dense": [(0, 0)]}}, "x", "y")
        self.assertEqual(len(xml.dom.minidom.parseString(lines).getElementsByTagName("polyline")), 2)


class Kernels(unittest.TestCase):
    def points(self, *shares):
        points = [{"layer": "l", "pattern": "dense", "format": "dense", "density": 1.0, "ms": 1.0, "share": 0.8}]
        for density, share in shares:
            points.append({"layer": "l", "pattern": "un", "format": "hyb", "density": density, "ms": 1.0, "share": share})
        return points

    def crossover(self, *shares):
        dense, formats = bench_kernels.by_layer(self.points(*shares))["l"]
        return bench_kernels.crossover(dense, formats["hyb"])

    def test_crossover(self):
        # At 40 % the format is 1.25 times as fast as dense, at 60 % it is 0.75 times as fast: equal in the middle.
        self.assertEqual(self.crossover((0.6, 0.36), (0.4, 0.4)), "50%")
        self.assertEqual(self.crossover((0.1, 0.4), (0.4, 0.4)), "> 40%")
        self.assertEqual(self.crossover((0.1, 0.04), (0.4, 0.4)), "< 10%")

    def test_formats_meet_the_patterns_they_are_made_for(self):
        for pattern, weight_format in [("un:0.9", "hyb<192,2,4>"), ("un:0.9", "csr"), ("block:4:1:0.9", "bsr<4,1>"), ("nm:2:4", "nm<2,4>")]:
            self.assertTrue(bench_kernels.suits(pattern, weight_format))
        for pattern, weight_format in [("un:0.9", "dense"), ("un:0.9", "bsr<4,1>"), ("nm:2:4", "csr"), ("block:4:1:0.9", "hyb<192,2,4>")]:
            self.assertFalse(bench_kernels.suits(pattern, weight_format))

    def test_table_has_the_shares(self):
        self.assertIn("| l | 80% | hyb | 40% | 36% | 50% |", bench_kernels.table(self.points((0.4, 0.4), (0.6, 0.36))))


class Profiles(unittest.TestCase):
    ASSEMBLY = """
m_k0_spmm_body:
.LBB0_1:
\tmovzwl\t(%rdi,%rcx,2), %r9d
.LBB0_2:                                # inner
\tvbroadcastss\t(%rsi,%rcx,4), %zmm8
\tvfmadd231ps\t(%rdx,%r9), %zmm8, %zmm0 # zmm0 = (zmm8 * mem) + zmm0
\tvfmadd231ps\t%zmm1, %zmm8, %zmm2
\tvmovups\t%zmm3, (%rax)
\tjne\t.LBB0_2
\tjmp\t.LBB0_1
.Lfunc_end0:
"""

    def test_loads_of_the_inner_loop(self):
        self.assertEqual(bench_profile.loads_for_each_fma(self.ASSEMBLY, "k0_spmm"), 1.0)
        self.assertIsNone(bench_profile.loads_for_each_fma(self.ASSEMBLY, "k1_spmm"))

    def test_table(self):
        big = {"layers": 3, "us": 990.0, "macs": 1.0, "share": 0.4, "loads": 1.25}
        small = {"layers": 1, "us": 10.0, "macs": 0.0, "share": None, "loads": None}
        text = bench_profile.table({"families": {"map": small, "spmm": big}})
        self.assertIn("| spmm | 3 | 99% | 40% | 2.50 | 0.62 |", text)
        self.assertNotIn("map", text)


class Turns(unittest.TestCase):
    def test_every_engine_gets_every_turn_and_failures_are_told(self):
        python = [sys.executable, "-c"]
        machine = Engine([*python, ENGINE])
        machine.wait()
        broken = "import sys; sys.exit('no such model')"
        starts = {"a": [*python, ENGINE], "b": [*python, ENGINE], "c": [*python, broken]}
        with Contest(starts, machine, Guard("cat")) as contest:
            times, samples = contest.run(rounds=3, seconds=0.0)
        machine.close()
        self.assertEqual(times, {"a": [0.0, 1.0, 2.0], "b": [0.0, 1.0, 2.0]})
        self.assertEqual(len(samples), 3)
        self.assertEqual(contest.failed, {"c": "exit code 1: no such model"})
        self.assertEqual(contest.versions, {"a": "7", "b": "7"})


if __name__ == "__main__":
    unittest.main()
