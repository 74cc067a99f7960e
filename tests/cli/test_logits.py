# SPDX-License-Identifier: Apache-2.0
"""logits: a row of seven scores for each base."""

import json
import struct
from pathlib import Path

import program
from program import GOLDEN, TINY, Case, Matrix, dna, environment, running_isas, write_fasta

LETTERS = "ACGTN"


def golden_sequence(path):
    """A golden file's letters and logits; None where it holds [MASK] or [PAD], which no letter stands for."""
    data = Path(path).read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    begin, end = header["ids"]["data_offsets"]
    ids = struct.unpack(f"<{(end - begin) // 8}q", data[start + begin : start + end])
    begin, end = header["logits"]["data_offsets"]
    logits = struct.unpack(f"<{(end - begin) // 4}f", data[start + begin : start + end])
    return ("".join(LETTERS[i] for i in ids), logits) if max(ids) < len(LETTERS) else None


class Logits(Case):
    def test_shape(self):
        write_fasta("a.fa", [("a", dna(100)), ("b", dna(33))])
        self.ok("logits", "-q", "-m", TINY, "a.fa", "-o", "o.npy")
        matrix = Matrix("o.npy")
        self.assertEqual((matrix.rows, matrix.width), (133, 7))
        self.assertEqual([r["offset"] for r in matrix.json["records"]], [0, 100])

    def test_golden_values(self):
        files = [(f, golden_sequence(f)) for f in sorted(GOLDEN.glob("tiny-forward-*.safetensors"))]
        files = [(f, g) for f, g in files if g]
        self.assertTrue(files, "no golden file of letters alone")
        for path, (sequence, logits) in files:
            write_fasta("a.fa", [("a", sequence)])
            self.ok("logits", "-q", "-m", TINY, "a.fa", "-o", "o.npy")
            norm = sum(e * e for e in logits)
            error = sum((v - e) ** 2 for v, e in zip(Matrix("o.npy").values(), logits, strict=True))
            self.assertLess((error / norm) ** 0.5, 2e-5, path.name)

    def test_same_bits(self):
        records = [(f"r{i}", dna(1 + i * 97 % 700)) for i in range(30)]
        write_fasta("a.fa", records)
        write_fasta("alone.fa", records[7:8])
        for isa in running_isas():
            env = environment(LDAR_ISA=isa)
            results = set()
            for threads in [1, 2, 3, 7]:
                self.ok("logits", "-q", "-m", TINY, "a.fa", "-o", "o.npy", "-@", threads, env=env)
                results.add(Matrix("o.npy").bytes)
            self.assertEqual(len(results), 1)
            self.ok("logits", "-q", "-m", TINY, "alone.fa", "-o", "alone.npy", env=env)
            self.assertEqual(Matrix("alone.npy").bytes, Matrix("o.npy").record("r7"))

    def test_same_bits_in_bf16(self):
        write_fasta("a.fa", [(f"r{i}", dna(1 + i * 97 % 700)) for i in range(12)])
        for isa in running_isas():
            options = ["-m", TINY, "--dtype", "bf16"]
            env = environment(LDAR_ISA=isa)
            results = set()
            for threads in [1, 2, 3]:
                self.ok("logits", "-q", *options, "a.fa", "-o", "o.npy", "-@", threads, env=env)
                results.add(Matrix("o.npy").bytes)
            self.assertEqual(len(results), 1)

    def test_bf16_is_near_f32(self):
        write_fasta("a.fa", [("a", dna(2000))])
        for isa in running_isas():
            env = environment(LDAR_ISA=isa)
            for dtype in ["f32", "bf16"]:
                self.ok("logits", "-q", "-m", TINY, "a.fa", "-o", f"{dtype}.npy", "--dtype", dtype, env=env)
            half, full = Matrix("bf16.npy").values(), Matrix("f32.npy").values()
            error = sum((a - b) ** 2 for a, b in zip(half, full)) / sum(b * b for b in full)
            self.assertGreater(error, 0)
            self.assertLess(error**0.5, 0.2, isa)

    def test_bf16_models_are_computed_in_f32(self):
        """Its matrices are those of the f32 model, rounded: the scores are near, and not the same."""
        write_fasta("a.fa", [("a", dna(64))])
        self.ok("convert", "-q", TINY, "-o", "half", "--dtype", "bf16")
        self.ok("logits", "-q", "-m", "half", "a.fa", "-o", "half.npy")
        self.ok("logits", "-q", "-m", TINY, "a.fa", "-o", "full.npy")
        half, full = Matrix("half.npy").values(), Matrix("full.npy").values()
        error = sum((a - b) ** 2 for a, b in zip(half, full)) / sum(b * b for b in full)
        self.assertGreater(error, 0)
        self.assertLess(error**0.5, 0.2)


if __name__ == "__main__":
    program.main()
