# SPDX-License-Identifier: Apache-2.0
"""bench: what it prints. How fast anything is, is no matter of tests."""

import json

import program
from program import TINY, Case, environment

FIELDS = (
    "what preset dtype isa device threads length batch ratio repeats nt_per_s nt_per_s_min nt_per_s_max flop_per_nt "
    "gflops peak_gflops fraction seconds_gemm seconds_scan seconds_attention seconds_other peak_bytes"
).split()


class Bench(Case):
    def bench(self, *arguments, **options):
        return json.loads(self.ok("bench", "-q", "-o", "json", "--repeats", 2, *arguments, **options).stdout)

    def test_forward(self):
        (row,) = self.bench("-m", TINY, "--length", 256)
        for field in FIELDS:
            self.assertIn(field, row)
        self.assertEqual((row["what"], row["dtype"], row["device"]), ("forward", "f32", "cpu"))
        self.assertEqual((row["length"], row["batch"], row["ratio"], row["repeats"]), (256, 1, 4, 2))
        self.assertTrue(0 < row["nt_per_s_min"] <= row["nt_per_s"] <= row["nt_per_s_max"])
        self.assertAlmostEqual(row["gflops"] / (row["nt_per_s"] * row["flop_per_nt"] * 1e-9), 1, delta=1e-6)
        self.assertAlmostEqual(row["fraction"] / (row["gflops"] / row["peak_gflops"]), 1, delta=1e-6)
        self.assertGreater(row["peak_bytes"], 0)
        parts = ["seconds_gemm", "seconds_scan", "seconds_attention", "seconds_other"]
        self.assertTrue(all(row[p] >= 0 for p in parts))
        self.assertGreater(sum(row[p] for p in parts), 0)

    def test_lists(self):
        lists = ["--length", "64,128", "--batch", "1,3", "--ratio", "1,4", "-@", "1,2"]
        rows = self.bench("-m", TINY, *lists, "--repeats", 1)
        shapes = [(r["threads"], r["length"], r["batch"], r["ratio"]) for r in rows]
        expected = [(t, l, b, r) for t in (1, 2) for l in (64, 128) for b in (1, 3) for r in (1, 4)]
        self.assertEqual(shapes, expected)

    def test_least_arithmetic_of_the_presets(self):
        (row,) = self.bench("--preset", "2m", "--length", 128, "--repeats", 1, "--batch", 1)
        self.assertEqual(row["preset"], "2m")
        self.assertGreater(row["flop_per_nt"], 1e6)

    def test_isa(self):
        for isa in program.running_isas():
            (row,) = self.bench("-m", TINY, "--length", 64, "--repeats", 1, env=environment(LDAR_ISA=isa))
            self.assertEqual(row["isa"], isa)

    def test_markdown(self):
        lines = self.ok("bench", "-q", "-m", TINY, "--length", 64, "--repeats", 1).stdout.decode().splitlines()
        self.assertEqual(len(lines), 3)
        names = [n.strip() for n in lines[0].strip("|").split("|")]
        for field in FIELDS:
            self.assertIn(field, names)
        self.assertEqual(len({l.count("|") for l in lines}), 1)

    def test_kernels(self):
        rows = self.bench("--what", "kernels", "--length", 128, "--repeats", 1)
        kernels = {r["kernel"] for r in rows}
        for kernel in ["ssd_scan left to right", "ssd_scan right to left", "attention", "rms_norm"]:
            self.assertIn(kernel, kernels)
        for row in rows:
            self.assertEqual(row["what"], "kernels")
            self.assertIn(row["rate_unit"], ["GFLOP/s", "GB/s"])
            for field in ["ns_per_unit", "rate", "peak", "fraction"]:
                self.assertGreater(row[field], 0)
            self.assertAlmostEqual(row["fraction"] / (row["rate"] / row["peak"]), 1, delta=1e-6)

    def test_usage(self):
        self.fails(2, "--what", "bench", "--what", "train")
        self.fails(2, "exclude", "bench", "--preset", "2m", "-m", TINY)
        self.fails(1, "none", "bench", "-m", "none")
        self.fails(1, "needs .* MiB", "bench", "-q", "-m", TINY, "--length", 4096, "--max-memory", "1M")


if __name__ == "__main__":
    program.main()
