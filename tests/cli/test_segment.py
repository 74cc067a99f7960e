# SPDX-License-Identifier: Apache-2.0
"""segment: tokens and boundary probabilities."""

import json
import re
import struct
from pathlib import Path

import program
from program import TINY, Case, dna, environment, read_bed, results_of, running_isas, write_fasta

RECORDS = [("a", dna(4000) + "N" * 300 + dna(50)), ("b", "N"), ("c", dna(2000)), ("d", "N" * 700)]


class Segment(Case):
    def check_cover(self, rows, records):
        """Tokens follow one another without gaps from 0 to each record's end, in order."""
        names = [name for name, _ in records if _]
        self.assertEqual(list(dict.fromkeys(r[0] for r in rows)), names)
        for name, sequence in records:
            at = 0
            for _, start, end, score in (r for r in rows if r[0] == name):
                self.assertEqual(start, at)
                self.assertGreater(end, start)
                self.assertTrue(500 <= score <= 1000)
                at = end
            self.assertEqual(at, len(sequence))

    def test_cover(self):
        write_fasta("a.fa", RECORDS)
        rows = read_bed(self.segment("a.fa").decode())
        self.check_cover(rows, RECORDS)
        self.assertGreater(len(rows), 100)
        for name in "abcd":
            self.assertEqual(next(r for r in rows if r[0] == name)[3], 1000)

    def test_cover_across_windows(self):
        write_fasta("a.fa", RECORDS)
        for window, overlap in [(100, 20), (100, 0), (100, 90), (1000, 250), (4350, 100), (4349, 1), (7, 3)]:
            rows = read_bed(self.segment("a.fa", "--window", window, "--overlap", overlap).decode())
            self.check_cover(rows, RECORDS)

    def test_windows_change_little(self):
        """Deep inside a window the tokens are those of the whole record."""
        write_fasta("a.fa", [("a", dna(6000))])
        whole = {r[1] for r in read_bed(self.segment("a.fa").decode())}
        cut = {r[1] for r in read_bed(self.segment("a.fa", "--window", 2000, "--overlap", 500).decode())}
        self.assertGreater(len(whole & cut) / len(whole | cut), 0.97)

    def test_bedgraph_agrees_with_bed(self):
        write_fasta("a.fa", RECORDS)
        tokens = read_bed(self.segment("a.fa").decode())
        lines = self.segment("a.fa", "-O", "bedgraph").decode().splitlines()
        self.assertTrue(lines[0].startswith("#"))
        prob, at = {}, {}
        for line in lines[1:]:
            name, start, end, p = line.split("\t")
            self.assertEqual(int(start), at.get(name, 0))
            at[name] = int(end)
            for i in range(int(start), int(end)):
                prob[name, i] = float(p)
        self.assertEqual(at, {n: len(s) for n, s in RECORDS})
        openings = {(name, start): score for name, start, end, score in tokens}
        for key, p in prob.items():
            self.assertTrue(0 <= p <= 1)
            self.assertEqual(key in openings, p > 0.5)
            if key in openings:
                self.assertLessEqual(abs(openings[key] - 1000 * p), 0.501)

    def test_bigwig(self):
        write_fasta("a.fa", RECORDS)
        self.segment("a.fa", "-O", "bigwig", "-o", "a.bw")
        data = Path("a.bw").read_bytes()
        self.assertEqual(struct.unpack("<I", data[:4])[0], 0x888FFC26)
        self.assertEqual(data[-4:], data[:4])
        provenance = json.loads(Path("a.bw.json").read_text())
        self.assertIn("-O bigwig", provenance["command"])
        self.fails(1, "bigWig|bigwig", "segment", "-q", "-m", TINY, "a.fa", "-O", "bigwig")
        stdin = ["segment", "-q", "-m", TINY, "-", "-O", "bigwig", "-o", "b.bw"]
        self.fails(1, "standard input", *stdin, input=b">a\nACGT\n")

    def test_same_bits(self):
        write_fasta("a.fa", RECORDS)
        write_fasta("back.fa", RECORDS[::-1])
        for isa in running_isas():
            env = environment(LDAR_ISA=isa)
            for options in ([], ["-O", "bedgraph"], ["--window", 500]):
                results = {tuple(results_of(self.segment("a.fa", "-@", n, *options, env=env))) for n in (1, 2, 3, 7)}
                self.assertEqual(len(results), 1)
                back = results_of(self.segment("back.fa", *options, env=env))
                self.assertEqual(sorted(back), sorted(results.pop()))

    @program.plain_build_only
    def test_same_bits_in_other_batches(self):
        """The more threads, the more windows share a batch; less memory makes batches smaller again."""
        write_fasta("a.fa", [("a", dna(3000)), *((f"r{i}", dna(150)) for i in range(300)), ("b", dna(20000))])
        small = ["--window", 1000, "--max-memory", "30M"]
        for options, others in ((["--window", 1000], (["-@", 12], small)), (["-O", "bedgraph"], (["-@", 40],))):
            expected = results_of(self.segment("a.fa", "-@", 1, *options))
            for other in others:
                self.assertEqual(results_of(self.segment("a.fa", *options, *other)), expected)

    def test_verbose_tells_where_the_time_went(self):
        write_fasta("a.fa", RECORDS)
        said = self.ok("segment", "-v", "-m", TINY, "a.fa", "--window", 1000, "--overlap", 100).stderr
        spent = re.search(r"([\d.]+) s: ([\d.]+) s computing, ([\d.]+) s waiting for files; .* took ([\d.]+) s", said)
        total, computing, waiting, _ = map(float, spent.groups())
        self.assertGreater(computing, 0)
        self.assertLessEqual(computing + waiting, total + 0.002)
        # Windows of 1000: five of the first record, one of the second, three and one of the others.
        self.assertIn("8701 nt computed for 7051 read", said)
        parts = re.search(r"GEMM ([\d.]+) s, scan ([\d.]+) s, attention ([\d.]+) s, other ([\d.]+) s", said)
        self.assertGreater(sum(map(float, parts.groups())), 0)
        self.assertNotIn("computing", self.ok("segment", "-m", TINY, "a.fa").stderr)

    def test_provenance(self):
        write_fasta("a.fa", RECORDS)
        line = self.segment("a.fa").decode().splitlines()[0]
        self.assertIn(" segment -m ", line)
        self.assertIn(str(TINY), line)

    def test_output_is_the_same_in_a_file(self):
        write_fasta("a.fa", RECORDS)
        self.segment("a.fa", "-o", "a.bed")
        self.assertEqual(results_of(Path("a.bed").read_bytes()), results_of(self.segment("a.fa")))

    def test_empty_record(self):
        Path("a.fa").write_text(">a\n>b\nACGT\n")
        self.check_cover(read_bed(self.segment("a.fa").decode()), [("b", "ACGT")])


class Regions(Case):
    def setUp(self):
        super().setUp()
        self.chromosomes = [("chr1", dna(3000)), ("chr2", dna(800, "ACGTN"))]
        write_fasta("g.fa", self.chromosomes, width=60)

    def regions(self, *options):
        return read_bed(self.ok("segment", "-q", "-m", TINY, "-f", "g.fa", *options).stdout.decode())

    def test_coordinates(self):
        """A region's tokens are those of its letters, moved."""
        name, sequence = self.chromosomes[0]
        write_fasta("part.fa", [("chr1", sequence[499:1000])])
        part = read_bed(self.segment("part.fa").decode())
        expected = [(n, s + 499, e + 499, p) for n, s, e, p in part]
        self.assertEqual(self.regions("-r", "chr1:500-1000"), expected)
        self.assertEqual(self.regions("-r", "chr1:500-1,000"), expected)
        Path("r.bed").write_text("chr1\t499\t1000\tname\n")
        self.assertEqual(self.regions("-R", "r.bed"), expected)

    def test_order_and_whole(self):
        both = self.regions("-r", "chr2", "-r", "chr1:1-100")
        self.assertEqual([n for n in dict.fromkeys(r[0] for r in both)], ["chr2", "chr1"])
        self.assertEqual(self.regions(), read_bed(self.segment("g.fa").decode()))
        self.assertTrue(Path("g.fa.fai").exists())

    def test_chr_is_matched_with_a_warning(self):
        result = self.ok("segment", "-m", TINY, "-f", "g.fa", "-r", "1:500-1000")
        self.assertRegex(result.stderr, "warning: .*chr1")
        self.assertEqual(read_bed(result.stdout.decode()), self.regions("-r", "chr1:500-1000"))
        write_fasta("n.fa", [("1", self.chromosomes[0][1])])
        result = self.ok("segment", "-m", TINY, "-f", "n.fa", "-r", "chr1:500-1000")
        self.assertRegex(result.stderr, "warning: ")
        bare = [("chr1", *r[1:]) for r in read_bed(result.stdout.decode())]
        self.assertEqual(bare, self.regions("-r", "chr1:500-1000"))

    def test_compressed_genome(self):
        Path("g.bgz").write_bytes(program.bgzf(Path("g.fa").read_bytes(), 700))
        result = self.ok("segment", "-q", "-m", TINY, "-f", "g.bgz", "-r", "chr2:100-700")
        self.assertEqual(read_bed(result.stdout.decode()), self.regions("-r", "chr2:100-700"))

    def test_bigwig_of_regions(self):
        genome = ["segment", "-q", "-m", TINY, "-f", "g.fa", "-O", "bigwig"]
        self.ok(*genome, "-r", "chr1:11-20", "-r", "chr2:1-10", "-o", "o.bw")
        self.ok(*genome, "-o", "all.bw")

    def test_errors(self):
        self.regions()
        genome = ["segment", "-q", "-m", TINY, "-f", "g.fa", "-o", "o"]
        for region in ["chr3", "chr1:0-10", "chr1:10-5", "chr1:2990-3001", "chr1:x-y", "chr1:-", ""]:
            self.fails(2 if region == "" else 1, "region", *genome, "-r", region)
        for bed in ["chr1\t5\n", "chr1\t5\t5\n", "chr1\t-1\t5\n", "chr1\ta\tb\n", "chr1\t0\t3001\n", "chr9\t0\t1\n"]:
            Path("bad.bed").write_text("#comment\n" + bed)
            self.fails(1, "bad.bed.*2", *genome, "-R", "bad.bed")
        self.fails(1, "none.fa", "segment", "-q", "-m", TINY, "-f", "none.fa", "-o", "o")
        self.fails(2, "-f REF.fa", "segment", "-m", TINY, "g.fa", "-r", "chr1")
        self.fails(2, "exclude", "segment", "-m", TINY, "-f", "g.fa", "-r", "chr1", "-R", "r.bed")
        self.fails(2, "unexpected argument 'g.fa'", "segment", "-m", TINY, "-f", "g.fa", "g.fa")

    def test_input_is_not_replaced(self):
        write_fasta("a.fa", RECORDS)
        before = Path("a.fa").read_bytes()
        Path("link.fa").symlink_to("a.fa")
        for output in ["a.fa", "./a.fa", "link.fa"]:
            self.fails(2, "would be replaced", "segment", "-m", TINY, "a.fa", "-o", output)
            self.fails(2, "would be replaced", "embed", "-m", TINY, "a.fa", "-o", output)
        self.fails(2, "would be replaced", "logits", "-m", TINY, "-f", "a.fa", "-o", "a.fa")
        self.assertEqual(Path("a.fa").read_bytes(), before)


if __name__ == "__main__":
    program.main()
