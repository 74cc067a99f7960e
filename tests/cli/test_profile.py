# SPDX-License-Identifier: Apache-2.0
"""profile: boundary probabilities averaged around sites."""

import gzip
import math
import os
import random
import re
import unittest
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import program
from program import SHARED, TINY, Case, dna, plain_build_only, results_of, write_fasta

NORMAL_95 = 1.959963984540054
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
FILES = ["locus.svg", "locus.tsv", "profile.svg", "profile.tsv", "report.html", "summary.tsv"]


def reverse(sequence):
    return sequence.translate(COMPLEMENT)[::-1]


def table(path):
    """The rows of a table as dictionaries; the first line says what made it."""
    lines = Path(path).read_text().splitlines()
    assert lines[0].startswith("# ldar "), lines[0]
    names = lines[1].split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[2:]]


def mean_and_interval(values):
    n = len(values)
    mean = sum(values) / n
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return mean, mean - NORMAL_95 * error, mean + NORMAL_95 * error


class Page(HTMLParser):
    """Counts elements, and gathers what a browser would load."""

    def __init__(self, text):
        super().__init__()
        self.count, self.loads = {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data", "srcset")]


class Profile(Case):
    def setUp(self):
        super().setUp()
        generator = random.Random(program.SEED)
        self.genome = {"chr1": dna(3000), "chr2": dna(700), "chr3": dna(60)}
        write_fasta("g.fa", self.genome.items(), width=60)
        self.sites = [("chr1", 0, 1, "+"), ("chr1", 5, 9, "-"), ("chr2", 690, 699, "+"), ("chr2", 699, 700, "-")]
        self.sites += [("chr3", 20, 28, "-")]
        for _ in range(20):
            start = generator.randrange(2900)
            self.sites.append(("chr1", start, start + generator.randrange(1, 12), generator.choice("+-")))
        self.write_sites("s.bed", self.sites)

    @staticmethod
    def write_sites(path, sites):
        Path(path).write_text("".join(f"{c}\t{s}\t{e}\tx\t0\t{strand}\n" for c, s, e, strand in sites))

    def profile(self, output, *more, genome="g.fa", sites="s.bed", **options):
        given = ["--sites", sites] if sites else []
        return self.ok("profile", "-q", "-m", TINY, "-f", genome, *given, "-o", output, *more, **options)

    # ---- by hand ----

    def probabilities(self, sequences):
        """Of each sequence, read alone, the probability that a token begins at each base."""
        write_fasta("windows.fa", [(str(i), s) for i, s in enumerate(sequences)])
        found = [[] for _ in sequences]
        for line in results_of(self.segment("windows.fa", "-O", "bedgraph")):
            name, start, end, p = line.decode().split("\t")
            found[int(name)] += [float(p)] * (int(end) - int(start))
        for sequence, values in zip(sequences, found, strict=True):
            self.assertEqual(len(sequence), len(values))
        return found

    def windows(self, window, anchor):
        """Of each site its window as it is read, and where the anchor lies in it."""
        for contig, start, end, strand in self.sites:
            steps = {"centre": (end - start) // 2, "start": 0, "end": end - start - 1}[anchor]
            sequence = self.genome[contig]
            at = start + steps
            if strand == "-":
                sequence, at = reverse(sequence), len(sequence) - end + steps
            begin = max(at - window // 2, 0)
            yield sequence[begin : at - window // 2 + window], at - begin

    def by_hand(self, window, flank, anchor="centre", reading="sense"):
        """Of each offset the values of the sites that count there."""
        windows = list(self.windows(window, anchor))
        sense = self.probabilities([w for w, _ in windows])
        antisense = self.probabilities([reverse(w) for w, _ in windows])
        found = {offset: [] for offset in range(-flank, flank + 1)}
        for (sequence, at), own, other in zip(windows, sense, antisense, strict=True):
            for offset in found:
                i = at + offset
                if 0 < i < len(sequence):
                    pair = {"sense": own[i], "antisense": other[len(sequence) - i]}
                    found[offset].append(pair.get(reading, sum(pair.values()) / 2))
        return found

    def check_by_hand(self, found, rows):
        self.assertEqual([int(r["offset"]) for r in rows], list(found))
        for row in rows:
            values = found[int(row["offset"])]
            self.assertEqual(int(row["n"]), len(values))
            for name, value in zip(("mean", "low", "high"), mean_and_interval(values), strict=True):
                self.assertAlmostEqual(float(row[name]), value, delta=1.1e-6)

    def test_averages_are_those_by_hand(self):
        for anchor in ("centre", "start", "end"):
            self.profile("out", "--flank", 50, "--window", 400, "--background", "none", "--anchor", anchor)
            rows = table("out/profile.tsv")
            found = self.by_hand(400, 50, anchor)
            self.check_by_hand(found, rows)
            for row in rows:
                values = [p > 0.5 for p in found[int(row["offset"])]]
                self.assertAlmostEqual(float(row["opens"]), sum(values) / len(values), delta=1e-6)
                self.assertEqual({row[c] for c in row if c.startswith(("background_m", "diff"))}, {"NA"})
                self.assertEqual(row["background_n"], "0")

    @plain_build_only
    def test_the_other_strand(self):
        for reading in ("antisense", "both"):
            self.profile("out", "--flank", 20, "--window", 300, "--background", "none", "--read", reading)
            self.check_by_hand(self.by_hand(300, 20, reading=reading), table("out/profile.tsv"))

    @plain_build_only
    def test_summary(self):
        self.profile("out", "--flank", 30, "--window", 200, "--background", "none")
        (row,) = table("out/summary.tsv")
        windows = list(self.windows(200, "centre"))
        means, bases, tokens = [], [], []
        for (sequence, at), p in zip(windows, self.probabilities([w for w, _ in windows]), strict=True):
            inside = p[max(at - 30, 1) : at + 31]
            means.append(sum(inside) / len(inside))
            bases.append(len(inside))
            tokens.append(sum(x > 0.5 for x in inside))
        for name, value in zip(("mean", "low", "high"), mean_and_interval(means), strict=True):
            self.assertAlmostEqual(float(row[name]), value, delta=1e-6)
        ratio, n = sum(bases) / sum(tokens), len(bases)
        spread = sum((b - ratio * t) ** 2 for b, t in zip(bases, tokens, strict=True))
        error = NORMAL_95 * math.sqrt(spread * n / (n - 1)) / sum(tokens)
        found = [float(row[c]) for c in ("token_length", "token_length_low", "token_length_high")]
        for value, expected in zip(found, (ratio, ratio - error, ratio + error), strict=True):
            self.assertAlmostEqual(value, expected, delta=1e-5)
        self.assertEqual((row["set"], row["origin"], row["given"], row["sites"]), ("s", "s.bed", "25", "25"))
        self.assertEqual(int(row["partial"]), sum(b < 61 for b in bases))
        self.assertEqual(row["background_mean"], "NA")

    def test_one_site(self):
        self.write_sites("one.bed", [("chr1", 500, 501, "+")])
        self.profile("out", "--flank", 3, sites="one.bed")
        for row in table("out/profile.tsv"):
            self.assertEqual((row["n"], row["low"], row["high"]), ("1", "NA", "NA"))
            self.assertTrue(0 <= float(row["mean"]) <= 1)
        ElementTree.parse("out/profile.svg")

    def test_first_base_of_a_contig(self):
        """Its token begins by rule, so that it counts nowhere; nor is there anything before it."""
        self.write_sites("ends.bed", [("chr3", 0, 1, "+"), ("chr3", 59, 60, "-"), ("chr3", 59, 60, "+")])
        said = self.ok("profile", "-m", TINY, "-f", "g.fa", "--sites", "ends.bed", "--flank", 5, "-o", "out")
        self.assertIn("3 sites lie so near to an end of their contig", said.stderr)
        self.assertEqual([int(r["n"]) for r in table("out/profile.tsv")], [1] * 6 + [2] * 5)

    # ---- background ----

    @plain_build_only
    def test_difference(self):
        self.profile("out", "--flank", 40, "--window", 300, "--draws", 2)
        for row in table("out/profile.tsv"):
            self.assertEqual(row["n"], row["background_n"])
            difference = float(row["mean"]) - float(row["background_mean"])
            self.assertAlmostEqual(float(row["difference"]), difference, delta=2e-6)
            self.assertLessEqual(float(row["difference_low"]), float(row["difference"]))

    def test_what_cannot_be_shuffled(self):
        """Of one letter, or of two in turn, there is one order: the background is the genome."""
        write_fasta("poly.fa", [("a", "A" * 500), ("b", "AC" * 250), ("c", "N" * 300 + "G" * 200)])
        self.write_sites("p.bed", [(c, 250, 251, s) for c in "abc" for s in "+-"])
        self.profile("out", "--flank", 100, "--window", 300, genome="poly.fa", sites="p.bed")
        for row in table("out/profile.tsv"):
            self.assertEqual((row["difference"], row["difference_low"], row["difference_high"]), ("0.000000",) * 3)
            self.assertEqual(row["mean"], row["background_mean"])

    @plain_build_only
    def test_seed(self):
        for background in ("shuffled", "random"):
            tables = []
            for seed in (0, 0, 1):
                self.profile("out", "--flank", 9, "--window", 200, "--background", background, "--seed", seed)
                tables.append(table("out/profile.tsv"))
            self.assertEqual(tables[0], tables[1])
            self.assertNotEqual(tables[0], tables[2])
            for one, other in zip(tables[0], tables[2], strict=True):
                self.assertEqual(one["mean"], other["mean"])

    @plain_build_only
    def test_random_positions_are_of_the_genome(self):
        """Where every place looks the same, random ones look like the sites."""
        write_fasta("poly.fa", [("a", "C" * 4000), ("n", "N" * 4000)])
        self.write_sites("p.bed", [("a", 2000 + i, 2001 + i, "+") for i in range(30)])
        self.profile("out", "--flank", 5, "--window", 64, "--background", "random", genome="poly.fa", sites="p.bed")
        self.profile("reverse", "--flank", 5, "--window", 64, "--background", "none", "--read", "antisense",
                     genome="poly.fa", sites="p.bed")  # fmt: skip
        for row, other in zip(table("out/profile.tsv"), table("reverse/profile.tsv"), strict=True):
            low, high = sorted((float(row["mean"]), float(other["mean"])))
            # On either strand, and at most a few beside an end or in between: all of N would be elsewhere.
            self.assertTrue(low - 0.2 <= float(row["background_mean"]) <= high + 0.2, (row, other))

    # ---- strands, threads ----

    @plain_build_only
    def test_the_genome_reversed(self):
        """The same sites on the other strand of the reverse complement give the same numbers, shuffles and all."""
        write_fasta("r.fa", [(name, reverse(s)) for name, s in self.genome.items()])
        turned = []
        for contig, start, end, strand in self.sites:
            length = len(self.genome[contig])
            turned.append((contig, length - end, length - start, "-" if strand == "+" else "+"))
        self.write_sites("r.bed", turned)
        for more in ([], ["--read", "both", "--draws", 3], ["--anchor", "end"]):
            self.profile("out", "--flank", 30, "--window", 300, *more)
            self.profile("back", "--flank", 30, "--window", 300, "--name", "s", *more, genome="r.fa", sites="r.bed")
            self.assertEqual(table("out/profile.tsv"), table("back/profile.tsv"))

    @plain_build_only
    def test_same_bytes_for_any_threads(self):
        more = ["--flank", 30, "--window", 500, "--draws", 3, "--motif", "TATA", "--locus", "chr1:100-300(-)"]
        self.profile("out", "-@", 1, *more)
        self.assertEqual(sorted(p.name for p in Path("out").iterdir()), FILES)
        for other in (["-@", 2], ["-@", 7], ["-@", 3, "--max-memory", "30M"]):
            self.profile("other", *other, *more)
            for name in FILES:
                self.assertEqual(Path("out", name).read_bytes(), Path("other", name).read_bytes(), name)

    @plain_build_only
    def test_sets_do_not_depend_on_each_other(self):
        self.write_sites("t.bed", self.sites[5:9])
        self.profile("both", "--flank", 9, "--window", 200, "--sites", "t.bed")
        rows = table("both/profile.tsv")
        self.profile("t", "--flank", 9, "--window", 200, sites="t.bed")
        self.profile("s", "--flank", 9, "--window", 200)
        self.assertEqual(rows, table("s/profile.tsv") + table("t/profile.tsv"))

    # ---- sites ----

    def test_counted_notes(self):
        self.write_sites(
            "n.bed",
            [("chr1", 5, 6, "."), ("chr1", 5, 6, "+"), ("chr9", 5, 6, "+"), ("chr2", 600, 701, "-"), ("2", 0, 9, "+"),
             ("chr2", 0, 9, "-")],
        )  # fmt: skip
        said = self.ok("profile", "-m", TINY, "-f", "g.fa", "--sites", "n.bed", "-o", "out", "--flank", 5).stderr
        self.assertIn("n.bed: 1 of 6 sites lie on contigs that the genome lacks", said)
        self.assertIn("n.bed: 1 of 6 sites end beyond their contig", said)
        self.assertIn("n.bed: 1 sites have the place and strand of one before", said)
        self.assertIn("n.bed: 1 sites have no strand; they are taken for +", said)
        self.assertIn('"chr2" is taken for it', said)
        (row,) = table("out/summary.tsv")
        counts = {k: row[k] for k in ("given", "absent", "beyond", "outside", "repeated", "unstranded", "sites")}
        self.assertEqual(list(counts.values()), ["6", "1", "1", "0", "1", "1", "3"])

    def test_hostile_sites(self):
        command = ["profile", "-q", "-m", TINY, "-f", "g.fa", "-o", "out", "--sites", "h.bed"]
        for text, said in [
            ("", "none of its 0 intervals is a site"),
            ("# nothing\n", "none of its 0 intervals"),
            ("chr9\t1\t2\n", "none of its 1 intervals is a site of g.fa: 1 on contigs that it lacks"),
            ("chr1\t2999\t3001\n", "1 beyond their contig"),
            ("chr1\t1\t9223372036854775807\n", "1 beyond their contig"),
            ("chr1\t1\n", "h.bed:1: fewer than the three columns"),
            ("chr1\t5\t5\n", "h.bed:1: start 5 is not before end 5"),
            ("chr1\t-5\t5\n", "h.bed:1: .* is no position"),
            ("chr1\t5\t6\tx\t0\t+\nchr1\t5\t6\tx\t0\tplus\n", 'h.bed:2: "plus" is no strand'),
            ("chr1\t5\t6\0\n", "h.bed:1: holds a NUL"),
        ]:
            Path("h.bed").write_text(text)
            self.ok("segment", "-q", "-m", TINY, "-f", "g.fa", "-r", "chr1:1-9", "-o", "made.bed")  # the index
            self.fails(1, said, *command)
        self.fails(1, "absent.bed", "profile", "-q", "-m", TINY, "-f", "g.fa", "-o", "out", "--sites", "absent.bed")

    def test_hostile_genome(self):
        write_fasta("bad.fa", [("a", "ACGT" * 100 + "!" + "ACGT" * 100)])
        self.write_sites("a.bed", [("a", 400, 401, "-")])
        result = program.run("profile", "-q", "-m", TINY, "-f", "bad.fa", "--sites", "a.bed", "-o", "out")
        self.assertEqual(result.returncode, 1)
        self.assertIn('sequence "a", position 401: \'!\' is no nucleotide', result.stderr)
        self.assertFalse(Path("out").exists())

    @plain_build_only
    def test_regions(self):
        self.profile("out", "--flank", 5, "-r", "chr1:1-1000", "-r", "chr2:695-700", "--background", "none")
        (row,) = table("out/summary.tsv")
        inside = 0
        for contig, start, end, strand in self.sites:
            at = start + (end - start) // 2 if strand == "+" else end - 1 - (end - start) // 2
            inside += (contig == "chr1" and at < 1000) or (contig == "chr2" and at >= 694)
        self.assertEqual((int(row["sites"]), int(row["outside"])), (inside, 25 - inside))

    @plain_build_only
    def test_max_sites(self):
        self.profile("out", "--flank", 5, "--max-sites", 5, "--background", "none")
        self.write_sites("five.bed", self.sites[::5])
        self.profile("five", "--flank", 5, "--name", "s", "--background", "none", sites="five.bed")
        self.assertEqual(table("out/profile.tsv"), table("five/profile.tsv"))

    def test_motif(self):
        """A motif's places are those that a search finds, and give what the same sites as BED do."""
        sites = []
        for name, sequence in self.genome.items():
            for strand, pattern in (("+", "(?=TA[AT][AG])"), ("-", "(?=[CT][AT]TA)")):
                sites += [(name, m.start(), m.start() + 4, strand) for m in re.finditer(pattern, sequence)]
        contigs = list(self.genome)
        sites.sort(key=lambda s: (contigs.index(s[0]), s[1], s[3] == "-"))
        self.write_sites("m.bed", sites)
        common = ["--flank", 12, "--window", 200]
        self.profile("motif", "--motif", "box=TAWR", *common, sites=None)
        self.profile("bed", "--name", "box", *common, sites="m.bed")
        self.assertEqual(table("motif/profile.tsv"), table("bed/profile.tsv"))
        self.profile("motif", "--motif", "box=TAWR", "-r", "chr1:201-1200", *common, sites=None)
        inside = [s for s in sites if s[0] == "chr1" and s[1] >= 200 and s[2] <= 1200]
        self.write_sites("m.bed", inside)
        self.profile("bed", "--name", "box", *common, sites="m.bed")
        self.assertEqual(table("motif/profile.tsv"), table("bed/profile.tsv"))
        fails = ["profile", "-q", "-m", TINY, "-f", "g.fa", "-o", "out", "--motif"]
        self.fails(1, "stands nowhere", *fails, "x=" + "ACGTTGCA" * 8)
        self.fails(2, "--motif", *fails, "x=ACE")
        self.fails(2, "--motif", *fails, "=ACG")
        self.fails(2, "--motif", *fails, "x=")

    # ---- loci ----

    def test_locus(self):
        sequence = self.genome["chr1"]
        self.profile("out", "--flank", 5, "--window", 300, "--locus", "chr1:1,001-1100", "--locus", "chr1:1001-1100(-)")
        rows = table("out/locus.tsv")
        window = sequence[900:1200]
        forth = self.probabilities([window])[0][100:200]
        expected = list(zip(range(1001, 1101), "+" * 100, sequence[1000:1100], forth))
        back = self.probabilities([reverse(window)])[0][100:200]
        expected += zip(range(1100, 1000, -1), "-" * 100, reverse(sequence[1000:1100]), back)
        self.assertEqual(len(rows), 200)
        for i, (row, (position, strand, letter, p)) in enumerate(zip(rows, expected, strict=True)):
            self.assertEqual(row["locus"], str(1 + i // 100))
            self.assertEqual((row["contig"], row["position"], row["strand"]), ("chr1", str(position), strand))
            self.assertEqual(row["letter"], letter)
            self.assertAlmostEqual(float(row["probability"]), p, delta=1e-6)
            self.assertEqual(row["opens"], str(int(p > 0.5)))
        for name, letters in (("locus.svg", sequence[1000:1100]), ("locus-2.svg", reverse(sequence[1000:1100]))):
            texts = [t.text for t in ElementTree.parse(Path("out", name)).iter("{http://www.w3.org/2000/svg}text")]
            self.assertEqual("".join(t for t in texts if t and t in "ACGT"), letters)

    @plain_build_only
    def test_marks_of_a_locus(self):
        """Of the sites that lie in it, whole or in part, each row that holds a part shows it."""
        places = [(1000, 1010, "+"), (1090, 1101, "-"), (500, 1005, "-"), (1048, 1052, "+")]
        sites = [("chr1", *place) for place in places]
        self.write_sites("m.bed", [*sites, ("chr1", 1100, 1109, "+"), ("chr2", 50, 60, "+")])
        # Two rows of 50 letters: the last site of the four is drawn in both.
        for locus in ("chr1:1001-1100", "chr1:1001-1100(-)"):
            self.profile("out", "--flank", 5, "--locus", locus, sites="m.bed")
            marks = [p for p in ElementTree.parse("out/locus.svg").iter("{http://www.w3.org/2000/svg}path")
                     if p.get("class") == "d-0"]  # fmt: skip
            self.assertEqual(len(marks), 5)

    def test_default_locus(self):
        self.profile("out", "--flank", 5)
        rows = table("out/locus.tsv")
        contig, start, end, strand = next(s for s in self.sites if s[0] == "chr1" and 100 < s[1] < 2880)
        self.assertEqual({(r["contig"], r["strand"]) for r in rows}, {(contig, strand)})
        anchor = start + (end - start) // 2 if strand == "+" else end - 1 - (end - start) // 2
        self.assertEqual(sorted(int(r["position"]) - 1 for r in rows), list(range(anchor - 89, anchor + 90)))

    # ---- drawings and page ----

    @plain_build_only
    def test_drawings_are_well_formed(self):
        hostile = os.fsdecode(b'a<b>&"\xff')
        Path(hostile).write_bytes(Path("s.bed").read_bytes())
        self.profile("out", "--flank", 5, sites=hostile)
        for name in ("profile.svg", "locus.svg"):
            text = Path("out", name).read_text()
            root = ElementTree.fromstring(text)
            self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
            self.assertNotIn("<b>", text)
            self.assertNotIn("nan", text.lower().replace("d-", ""))
            self.assertNotRegex(text, r"\binf\b")
        page = Page(Path("out/report.html").read_text())
        self.assertNotIn("b", page.count)

    @plain_build_only
    def test_report_needs_nothing_beside_itself(self):
        self.profile("out", "--flank", 5, "--motif", "TATA=TATAWAWR", "--motif", "TAW")
        text = Path("out/report.html").read_text()
        page = Page(text)
        self.assertEqual(page.count["svg"], 2)
        self.assertEqual(page.loads, [])
        self.assertNotIn("script", page.count)
        self.assertNotIn("link", page.count)
        self.assertNotRegex(text, r"url\(|@import")
        self.assertEqual({u for u in re.findall(r"https?://[^\"' <]+", text)}, {"http://www.w3.org/2000/svg"})
        for part in ("TATAWAWR", "dinucleotides", "s.bed", "tiny.safetensors", "What was asked"):
            self.assertIn(part, text)
        self.assertEqual([r["set"] for r in table("out/summary.tsv")], ["s", "TATA", "TAW"])
        self.assertEqual(ElementTree.parse("out/profile.svg").getroot().get("height"), str(4 * 216))

    # ---- usage ----

    def test_usage(self):
        base = ["profile", "-m", TINY]
        self.fails(2, "name the genome", *base, "--sites", "s.bed", "-o", "out")
        self.fails(2, "name the sites", *base, "-f", "g.fa", "-o", "out")
        self.fails(2, "name the folder", *base, "-f", "g.fa", "--sites", "s.bed")
        base += ["-f", "g.fa", "-o", "out", "--sites", "s.bed"]
        self.fails(2, "--name", *base, "--name", "a", "--name", "b")
        self.fails(2, "exclude each other", *base, "-r", "chr1", "-R", "s.bed")
        self.fails(2, "--window.*at least 402", *base, "--window", 401)
        self.fails(2, "called 's'", *base, "--sites", "./s.bed")
        self.fails(2, "called 's'", *base, "--motif", "s=ACG")
        self.fails(2, "control character", *base, "--name", "a\tb")
        self.fails(2, "--anchor", *base, "--anchor", "middle")
        self.fails(2, "--draws", *base, "--draws", 0)
        self.ok("segment", "-q", "-m", TINY, "-f", "g.fa", "-r", "chr1:1-9")  # makes the index
        self.fails(1, "no such sequence", *base, "--locus", "chr9:1-2")
        self.fails(1, "not NAME:FROM-TO", *base, "--locus", "chr1:10-3001")
        self.fails(1, "no such sequence", *base, "-r", "chr9")
        Path("file").write_text("")
        self.fails(1, "cannot be made", *base, "-o", "file")
        self.fails(1, "cannot be made", *base, "-o", "no/such")

    # ---- a real genome ----

    @plain_build_only
    def test_yeast(self):
        """The shipped model begins tokens in TATA boxes, of which the shuffled sequence knows nothing."""
        genome = SHARED / "data/genomes/S_cerevisiae.R64-1-1.fa.gz"
        sites = SHARED / "data/genomes/annotation/rhee2012-TATAboxes-cleaned.bed.gz"
        if not genome.exists() or not sites.exists():
            raise unittest.SkipTest("no yeast genome beside the source")
        Path("yeast.fa").write_bytes(gzip.decompress(genome.read_bytes()))
        said = self.ok("profile", "-f", "yeast.fa", "--sites", sites, "--anchor", "start", "--flank", 40,
                       "--window", 512, "--max-sites", 150, "-o", "out").stderr  # fmt: skip
        self.assertIn('"I" is taken for it', said)
        rows = {int(r["offset"]): r for r in table("out/profile.tsv")}
        self.assertTrue(all(r["n"] == "150" for r in rows.values()))
        self.assertGreater(max(float(rows[i]["difference_low"]) for i in range(8)), 0.05)


if __name__ == "__main__":
    program.main()
