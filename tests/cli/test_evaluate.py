# SPDX-License-Identifier: Apache-2.0
"""evaluate --mlm: guessing masked nucleotides."""

import gzip
import json
import math
from pathlib import Path

import program
from program import TINY, Case, bgzf, dna, write_fasta

FIELDS = "loss accuracy positions ratio bits_per_base nucleotides windows version command model sha256".split()


class Evaluate(Case):
    def evaluate(self, *arguments, **options):
        return json.loads(self.ok("evaluate", "-q", "-m", TINY, "-o", "json", *arguments, **options).stdout)

    def same(self, a, b):
        return all(a[field] == b[field] for field in FIELDS if field not in ("command", "model"))

    def test_what_it_prints(self):
        write_fasta("a.fa", [("a", dna(20000))])
        row = self.evaluate("--mlm", "a.fa")
        for field in FIELDS:
            self.assertIn(field, row)
        self.assertEqual((row["nucleotides"], row["windows"]), (20000, 5))
        self.assertAlmostEqual(row["bits_per_base"], row["loss"] / math.log(2), delta=1e-7)
        # Untrained: about as good as a throw of a die with seven sides.
        self.assertAlmostEqual(row["loss"], math.log(7), delta=0.15)
        self.assertTrue(0 <= row["accuracy"] <= 0.35)
        self.assertTrue(1 <= row["ratio_min"] <= row["ratio"] <= row["ratio_max"] + 0.1)
        # 15 %, within 5 standard errors.
        self.assertAlmostEqual(row["positions"], 3000, delta=5 * math.sqrt(20000 * 0.15 * 0.85))
        text = self.ok("evaluate", "-m", TINY, "--mlm", "a.fa").stdout.decode()
        self.assertIn(f"{row['loss']:.6f} nats", text)
        self.assertIn(f"{row['positions']} of 20000 nucleotides in 5 windows", text)

    def test_same_bits(self):
        write_fasta("a.fa", [("a", dna(9000)), ("b", dna(100)), ("c", ""), ("d", dna(5000))])
        first = self.evaluate("--mlm", "a.fa", "-@", 1, "--window", 1000)
        for options in (["-@", 2], ["-@", 7], ["-@", 2, "--max-memory", "40M"]):
            self.assertTrue(self.same(first, self.evaluate("--mlm", "a.fa", "--window", 1000, *options)))
        self.assertFalse(self.same(first, self.evaluate("--mlm", "a.fa", "--window", 1000, "--seed", 1)))

    def test_n_is_not_guessed(self):
        write_fasta("a.fa", [("a", "N" * 3000 + dna(1000) + "N" * 3000)])
        row = self.evaluate("--mlm", "a.fa", "--mask", 1)
        self.assertEqual((row["positions"], row["nucleotides"]), (1000, 7000))
        write_fasta("n.fa", [("n", "N" * 3000)])
        self.fails(1, "nothing to guess", "evaluate", "-q", "-m", TINY, "--mlm", "n.fa")

    @program.plain_build_only
    def test_mask_all(self):
        write_fasta("a.fa", [("a", dna(20000))])
        shown, hidden = self.evaluate("--mlm", "a.fa"), self.evaluate("--mlm", "a.fa", "--mask-all")
        self.assertEqual(shown["positions"], hidden["positions"])
        self.assertNotEqual(shown["loss"], hidden["loss"])
        # A window of nothing but [MASK] has the same scores and the same tokens, whatever is hidden in it.
        everything = ["--mask", 1, "--mask-all"]
        write_fasta("b.fa", [("b", dna(20000))])
        ratios = {self.evaluate("--mlm", name, *everything)["ratio"] for name in ("a.fa", "b.fa")}
        self.assertEqual(len(ratios), 1)
        losses = []
        for sequence in ("A", "C", "G", "T", "GATTACA"):
            write_fasta("s.fa", [("s", sequence)])
            losses.append(self.evaluate("--mlm", "s.fa", "--window", 1, *everything)["loss"])
        a, c, g, t, mixed = losses
        self.assertAlmostEqual(mixed, (3 * a + c + g + 2 * t) / 7, delta=1e-7)
        self.assertLess(sum(math.exp(-loss) for loss in (a, c, g, t)), 1)

    def test_regions(self):
        a, b = dna(6000), dna(3000)
        write_fasta("all.fa", [("a", a), ("b", b)])
        write_fasta("part.fa", [("a", a[1000:4000]), ("b", b)])
        Path("part.bed").write_text("a\t1000\t4000\nb\t0\t3000\n")
        Path("labelled.bed").write_text(
            "a\t0\t1000\ttrain\na\t1000\t4000\ttest\na\t4500\t5000\tvalid\nb\t0\t3000\ttest\n"
        )
        expected = self.evaluate("--mlm", "part.fa", "--window", 2000)
        forms = [
            ["-r", "a:1001-4000", "-r", "b"],
            ["-R", "part.bed"],
            ["--windows", "part.bed"],
            ["--windows", "labelled.bed", "--part", "test"],
        ]
        for form in forms:
            self.assertTrue(self.same(expected, self.evaluate("--mlm", "all.fa", "--window", 2000, *form)), form)
        data = Path("all.fa").read_bytes()
        Path("gzip.fa.gz").write_bytes(gzip.compress(data))
        for form in forms:
            self.assertTrue(self.same(expected, self.evaluate("--mlm", "gzip.fa.gz", "--window", 2000, *form)), form)
        self.assertFalse(Path("gzip.fa.gz.fai").exists())
        Path("all.fa.gz").write_bytes(bgzf(data))
        row = self.evaluate("--mlm", "all.fa.gz", "--window", 2000, "-r", "a:1001-4000", "-r", "b")
        self.assertTrue(self.same(expected, row))
        self.assertEqual(self.evaluate("--mlm", "all.fa", "--windows", "labelled.bed")["nucleotides"], 7500)

    def test_fixed_tokens(self):
        write_fasta("a.fa", [("a", dna(4096))])
        self.assertEqual(self.evaluate("--mlm", "a.fa", "--boundaries", "every:8")["ratio"], 8)
        learned = self.evaluate("--mlm", "a.fa", "--boundaries", "learned")
        self.assertTrue(self.same(self.evaluate("--mlm", "a.fa"), learned))

    def test_refusals(self):
        write_fasta("a.fa", [("a", dna(4096))])
        Path("a.bed").write_text("a\t0\t10\n")
        start = ["evaluate", "-q", "-m", TINY]
        self.fails(2, "--mlm GENOME.fa", *start)
        self.fails(2, "exclude each other", *start, "--mlm", "a.fa", "-r", "a", "--windows", "a.bed")
        self.fails(2, "--part needs --windows", *start, "--mlm", "a.fa", "--part", "test")
        for bad in ("0", "1.5", "-1", "x"):
            self.fails(2, "--mask", *start, "--mlm", "a.fa", "--mask", bad)
        for bad in ("every:0", "every:", "every:4x", "fixed", "every:99999"):
            self.fails(2, "--boundaries", *start, "--mlm", "a.fa", "--boundaries", bad)
        self.fails(1, "none.fa", *start, "--mlm", "none.fa")
        self.ok(*start, "--mlm", "a.fa", "--windows", "a.bed")  # the index of the genome is there from here on
        self.fails(1, "no interval called valid", *start, "--mlm", "a.fa", "--windows", "a.bed", "--part", "valid")
        self.fails(1, "model alone needs", *start, "--mlm", "a.fa", "--max-memory", "1M")


if __name__ == "__main__":
    program.main()
