# SPDX-License-Identifier: Apache-2.0
"""embed: what is written, and that it depends on nothing it should not."""

import gzip
import math
import resource
from pathlib import Path

import program
from program import TINY, TINY_WIDTH, Case, Matrix, dna, environment, running_isas, write_fasta, write_fastq

RECORDS = [("one", dna(700)), ("two", dna(1)), ("three", dna(300, "ACGTN")), ("four", "N" * 65), ("five", dna(129))]


class Layout(Case):
    def test_rows_per_base(self):
        write_fasta("a.fa", RECORDS)
        for layer in ["hidden", "encoder"]:
            matrix = self.embed("a.fa", "out.npy", "--layer", layer)
            self.assertEqual((matrix.rows, matrix.width), (sum(len(s) for _, s in RECORDS), TINY_WIDTH))
            offset = 0
            for record, (name, sequence) in zip(matrix.json["records"], RECORDS, strict=True):
                self.assertEqual(
                    record, dict(name=name, start=0, length=len(sequence), offset=offset, rows=len(sequence))
                )
                offset += len(sequence)
            self.assertTrue(all(map(math.isfinite, matrix.values())))

    def test_provenance(self):
        write_fasta("a.fa", RECORDS)
        json = self.embed("a.fa", "my out.npy").json
        self.assertRegex(json["version"], r"^\d+\.\d+\.\d+$")
        self.assertIn("ldar", json["command"])
        self.assertEqual(json["command"].split()[1:], ["embed", "-m", str(TINY), "a.fa"])
        self.assertEqual(json["model"], str(TINY))
        options = ["-qvo", "b.npy", "--layer", "encoder", "-@2", "--max-memory=1G", "--", "a.fa"]
        self.ok("embed", f"-qm{TINY}", *options)
        lasting = ["embed", f"-m{TINY}", "--layer", "encoder", "--", "a.fa"]
        self.assertEqual(Matrix("b.npy").json["command"].split()[1:], lasting)
        self.ok("convert", "-q", TINY, "-o", "m")
        self.ok("embed", "-q", "-m", "m", "a.fa", "-o", "b.npy")
        self.assertRegex(Matrix("b.npy").json["sha256"], "^[0-9a-f]{64}$")

    def test_chunks_are_the_tokens(self):
        write_fasta("a.fa", RECORDS)
        tokens = program.read_bed(self.segment("a.fa").decode())
        matrix = self.embed("a.fa", "out.npy", "--layer", "chunks")
        self.assertEqual(matrix.rows, len(tokens))
        for record in matrix.json["records"]:
            self.assertEqual(record["rows"], sum(1 for t in tokens if t[0] == record["name"]))

    def test_pool_is_the_mean(self):
        write_fasta("a.fa", RECORDS)
        for layer in ["hidden", "encoder", "chunks"]:
            rows = self.embed("a.fa", "rows.npy", "--layer", layer)
            mean = self.embed("a.fa", "mean.npy", "--layer", layer, "--pool", "mean")
            self.assertEqual(mean.rows, len(RECORDS))
            values, means = rows.values(), mean.values()
            for i, record in enumerate(rows.json["records"]):
                begin, end = record["offset"], record["offset"] + record["rows"]
                for column in range(0, TINY_WIDTH, 7):
                    expected = math.fsum(values[r * TINY_WIDTH + column] for r in range(begin, end)) / (end - begin)
                    self.assertAlmostEqual(means[i * TINY_WIDTH + column], expected, delta=1e-6 * max(1, abs(expected)))

    def test_empty_records(self):
        Path("a.fa").write_text(">a\nACGT\n>void\n>b\nAC\n")
        rows = self.ok("embed", "-m", TINY, "a.fa", "-o", "rows.npy")
        self.assertRegex(rows.stderr, 'warning: a.fa: record "void" is empty')
        self.assertEqual([r["rows"] for r in Matrix("rows.npy").json["records"]], [4, 0, 2])
        self.ok("embed", "-q", "-m", TINY, "a.fa", "-o", "mean.npy", "--pool", "mean")
        values = Matrix("mean.npy").values()
        nan = [all(map(math.isnan, values[i * TINY_WIDTH : (i + 1) * TINY_WIDTH])) for i in range(3)]
        self.assertEqual(nan, [False, True, False])

    def test_only_empty_records(self):
        Path("a.fa").write_text(">a\n>b\n")
        self.assertEqual(self.embed("a.fa").rows, 0)

    def test_standard_output_must_be_a_file(self):
        write_fasta("a.fa", RECORDS)
        self.fails(1, "-o FILE", "embed", "-q", "-m", TINY, "a.fa")
        expected = Path("out.npy")
        self.embed("a.fa", expected)
        with open("redirected", "wb") as out:
            program.subprocess.run(
                program.PROGRAM + ["embed", "-q", "-m", str(TINY), "a.fa"], stdout=out, check=True, env=environment()
            )
        self.assertEqual(Path("redirected").read_bytes(), expected.read_bytes())


class SameBits(Case):
    def test_threads(self):
        write_fasta("a.fa", RECORDS + [("long", dna(5000))])
        for isa in running_isas():
            results = set()
            for threads in [1, 2, 3, 7]:
                results.add(self.embed("a.fa", "o.npy", "-@", threads, env=environment(LDAR_ISA=isa)).bytes)
            self.assertEqual(len(results), 1, isa)

    def test_company_and_order(self):
        """A record's rows are the same alone, in any order, and in batches of any make-up."""
        many = RECORDS + [(f"r{i}", dna(1 + i * 37 % 400)) for i in range(40)]
        write_fasta("many.fa", many)
        write_fasta("back.fa", many[::-1])
        for isa in running_isas():
            env = environment(LDAR_ISA=isa)
            forward = self.embed("many.fa", "f.npy", env=env)
            backward = self.embed("back.fa", "b.npy", env=env)
            cut = self.embed("many.fa", "c.npy", "--max-memory", "12M", "--window", "1000", env=env)
            self.assertEqual(forward.bytes, cut.bytes)
            for name, sequence in many:
                self.assertEqual(forward.record(name), backward.record(name))
            for name, sequence in many[:3]:
                write_fasta("alone.fa", [(name, sequence)])
                self.assertEqual(self.embed("alone.fa", "a.npy", env=env).bytes, forward.record(name))

    def test_files_of_every_kind(self):
        write_fasta("a.fa", RECORDS)
        expected = self.embed("a.fa")
        text = Path("a.fa").read_bytes()
        Path("a.fa.gz").write_bytes(gzip.compress(text))
        Path("two.gz").write_bytes(gzip.compress(text[:900]) + gzip.compress(text[900:]))
        Path("a.bgz").write_bytes(program.bgzf(text, 500))
        write_fasta("crlf.fa", RECORDS, newline="\r\n")
        write_fasta("cut.fa", RECORDS, last_newline=False)
        write_fasta("wide.fa", RECORDS, width=10**6)
        write_fasta("lower.fa", [(n + " some text", s.lower().replace("t", "u")) for n, s in RECORDS])
        iupac = [(n, s.replace("N", "R", 3).replace("N", "-", 2).replace("N", "y", 1)) for n, s in RECORDS]
        write_fasta("iupac.fa", iupac)
        write_fastq("a.fq", RECORDS)
        Path("misnamed.txt").write_bytes(gzip.compress(Path("a.fq").read_bytes()))
        others = "a.fa.gz two.gz a.bgz crlf.fa cut.fa wide.fa lower.fa iupac.fa a.fq misnamed.txt"
        for name in others.split():
            matrix = self.embed(name, "o.npy")
            self.assertEqual(matrix.bytes, expected.bytes, name)
            self.assertEqual(matrix.json["records"], expected.json["records"])
        for name in ["a.fa", "a.fa.gz", "a.bgz", "a.fq"]:
            self.ok("embed", "-q", "-m", TINY, "-", "-o", "o.npy", input=Path(name).read_bytes())
            self.assertEqual(Matrix("o.npy").bytes, expected.bytes, name)

    def test_unknown_letters_are_counted(self):
        write_fasta("a.fa", [("a", "ACGTNRY-")])
        self.assertIn("4 of 8 letters", self.ok("embed", "-m", TINY, "a.fa", "-o", "o.npy").stderr)


class Windows(Case):
    def test_rows_are_those_of_the_deepest_window(self):
        """Windows of 1000 that overlap by 200, by hand: 0, 800, ... and a last one that ends with the record."""
        length, window, overlap = 3300, 1000, 200
        sequence = dna(length)
        write_fasta("a.fa", [("a", sequence)])
        starts = list(range(0, length - window, window - overlap)) + [length - window]
        self.assertEqual(starts, [0, 800, 1600, 2300])
        write_fasta("parts.fa", [(str(s), sequence[s : s + window]) for s in starts])
        for layer, width in [("hidden", TINY_WIDTH), ("encoder", TINY_WIDTH)]:
            parts = self.embed("parts.fa", "p.npy", "--layer", layer)
            whole = self.embed("a.fa", "w.npy", "--layer", layer, "--window", window, "--overlap", overlap)
            expected, done = b"", 0
            for i, start in enumerate(starts):
                last = i + 1 == len(starts)
                end = length if last else (starts[i + 1] + start + window + 1) // 2
                rows = parts.record(str(start))
                expected += rows[(done - start) * width * 4 : (end - start) * width * 4]
                done = end
            self.assertEqual(whole.bytes, expected)

    def test_other_windows_other_batches(self):
        """Tokens of windows are counted once, whatever the window."""
        write_fasta("a.fa", [("a", dna(5000)), ("b", dna(999)), ("c", dna(1001))])
        for window, overlap in [(1000, 0), (1000, 900), (64, 16), (1, 0)]:
            if window == 1:
                write_fasta("a.fa", [("a", dna(40))])
            options = ["--window", window, "--overlap", overlap]
            tokens = program.read_bed(self.segment("a.fa", *options).decode())
            self.assertEqual(self.embed("a.fa", "o.npy", "--layer", "chunks", *options).rows, len(tokens))

    def test_default_overlap_fits_small_windows(self):
        write_fasta("a.fa", [("a", dna(500))])
        default = self.embed("a.fa", "a.npy", "--window", 100)
        self.assertEqual(default.bytes, self.embed("a.fa", "b.npy", "--window", 100, "--overlap", 25).bytes)
        self.fails(2, "--overlap", "embed", "-m", TINY, "a.fa", "-o", "c.npy", "--window", 100, "--overlap", 100)


class Limits(Case):
    def test_memory_limit_names_a_window_that_fits(self):
        write_fasta("a.fa", [("a", dna(9000))])
        limit = ["embed", "-m", TINY, "a.fa", "-o", "o.npy", "--max-memory", "20M"]
        result = self.fails(1, r"--max-memory: .* --window \d+ would", *limit)
        window = int(result.stderr.split("--window ")[1].split()[0])
        self.assertGreater(window, 100)
        self.ok(*limit, "--window", window)
        self.fails(1, r"--max-memory", *limit, "--window", window + 200)
        self.fails(1, "needs .* MiB", "embed", "-m", TINY, "a.fa", "-o", "p.npy", "--max-memory", "1K")

    def test_disk_full(self):
        write_fasta("a.fa", [("a", dna(9000))])

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))

        self.fails(1, "o.npy", "embed", "-q", "-m", TINY, "a.fa", "-o", "o.npy", preexec_fn=limit)
        self.fails(1, "/dev/full", "embed", "-q", "-m", TINY, "a.fa", "-o", "/dev/full")
        self.fails(1, "none/o.npy", "embed", "-q", "-m", TINY, "a.fa", "-o", "none/o.npy")

    def test_failure_keeps_what_was_there(self):
        Path("o.npy").write_text("precious")
        Path("o.npy.json").write_text("too")
        Path("a.fa").write_text(">a\n" + dna(5000) + "!\n")
        self.fails(1, "a.fa", "embed", "-q", "-m", TINY, "a.fa", "-o", "o.npy")
        self.assertEqual((Path("o.npy").read_text(), Path("o.npy.json").read_text()), ("precious", "too"))


if __name__ == "__main__":
    program.main()
