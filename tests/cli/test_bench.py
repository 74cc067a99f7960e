# SPDX-License-Identifier: Apache-2.0
"""bench: what it prints. How fast anything is, is no matter of tests."""

import json
import random
import shutil
import struct
import subprocess
import time
from pathlib import Path

import program
from program import TINY, Case, environment

FIELDS = (
    "what preset dtype isa device threads length batch ratio repeats nt_per_s nt_per_s_min nt_per_s_max flop_per_nt "
    "gflops peak_gflops fraction seconds_gemm seconds_scan seconds_attention seconds_other seconds_waiting explained "
    "peak_bytes"
).split()


class Bench(Case):
    def bench(self, *arguments, **options):
        return json.loads(self.ok("bench", "-q", "-o", "json", "--repeats", 2, *arguments, **options).stdout)

    def sometimes(self, measured):
        """What is true of an undisturbed measurement is true of one in ten, however busy the machine."""
        self.assertTrue(any(measured() for _ in range(10)), "not once in ten measurements")

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
        parts = ["seconds_gemm", "seconds_scan", "seconds_attention", "seconds_other", "seconds_waiting"]
        self.assertTrue(all(row[p] >= 0 for p in parts))
        self.assertGreater(sum(row[p] for p in parts), 0)

    @program.plain_build_only
    def test_the_time_is_explained(self):
        rows = self.bench("-m", TINY, "--length", 8192, "-@", 1) + self.bench("-m", TINY, "--length", 512, "-@", 3)
        parts = ["seconds_gemm", "seconds_scan", "seconds_attention", "seconds_other", "seconds_waiting"]
        for row in rows:
            nucleotides = row["length"] * row["batch"]
            # Of two passes the median rate is the mean, and their mean time lies between those of the two.
            slow, fast = (nucleotides / row[rate] * row["threads"] for rate in ("nt_per_s_min", "nt_per_s_max"))
            known = sum(row[p] for p in parts) / row["explained"]
            self.assertTrue(fast * 0.999 <= known <= slow * 1.001, row)
            self.assertLess(row["explained"], 1.001)
        self.sometimes(lambda: self.bench("-m", TINY, "--length", 8192, "-@", 1)[0]["explained"] > 0.97)

    def test_boundaries(self):
        """The part of the pass that segment takes is faster than all of it."""

        def faster():
            (part,) = self.bench("-m", TINY, "--length", 4096, "-@", 1, "--what", "boundaries")
            (whole,) = self.bench("-m", TINY, "--length", 4096, "-@", 1)
            self.assertEqual(part["what"], "boundaries")
            self.assertNotIn("fraction", part)
            seconds = [sum(row[p] for p in FIELDS if p.startswith("seconds_")) for row in (part, whole)]
            return 0 < seconds[0] < seconds[1]

        self.sometimes(faster)

    def test_training(self):
        """Steps on one and on two threads, which must have the gradients of an untimed one, or bench fails."""
        lists = ["--length", "65,200", "--batch", "1,3", "-@", "1,2"]
        rows = self.bench("-m", TINY, "--what", "train", *lists, "--repeats", 1)
        self.assertEqual(len(rows), 8)
        for row in rows:
            self.assertEqual(row["what"], "train")
            for field in FIELDS:
                self.assertIn(field, row)
            self.assertAlmostEqual(row["gflops"] / (row["nt_per_s"] * row["flop_per_nt"] * 1e-9), 1, delta=1e-6)
            self.assertLess(row["explained"], 1.001)

    @program.plain_build_only
    def test_training_in_figures(self):
        step = ["-m", TINY, "--what", "train", "--length", 200, "--batch", 3, "-@", 2]
        (row,) = self.bench(*step, "--repeats", 1)
        (forward,) = self.bench("-m", TINY, "--length", 200, "--repeats", 1)
        self.assertTrue(2.5 < row["flop_per_nt"] / forward["flop_per_nt"] < 3.5)
        self.sometimes(lambda: self.bench(*step)[0]["explained"] > 0.5)
        (row,) = self.bench("--preset", "2m", "--what", "train", "--length", 4096, "--repeats", 1)
        self.assertAlmostEqual(row["flop_per_nt"] / 11.22e6, 1, delta=1e-3)

    def test_types(self):
        for isa in program.running_isas():
            result = self.ok(
                "bench", "-o", "json", "-m", TINY, "--length", 64, "--repeats", 1, "-@", "1,2",
                "--dtype", "f32,bf16", env=environment(LDAR_ISA=isa)
            )  # fmt: skip
            native = program.multiplies_bf16(isa)
            rows = [(r["threads"], r["dtype"]) for r in json.loads(result.stdout)]
            types = ["f32", "bf16" if native else "f32"]
            self.assertEqual(rows, [(t, d) for t in (1, 2) for d in types])
            self.assertEqual(result.stderr.count("multiplies no bf16: computing in f32"), 0 if native else 1)

    def test_passes_must_agree(self):
        """Weights that change under a benchmark make passes differ, and that is the end of it."""
        shutil.copyfile(TINY, "model")
        data = Path("model").read_bytes()
        start = 8 + struct.unpack("<Q", data[:8])[0]
        begin, end = json.loads(data[8:start])["backbone.decoder.rmsnorm.weight"]["data_offsets"]
        sound = data[start + begin : start + end]
        other = struct.pack(f"<{len(sound) // 4}f", *(2 * w for w in struct.unpack(f"<{len(sound) // 4}f", sound)))
        command = ["bench", "-q", "-m", "model", "--length", "64", "--repeats", "10000", "-@", "2"]
        with open("model", "r+b", buffering=0) as model, subprocess.Popen(
            program.PROGRAM + command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        ) as process:
            until = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < until:
                model.seek(start + begin)
                model.write(random.choice([sound, other]))
                time.sleep(random.uniform(0, 0.2))
            process.kill()
            said = process.stderr.read().decode()
            self.assertEqual(process.stdout.read(), b"")
        self.assertEqual(process.returncode, 1, said)
        self.assertRegex(said, "64 nucleotides on 2 threads computed something else than an untimed pass on one thread")

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
        self.fails(2, "--what", "bench", "--what", "learn")
        self.fails(2, "exclude", "bench", "--preset", "2m", "-m", TINY)
        self.fails(1, "none", "bench", "-m", "none")
        self.fails(1, "reference", "bench", "-q", "-m", TINY, "--what", "train", "--gemm", "reference")
        self.fails(1, "needs .* MiB", "bench", "-q", "-m", TINY, "--length", 4096, "--max-memory", "1M")


if __name__ == "__main__":
    program.main()
