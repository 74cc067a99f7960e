# SPDX-License-Identifier: Apache-2.0
"""--dry-run: what a run takes is said before it is done. Time is said too, but decides no test."""

import os
import subprocess
from pathlib import Path

import program
from program import PROGRAM, TINY, Case, dna, environment, plain_build_only, write_fasta

RECORDS = [("chr1", dna(30000) + "N" * 500), ("e", ""), ("b", dna(7)), ("chr2", dna(21000) + "A" * 800)]
NAMES = "records bases windows computed passes flop nt_per_s seconds memory output".split()


class DryRun(Case):
    def setUp(self):
        super().setUp()
        write_fasta("a.fa", RECORDS)
        write_fasta("g.fa", [r for r in RECORDS if r[1]])

    def forecast(self, command, *arguments):
        """The numbers; a dry run leaves no file."""
        before = [p for p in sorted(self.folder.rglob("*")) if p.suffix != ".fai"]
        text = self.ok(command, "-q", "-m", TINY, *arguments, "--dry-run").stdout.decode()
        after = [p for p in sorted(self.folder.rglob("*")) if p.suffix != ".fai"]
        self.assertEqual(after, before)
        lines = [line.split("\t") for line in text.splitlines()]
        self.assertEqual([line[0] for line in lines], NAMES)
        self.assertTrue(all(len(line) == 3 for line in lines))
        return {name: None if value == "-" else float(value) for name, value, _ in lines}

    def close(self, foretold, found, what):
        self.assertLess(abs(foretold - found), 0.2 * found, f"{what}: {foretold} foretold, {found} found")

    def test_what_there_is(self):
        found = self.forecast("segment", "a.fa", "--window", 1000, "--overlap", 200)
        self.assertEqual(found["records"], len(RECORDS))
        self.assertEqual(found["bases"], sum(len(s) for _, s in RECORDS))
        # ceil((length - overlap) / (window - overlap)) of the long records, one of the others.
        windows = 38 + 27
        self.assertEqual((found["windows"], found["computed"]), (windows + 2, windows * 1000 + 7))
        self.assertEqual(found["passes"], 1)
        self.assertGreater(found["nt_per_s"], 0)
        self.assertAlmostEqual(found["seconds"] * found["nt_per_s"] / found["computed"], 1, delta=0.01)

    @plain_build_only
    def test_sizes(self):
        """Rows of floats exactly, text and what is compressed within 20 %."""
        window = ["--window", 2000]
        exact = [["embed", "--pool", "mean"], ["logits"]]
        near = [["embed", "--layer", "chunks"], ["segment"], ["segment", "-O", "bedgraph"], ["segment", "-O", "bigwig"]]
        for command, *options in exact + near:
            foretold = self.forecast(command, "a.fa", *options, *window)["output"]
            self.ok(command, "-q", "-m", TINY, "a.fa", *options, *window, "-o", "out")
            size = os.path.getsize("out")
            if [command, *options] in exact:
                self.assertEqual(foretold, size, (command, options))
            self.close(foretold, size, (command, options))

    @plain_build_only
    def test_parts(self):
        for options in (["segment"], ["embed", "--pool", "mean"]):
            command, *more = options
            shard = [command, "a.fa", *more, "--window", 500, "--shard", "2/3"]
            foretold = self.forecast(*shard)
            self.ok(shard[0], "-q", "-m", TINY, *shard[1:], "-o", "p")
            self.close(foretold["output"], os.path.getsize("p"), options)
            self.close(foretold["bases"], sum(len(s) for _, s in RECORDS) / 3, options)

    @plain_build_only
    def test_arithmetic(self):
        """Boundaries alone take less than hidden states, and a window of eight passes eight times as much."""
        genome = ["-f", "g.fa", "--window", 1000]
        segment = self.forecast("segment", *genome)["flop"]
        self.assertLess(segment, self.forecast("logits", *genome)["flop"])
        one = self.forecast("scan", *genome, "--mode", "wt", "-o", "x")
        many = self.forecast("scan", *genome, "--strands", "forward", "-o", "x")
        self.assertEqual((one["passes"], many["passes"]), (1, 8))
        self.close(many["flop"], 8 * one["flop"], "flop")
        alone = self.forecast("scan", "-f", "g.fa", "-r", "chr1:1-600", "--flank", 0, "--mode", "exact", "-o", "x")
        self.assertEqual(alone["passes"], 600)

    @plain_build_only
    def test_scan_sizes(self):
        arguments = ["-f", "g.fa", "--window", 2000, "--mode", "wt"]
        foretold = self.forecast("scan", *arguments, "-o", "x")["output"]
        os.mkdir("out")
        self.ok("scan", "-q", "-m", TINY, *arguments, "-o", "out/x")
        self.close(foretold, sum(p.stat().st_size for p in Path("out").iterdir() if p.suffix != ".json"), "scan")

    def test_finetune(self):
        """Epochs of training and validation, or of a frozen model one pass over each table."""
        for name, count in ("train", 40), ("valid", 10), ("test", 5):
            rows = "".join(f"{dna(30 + i)},{i % 2}\n" for i in range(count))
            Path(f"{name}.csv").write_text("sequence,label\n" + rows)
        nucleotides = {name: sum(range(30, 30 + count)) for name, count in (("train", 40), ("valid", 10), ("test", 5))}
        tables = ["--train", "train.csv", "--valid", "valid.csv", "--test", "test.csv"]
        found = self.forecast("finetune", *tables, "--epochs", 3)
        self.assertEqual((found["records"], found["bases"]), (55, sum(nucleotides.values())))
        learning = 3 * (nucleotides["train"] + nucleotides["valid"]) + nucleotides["test"]
        self.assertEqual(found["computed"], learning)
        self.assertAlmostEqual(found["seconds"] * found["nt_per_s"] / learning, 1, delta=0.01)
        frozen = self.forecast("finetune", *tables, "--freeze", "--both-strands", "-o", "run")
        self.assertEqual(frozen["computed"], 2 * (found["bases"] + nucleotides["test"]))
        self.assertLess(frozen["flop"] / frozen["computed"], found["flop"] / found["computed"])

    @plain_build_only
    def test_pretrain(self):
        """Windows drawn and held out, the tokens of the ratio, and what the folder will hold."""
        write_fasta("p.fa", [("x", dna(4000)), ("y", dna(1000))])
        plan = ["p.fa", "--hold-out", "y", "--window", 128, "--batch", 2, "--accumulate", 3, "--steps", 10]
        plan += ["--validate-every", 4, "--checkpoint-every", 4]
        found = self.forecast("pretrain", *plan)
        validated = 3 * 7  # thrice, of 1,000 nucleotides
        self.assertEqual((found["records"], found["bases"]), (2, 4000))
        self.assertEqual((found["windows"], found["computed"]), (10 * 6 + validated, (10 * 6 + validated) * 128))
        self.assertEqual(found["passes"], 10 * 6 * 128 / 4000)
        self.assertAlmostEqual(found["seconds"] * found["nt_per_s"] / found["computed"], 1, delta=0.01)
        more = self.forecast("pretrain", *plan, "--boundaries", "every:1")
        self.assertGreater(more["flop"], found["flop"])
        self.ok("pretrain", "-q", "-m", TINY, *plan, "-o", "run")
        files = [p for p in Path("run").rglob("*") if p.name == "log.jsonl" or p.suffix == ".safetensors"]
        self.close(found["output"], sum(p.stat().st_size for p in files), "output")
        self.fails(2, "--dry-run: with --resume", "pretrain", "--resume", "run", "--dry-run")

    @plain_build_only
    def test_profile(self):
        Path("s.bed").write_text("".join(f"chr1\t{at}\t{at + 1}\tx\t0\t+\n" for at in range(500, 20500, 400)))
        Path("t.bed").write_text("chr2\t9000\t9001\tx\t0\t-\n" * 2 + "chr2\t10\t11\n")
        arguments = ["-f", "g.fa", "--sites", "s.bed", "--sites", "t.bed", "--flank", 50, "--window", 200]
        found = self.forecast("profile", *arguments)
        locus = 200 - 1  # 179 nucleotides, widened evenly
        sites = 50 + 2  # one of them is given twice
        self.assertEqual((found["records"], found["windows"]), (sites, 2 * sites + 1))
        self.assertEqual((found["bases"], found["computed"]), (sites * 200 + locus, 2 * sites * 200 + locus))
        both = self.forecast("profile", *arguments, "--read", "both", "--draws", 3)
        self.assertEqual(both["computed"], 8 * sites * 200 + locus)
        self.assertAlmostEqual(both["flop"] / found["flop"], both["computed"] / found["computed"])
        self.ok("profile", "-q", "-m", TINY, *arguments, "-o", "out")
        self.close(found["output"], sum(p.stat().st_size for p in Path("out").iterdir()), "output")

    def test_memory(self):
        if program.is_sanitized() or program.is_emulated():
            self.skipTest("memory is not the program's alone")
        rows = "".join(f"{dna(400)},{i % 2}\n" for i in range(200))
        Path("train.csv").write_text("sequence,label\n" + rows)
        for command, *words in (
            ["embed", "a.fa", "--window", "8192", "-@", "2"],
            ["finetune", "--train", "train.csv", "--epochs", "1", "-@", "2"],
            ["pretrain", "a.fa", "--window", "4096", "--steps", "3", "-@", "2"],
            ["profile", "-f", "g.fa", "--motif", "ACGTA", "-@", "2"],
        ):
            foretold = self.forecast(command, *words)["memory"]
            process = subprocess.Popen(
                [*PROGRAM, command, "-q", "-m", str(TINY), *words, "-o", f"out-{command}"], env=environment()
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(status, 0)
            self.close(foretold, 1024 * usage.ru_maxrss, (command, words))

    def test_nothing(self):
        write_fasta("none.fa", [("x", ""), ("y", "")])
        found = self.forecast("embed", "none.fa", "--pool", "mean")
        self.assertEqual((found["bases"], found["windows"], found["seconds"]), (0, 2, 0))
        self.fails(2, "--dry-run.*standard input", "segment", "-m", TINY, "-", "--dry-run")


if __name__ == "__main__":
    program.main()
