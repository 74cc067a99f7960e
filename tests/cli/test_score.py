# SPDX-License-Identifier: Apache-2.0
"""score: the three numbers by hand, what has none, files in and out, haplotypes."""

import gzip
import math
import os
import shutil
import subprocess
from pathlib import Path

import program
from test_shards import read_part
from program import (
    SHARED,
    TINY,
    TINY_WIDTH,
    Case,
    Matrix,
    bgzf,
    dna,
    environment,
    plain_build_only,
    run,
    running_isas,
    write_fasta,
)

LETTERS = "ACGT"
MASKED = program.PROGRAM[:-1] + [
    str(Path(os.environ.get("LDAR_BUILD_DIR", program.SOURCE / "build")) / "tests" / "cli" / "masked_logits")
]
WINDOW, OVERLAP, FLANK, GRID, NEAR, BOUNDARIES = 1024, 64, 256, 128, 64, 128
COMPLEMENT = str.maketrans("ACGT", "TGCA")
UNMASKED = ["--mode", "wt"]  # a single pass, where the numbers do not matter


def reverse_complement(sequence):
    return sequence[::-1].translate(COMPLEMENT)


# ---- by hand ----


def tile(length, position):
    """The window in which a base lies deepest, where windows overlap; the contig's ends do not count."""
    if length <= WINDOW:
        return 0, length
    starts = list(range(0, length - WINDOW, WINDOW - OVERLAP)) + [length - WINDOW]

    def depth(start):
        left = position - start if start > 0 else length
        right = start + WINDOW - 1 - position if start + WINDOW < length else length
        return min(left, right)

    start = max((s for s in starts if s <= position < s + WINDOW), key=depth)
    return start, start + WINDOW


def centred(length, position, removed):
    start = max(0, position + removed // 2 - WINDOW // 2)
    start = min(start, max(0, length - WINDOW))
    return start, min(length, start + WINDOW)


def on_grid(length, position, removed):
    start = max(0, position - FLANK) // GRID * GRID
    end = -(-(position + removed + FLANK) // GRID) * GRID
    return start, min(length, end)


def trimmed(position, ref, alt):
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        position, ref, alt = position + 1, ref[1:], alt[1:]
    return position, ref, alt


def masked_log_p(lines):
    """For each line the log-probabilities of its bases '_'."""
    result = subprocess.run(MASKED + [str(TINY)], input="\n".join(lines) + "\n", capture_output=True, text=True,
                            env=environment(), check=True)
    rows = [[float(x) for x in row.split()] for row in result.stdout.splitlines()]
    out = []
    for line in lines:
        count = line.count("_")
        out.append(rows[:count])
        rows = rows[count:]
    return out


def llr_by_hand(windows):
    """log p(ALT) - log p(REF), strands averaged, of (window with '_', index among its '_', REF, ALT)."""
    lines = []
    for window, _, _, _ in windows:
        lines += [window, window[::-1].translate(str.maketrans("ACGT_", "TGCA_"))]
    rows = masked_log_p(lines)
    values = []
    for i, (window, index, ref, alt) in enumerate(windows):
        forward, backward = rows[2 * i][index], rows[2 * i + 1][window.count("_") - 1 - index]
        mean = [(forward[a] + backward[3 - a]) / 2 for a in range(4)]
        values.append(mean[LETTERS.index(alt)] - mean[LETTERS.index(ref)])
    return values


def hidden_and_prob(case, sequences):
    write_fasta("hand.fa", [(str(i), s) for i, s in enumerate(sequences)])
    matrix = case.embed("hand.fa", "hand.npy")
    values = matrix.values()
    probs = [[0.0] * len(s) for s in sequences]
    for line in case.segment("hand.fa", "-O", "bedgraph").decode().splitlines():
        if not line.startswith(("#", "track")):
            name, start, end, value = line.split("\t")
            probs[int(name)][int(start) : int(end)] = [float(value)] * (int(end) - int(start))
    rows, at = [], 0
    for sequence in sequences:
        rows.append([values[(at + i) * TINY_WIDTH : (at + i + 1) * TINY_WIDTH] for i in range(len(sequence))])
        at += len(sequence)
    return list(zip(rows, probs, strict=True))


def mean_row(rows):
    return [sum(row[d] for row in rows) / len(rows) for d in range(TINY_WIDTH)]


def distances_by_hand(case, pairs):
    """LDAR_DIST and LDAR_DTOK of (window with REF, window with ALT, position in both, letters of REF, of ALT)."""
    results = hidden_and_prob(case, [s for pair in pairs for s in pair[:2]])
    values = []
    for i, (_, _, at, removed, added) in enumerate(pairs):
        (ref, ref_prob), (alt, alt_prob) = results[2 * i : 2 * i + 2]
        a = mean_row(ref[max(0, at - NEAR) : at + removed + NEAR])
        b = mean_row(alt[max(0, at - NEAR) : at + added + NEAR])
        before = max(0, at - BOUNDARIES)
        changes = [abs(x - y) for x, y in zip(ref_prob[before:at], alt_prob[before:at], strict=True)]
        behind = ref_prob[at + removed :][:BOUNDARIES], alt_prob[at + added :][:BOUNDARIES]
        changes += [abs(x - y) for x, y in zip(*behind, strict=True)]
        if removed == added:
            changes += [abs(x - y) for x, y in zip(ref_prob[at : at + removed], alt_prob[at : at + added], strict=True)]
        values.append((math.dist(a, b), max(changes)))
    return values


# ---- files ----

HEADER = "##fileformat=VCFv4.2\n{}" + '##INFO=<ID=DP,Number=1,Type=Integer,Description="depth">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
FORMATS = (
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">\n'
    '##FORMAT=<ID=PS,Number=1,Type=Integer,Description="phase set">\n'
)


def vcf(path, rows, contigs=(), samples=(), last_newline=True):
    """Rows are (contig, position, REF, ALT), or these and more columns from INFO on."""
    head = HEADER.format("".join(f"##contig=<ID={name},length={length}>\n" for name, length in contigs))
    head += FORMATS if samples else ""
    head += "\t".join([COLUMNS] + (["FORMAT", *samples] if samples else [])) + "\n"
    lines = []
    for contig, position, ref, alt, *more in rows:
        lines.append("\t".join([contig, str(position), ".", ref, alt, "30.50", "PASS", *(more or ["DP=7"])]))
    Path(path).write_text(head + "\n".join(lines) + ("\n" if last_newline and lines else ""))
    return Path(path)


def info_of(column):
    return dict(field.partition("=")[::2] for field in column.split(";"))


def records(text):
    """(columns, INFO) of each record."""
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return [(row, info_of(row[7])) for row in rows]


def numbers(info, key):
    return [None if x == "." else float(x) for x in info[key].split(",")]


def other_letter(letter, step=1):
    return LETTERS[(LETTERS.index(letter) + step) % 4]


class Score(Case):
    def setUp(self):
        super().setUp()
        self.genome = {"a": dna(2300), "b": dna(700)}
        self.contigs = [(name, len(letters)) for name, letters in self.genome.items()]
        self.write_genome(self.genome.items())

    def write_genome(self, records):
        """With its index, so that a run that fails leaves no file at all."""
        write_fasta("g.fa", records)
        offset, lines = 0, []
        for name, letters in records:
            offset += len(name) + 2
            lines.append(f"{name}\t{len(letters)}\t{offset}\t61\t62\n")
            offset += len(letters) + -(-len(letters) // 61)
        Path("g.fa.fai").write_text("".join(lines))

    def score(self, source, *more, **options):
        return self.ok("score", "-m", TINY, "-f", "g.fa", "--window", WINDOW, source, *more, **options)

    def scored(self, source, *more, **options):
        return records(self.score(source, "-q", *more, **options).stdout.decode())

    def snvs(self, places):
        """A single-letter variant at each of the 0-based places."""
        return [
            (contig, at + 1, self.genome[contig][at], other_letter(self.genome[contig][at], 1 + at % 3))
            for contig, at in places
        ]

    def notes(self, source, *more):
        return [info.get("LDAR_NOTE") for _, info in self.scored(source, *more)]


class Numbers(Score):
    PLACES = [("a", at) for at in [0, 1, 130, 500, 959, 960, 1000, 1023, 1024, 1300, 1600, 1601, 1790, 2170, 2299]]
    PLACES += [("b", at) for at in [0, 63, 350, 698, 699]]

    def expect_llr(self, rows, window_of, hidden):
        windows = []
        for contig, position, ref, alt in rows:
            letters, at = self.genome[contig], position - 1
            start, end = window_of(contig, at)
            seen = list(letters[start:end])
            for i in hidden(start, end, at):
                seen[i - start] = "_"
            windows.append(("".join(seen), sum(c == "_" for c in seen[: at - start]), ref, alt))
        return llr_by_hand(windows)

    def compare(self, rows, expected, *options):
        vcf("v.vcf", rows, self.contigs)
        found = [numbers(info, "LDAR_LLR")[0] for _, info in self.scored("v.vcf", *options)]
        self.assertEqual(len(found), len(expected))
        for row, value, truth in zip(rows, found, expected):
            self.assertAlmostEqual(value, truth, delta=2e-5 + 2e-5 * abs(truth), msg=f"{row} {options}")

    def test_llr_interleaved(self):
        rows = self.snvs(self.PLACES)
        expected = self.expect_llr(rows, lambda contig, at: tile(len(self.genome[contig]), at),
                                   lambda start, end, at: [i for i in range(start, end) if i % 8 == at % 8])
        self.compare(rows, expected)

    @plain_build_only
    def test_llr_exact(self):
        rows = self.snvs(self.PLACES)
        expected = self.expect_llr(rows, lambda contig, at: centred(len(self.genome[contig]), at, 1),
                                   lambda start, end, at: [at])
        self.compare(rows, expected, "--mode", "exact")

    @plain_build_only
    def test_llr_wt(self):
        """From `ldar logits` alone."""
        rows = self.snvs(self.PLACES)
        windows = [tile(len(self.genome[contig]), position - 1) for contig, position, _, _ in rows]
        write_fasta("w.fa", [(str(i), self.genome[row[0]][s:e]) for i, (row, (s, e)) in enumerate(zip(rows, windows))])
        self.ok("logits", "-q", "-m", TINY, "w.fa", "-o", "w.npy")
        values, expected, at = Matrix("w.npy").values(), [], 0
        for (_, position, ref, alt), (start, end) in zip(rows, windows):
            row = (at + position - 1 - start) * 7
            expected.append(values[row + LETTERS.index(alt)] - values[row + LETTERS.index(ref)])
            at += end - start
        self.compare(rows, expected, "--mode", "wt")

    def indels(self):
        a, b = self.genome["a"], self.genome["b"]
        rows = [("a", at + 1, a[at], a[at] + "ACGTTGCA"[: 1 + at % 8]) for at in [0, 64, 999, 2290]]
        rows += [("a", at + 1, a[at : at + 1 + n], a[at]) for at, n in [(70, 1), (800, 7), (1010, 200), (2279, 19)]]
        rows += [("b", 100, b[99:103], "".join(other_letter(c) for c in b[99:103]))]
        rows += [("b", 300, b[299:303], "TTTTTTTT"), ("b", 1, b[0:2], b[1])]
        return rows

    @plain_build_only
    def test_dist_and_dtok(self):
        rows = self.snvs(self.PLACES[::2]) + self.indels()
        vcf("v.vcf", rows, self.contigs)
        for mode in ["interleaved", "exact"]:
            pairs = []
            for contig, position, ref, alt in rows:
                letters = self.genome[contig]
                at, removed, added = trimmed(position - 1, ref, alt)
                place = on_grid if mode == "interleaved" else centred
                start, end = place(len(letters), at, len(removed))
                changed = letters[start:at] + added + letters[at + len(removed) : end]
                pairs.append((letters[start:end], changed, at - start, len(removed), len(added)))
            expected = distances_by_hand(self, pairs)
            for row, (_, info), (dist, dtok) in zip(rows, self.scored("v.vcf", "--mode", mode), expected, strict=True):
                self.assertAlmostEqual(numbers(info, "LDAR_DIST")[0], dist, delta=1e-5 + 1e-4 * dist, msg=str(row))
                self.assertAlmostEqual(numbers(info, "LDAR_DTOK")[0], dtok, delta=2e-6, msg=str(row))
                self.assertEqual(info["LDAR_LLR"] == ".", len(row[2]) > 1 or len(row[3]) > 1)

    @plain_build_only
    def test_company_changes_nothing(self):
        """A variant's numbers are its own, whatever else the file holds."""
        rows = self.snvs(self.PLACES)
        vcf("all.vcf", rows, self.contigs)
        vcf("some.vcf", rows[::3], self.contigs)
        for mode in ["interleaved", "wt"]:
            every = self.scored("all.vcf", "--mode", mode)
            self.assertEqual(every[::3], self.scored("some.vcf", "--mode", mode))

    @plain_build_only
    def test_same_bits(self):
        rows = self.snvs([("b", 12), ("b", 340), ("b", 345), ("b", 690)])
        vcf("v.vcf", rows, self.contigs)
        for isa in running_isas():
            results = {
                self.score("v.vcf", "-q", "-@", threads, *more, env=environment(LDAR_ISA=isa)).stdout
                for threads in [1, 2, 3, 7]
                for more in [(), ("--max-memory", "200M")][: 1 + (threads == 2)]
            }
            self.assertEqual(len(results), 1, isa)

    @plain_build_only
    def test_memory(self):
        vcf("v.vcf", self.snvs([("a", 5)]), self.contigs)
        self.fails(1, "--max-memory: .* MiB", "score", "-m", TINY, "-f", "g.fa", "v.vcf", "-o", "o.vcf", "--max-memory",
                   "8M")


class Notes(Score):
    def rows(self):
        a = self.genome["a"]
        wrong = other_letter(a[10])
        return [
            ("a", 11, wrong, a[10], "DP=1"),  # REF and ALT exchanged
            ("a", 21, a[20].lower(), other_letter(a[20]).lower(), "."),
            ("a", 31, "N", "A"),
            ("a", 41, a[40], "<DEL>", "END=90"),
            ("a", 51, a[50], f"*,{other_letter(a[50])}"),
            ("a", 61, a[60], "."),
            ("a", 71, a[70], f"{a[70]}[b:5["),
            ("a", 81, a[80], f".{a[80]}"),
            ("a", 91, a[90], "R"),
            ("a", 101, a[100:103], a[100:103]),
            ("a", 2300, a[2299] + "A", "C"),
            ("a", 2301, "A", "C"),
            ("a", 0, "N", "C"),
            ("c", 5, "A", "C"),
            ("a", 1001, a[1000:1258], a[1000]),
            ("a", 121, a[120], a[120] + "A" * 257),
            ("a", 131, a[130], f"{other_letter(a[130])},{a[130]}T,<INS>,{other_letter(a[130], 2)}"),
        ]

    EXPECTED = ["REF_MISMATCH", None, "REF_N", "SYMBOLIC", "STAR,.", "NO_ALT", "BREAKEND", "BREAKEND", "ALT_N"]
    EXPECTED += ["ALT_IS_REF", "OUTSIDE", "OUTSIDE", "OUTSIDE", "NO_CONTIG", "TOO_LONG", "TOO_LONG", ".,.,SYMBOLIC,."]

    @plain_build_only
    def test_notes(self):
        vcf("v.vcf", self.rows(), self.contigs)
        for mode in ["interleaved", "exact", "wt"]:
            result = self.score("v.vcf", "-o", "o.vcf", "--mode", mode)
            found = records(Path("o.vcf").read_text())
            self.assertEqual([info.get("LDAR_NOTE") for _, info in found], self.EXPECTED)
            for (row, info), note in zip(found, self.EXPECTED):
                shown = [n == "." for n in note.split(",")] if note else [True]
                if row[4] == ".":
                    self.assertNotIn("LDAR_DIST", info)
                else:
                    self.assertEqual([v is not None for v in numbers(info, "LDAR_DIST")], shown)
                    self.assertEqual([v is not None for v in numbers(info, "LDAR_DTOK")], shown)
            self.assertEqual([v is not None for v in numbers(found[-1][1], "LDAR_LLR")], [True, False, False, True])
            self.assertRegex(result.stderr, "17 records; 5 ALTs have numbers, 16 have none: .*1 NO_CONTIG, 3 OUTSIDE, "
                                            "1 REF_MISMATCH")

    def test_strict(self):
        rows = self.rows()
        for row, note in zip(rows, self.EXPECTED):
            vcf("v.vcf", [row], self.contigs)
            if note is None:
                self.score("v.vcf", "-q", "--strict")
            else:
                score = ["score", "-m", TINY, "-f", "g.fa", "--window", WINDOW, "--strict"]
                self.fails(1, r"v\.vcf: record 1, ", *score, "v.vcf", "-o", "o.vcf")

    @plain_build_only
    def test_genome_with_n(self):
        letters = self.genome["a"]
        letters = letters[:500] + "N" * 50 + letters[550:600] + letters[600:].lower()
        self.write_genome([("a", letters), ("b", self.genome["b"])])
        rows = [("a", 501, "A", "C"), ("a", 500, letters[499], other_letter(letters[499]))]
        rows += [("a", 701, letters[700].upper(), other_letter(letters[700].upper()))]
        vcf("v.vcf", rows, self.contigs)
        self.assertEqual(self.notes("v.vcf"), ["REF_N", None, None])

    @plain_build_only
    def test_names_of_the_other_convention(self):
        self.write_genome([("chr1", self.genome["a"])])
        a = self.genome["a"]
        vcf("v.vcf", [("1", 11, a[10], other_letter(a[10]))], [("1", 2300)])
        result = self.score("v.vcf", "-o", "o.vcf")
        self.assertIn('has no sequence "1"; "chr1" is taken for it', result.stderr)
        self.assertIsNotNone(numbers(records(Path("o.vcf").read_text())[0][1], "LDAR_LLR")[0])

    @plain_build_only
    def test_equivalent_records(self):
        """Letters that REF and ALT share are no part of the variant."""
        a = self.genome["a"]
        new = other_letter(a[1000])
        rows = [("a", 1001, a[1000], new), ("a", 999, a[998:1003], a[998:1000] + new + a[1001:1003])]
        vcf("v.vcf", rows, self.contigs)
        one, two = (info for _, info in self.scored("v.vcf"))
        self.assertEqual(one, two)
        self.assertIsNotNone(numbers(one, "LDAR_LLR")[0])


class Files(Score):
    def test_everything_else_is_kept(self):
        a = self.genome["a"]
        rows = [
            ("a", 11, a[10], other_letter(a[10]), "DP=007;ODD;X=1.50,2e-3", "GT:ZZ", "0/1:a b", "./.:."),
            ("a", 5, a[4], other_letter(a[4]), "LDAR_LLR=9;DP=3;LDAR_NOTE=OLD;LDAR_DISTANCE=4", "GT", "1|1", "0"),
            ("b", 7, "N", ".", ".", "GT", "0", "1"),
        ]
        vcf("v.vcf", rows, self.contigs, samples=["s", "t"], last_newline=False)
        self.score("v.vcf", "-q", "-o", "o.vcf")
        before = [line.split("\t") for line in Path("v.vcf").read_text().splitlines() if line[0] != "#"]
        after = [line.split("\t") for line in Path("o.vcf").read_text().splitlines() if line[0] != "#"]
        for old, new in zip(before, after, strict=True):
            self.assertEqual(old[:7] + old[8:], new[:7] + new[8:])
        self.assertRegex(after[0][7], r"^DP=007;ODD;X=1.50,2e-3;LDAR_LLR=[-.\d]+;LDAR_DIST=[.\d]+;LDAR_DTOK=[-.e\d]+$")
        self.assertRegex(after[1][7], r"^DP=3;LDAR_DISTANCE=4;LDAR_LLR=[-.\d]+;LDAR_DIST=[.\d]+;LDAR_DTOK=[-.e\d]+$")
        self.assertEqual(after[2][7], "LDAR_NOTE=REF_N")

    @plain_build_only
    def test_header(self):
        vcf("v.vcf", self.snvs([("a", 10)]), self.contigs)
        self.score("v.vcf", "-q", "-o", "o.vcf")
        self.score("o.vcf", "-q", "-o", "again.vcf")
        text = Path("again.vcf").read_text()
        for key in ["LDAR_LLR", "LDAR_DIST", "LDAR_DTOK", "LDAR_NOTE"]:
            self.assertEqual(text.count(f"##INFO=<ID={key},"), 1)
        made = [line for line in text.splitlines() if line.startswith("##ldar=ldar ")]
        self.assertEqual(len(made), 2)
        self.assertRegex(made[0], r"score .*-f g\.fa.* v\.vcf; model .* sha256 [0-9a-f]{64}$")
        self.assertEqual(records(text)[0][1], records(Path("o.vcf").read_text())[0][1])

    @plain_build_only
    def test_no_contig_lines(self):
        vcf("v.vcf", self.snvs([("a", 10), ("b", 10)]))
        result = self.score("v.vcf", "-o", "o.vcf.gz")
        self.assertIn("v.vcf: its header lacks 2 of the 2 contigs of the genome, which are added", result.stderr)
        text = gzip.decompress(Path("o.vcf.gz").read_bytes()).decode()
        self.assertIn("##contig=<ID=a,length=2300>\n##contig=<ID=b,length=700>\n", text)

    def test_forms(self):
        rows = self.snvs([("a", 10), ("a", 1500), ("b", 10)])
        plain = vcf("v.vcf", rows, self.contigs).read_bytes()
        Path("z.vcf").write_bytes(bgzf(plain, 100))
        Path("gz").write_bytes(gzip.compress(plain))
        expected = self.scored("v.vcf", *UNMASKED)
        self.assertEqual(self.scored("z.vcf", *UNMASKED), expected)
        self.assertEqual(self.scored("gz", *UNMASKED), expected)
        self.assertEqual(self.scored("-", *UNMASKED, input=plain), expected)
        self.assertEqual(self.scored("-", *UNMASKED, input=bgzf(plain)), expected)
        self.score("v.vcf", "-q", *UNMASKED, "-o", "o.bcf")
        self.score("o.bcf", "-q", *UNMASKED, "-o", "o.vcf.gz")
        files = sorted(path.name for path in self.folder.glob("o.*"))
        self.assertEqual(files, ["o.bcf", "o.bcf.csi", "o.vcf.gz", "o.vcf.gz.csi"])
        back = records(gzip.decompress(Path("o.vcf.gz").read_bytes()).decode())
        self.assertEqual([info for _, info in back], [info for _, info in expected])
        self.assertEqual([row[:2] for row, _ in back], [row[:2] for row, _ in expected])

    @plain_build_only
    def test_regions(self):
        vcf("v.vcf", self.snvs([("a", 9), ("a", 10), ("a", 300), ("b", 10)]), self.contigs)
        places = lambda *more: [(row[0], int(row[1])) for row, _ in self.scored("v.vcf", *more)]
        self.assertEqual(places("-r", "a:11-301"), [("a", 11), ("a", 301)])
        self.assertEqual(places("-r", "b", "-r", "a:10"), [("a", 10), ("a", 11), ("a", 301), ("b", 11)])
        Path("r.bed").write_text("b\t0\t11\na\t9\t10\n")
        self.assertEqual(places("-R", "r.bed"), [("a", 10), ("b", 11)])
        self.assertEqual(places("-r", "b:100-200"), [])
        self.fails(1, "region", "score", "-m", TINY, "-f", "g.fa", "-r", "z:1-5", "v.vcf", "-o", "o.vcf")
        self.fails(2, "exclude", "score", "-m", TINY, "-f", "g.fa", "-r", "a", "-R", "r.bed", "v.vcf")

    @plain_build_only
    def test_order(self):
        vcf("v.vcf", self.snvs([("b", 10), ("a", 300), ("a", 10)]), self.contigs)
        self.assertEqual([int(row[1]) for row, _ in self.scored("v.vcf")], [11, 301, 11])
        self.fails(1, "record 3, a:11: stands behind one of position 301; an index needs sorted records",
                   "score", "-m", TINY, "-f", "g.fa", "v.vcf", "-o", "o.vcf.gz")
        vcf("w.vcf", self.snvs([("a", 300), ("b", 10), ("a", 310)]), self.contigs)
        self.fails(1, "not sorted by contig", "score", "-q", "-m", TINY, "-f", "g.fa", "w.vcf", "-o", "o.bcf")

    @plain_build_only
    def test_no_records(self):
        vcf("v.vcf", [], self.contigs)
        for output in ["o.vcf", "o.vcf.gz", "o.bcf"]:
            self.score("v.vcf", "-q", "-o", output)
        self.assertIn("LDAR_LLR", Path("o.vcf").read_text())

    def test_damaged(self):
        a = self.genome["a"]  # most of its variants cost nothing: the letters of a symbolic allele are not known
        rows = self.snvs([("a", 10), ("a", 1500)]) + [("a", at, a[at - 1], "<DEL>") for at in range(20, 2300, 4)]
        rows.sort(key=lambda row: row[1])
        plain = vcf("v.vcf", rows, self.contigs).read_bytes()
        whole = bgzf(plain, 1000)
        middle = len(whole) // 2
        score = ["score", "-q", "-m", TINY, "-f", "g.fa", *UNMASKED]
        for cut in [whole[:-28], whole[:-40], whole[:middle]]:
            Path("cut.vcf.gz").write_bytes(cut)
            for output in ["o.vcf", "o.vcf.gz"]:
                self.fails(1, "cut off or damaged", *score, "cut.vcf.gz", "-o", output)
            self.fails(1, "standard input: .*cut off or damaged", *score, "-", "-o", "o.vcf", input=cut)
        Path("bad.vcf.gz").write_bytes(whole[:middle] + b"\xff" * 20 + whole[middle + 20 :])
        self.fails(1, "cut off or damaged", *score, "bad.vcf.gz", "-o", "o.vcf")
        self.score("v.vcf", "-q", *UNMASKED, "-o", "whole.bcf")
        data = Path("whole.bcf").read_bytes()
        for cut in [data[:-28], data[:-60]]:
            Path("cut.bcf").write_bytes(cut)
            self.fails(1, "cut off", *score, "cut.bcf", "-o", "o.vcf")

    def test_malformed(self):
        good = vcf("v.vcf", self.snvs([("a", 10)]), self.contigs).read_text()
        head, line = good.rsplit("\n", 2)[0] + "\n", good.rsplit("\n", 2)[1] + "\n"
        score = ["score", "-q", "-m", TINY, "-f", "g.fa", "x.vcf", "-o", "o.vcf"]
        for text, pattern in [
            ("", "neither VCF nor BCF"),
            (">a\nACGT\n", "neither VCF nor BCF"),
            ("##fileformat=VCFv4.2\n", "header is damaged or cut off"),
            (head + "a\t12\n", "record 1: not what the format demands"),
            (head + line + "a\tx\t.\tA\tC\t.\t.\t.\n", "record 2: not what the format demands"),
            (head + line.replace("\t", " "), "record 1: not what the format demands"),
            (head + line[:-1] + "\0\n", "record 1: .*a byte of it is 0"),
            (head + line + "\n" + line, "record 2: not what the format demands"),
        ]:
            Path("x.vcf").write_text(text)
            self.fails(1, pattern, *score)
        self.fails(1, "nothing.vcf: No such file", "score", "-m", TINY, "-f", "g.fa", "nothing.vcf", "-o", "o.vcf")
        self.fails(1, "nothing.fa", "score", "-m", TINY, "-f", "nothing.fa", "v.vcf", "-o", "o.vcf")
        self.fails(2, "-f is missing", "score", "-m", TINY, "v.vcf")
        self.fails(2, "would be replaced", "score", "-m", TINY, "-f", "g.fa", "v.vcf", "-o", "v.vcf")
        self.fails(1, "cannot create|cannot open", *score[:6], "v.vcf", "-o", "no/where.bcf")

    def test_undefined_tag(self):
        a = self.genome["a"]
        vcf("v.vcf", [("a", 11, a[10], other_letter(a[10]), "NEW=3")], self.contigs)
        self.assertEqual(self.scored("v.vcf")[0][1]["NEW"], "3")
        score = ["score", "-q", "-m", TINY, "-f", "g.fa"]
        self.fails(1, "lacks a line for the contig or a tag", *score, "v.vcf", "-o", "o.bcf")

    @plain_build_only
    def test_crlf(self):
        rows = self.snvs([("a", 10), ("a", 20)])
        text = vcf("v.vcf", rows, self.contigs).read_text()
        Path("w.vcf").write_bytes(text.replace("\n", "\r\n").encode())
        self.assertEqual(self.scored("w.vcf"), self.scored("v.vcf"))


class Phased(Score):
    def rows(self):
        """A haplotype of four variants, one of them a deletion; one on the other haplotype; two that are not phased."""
        a = self.genome["a"]
        snv = lambda at: ("a", at + 1, a[at], other_letter(a[at]), ".", "GT:PS")
        return [
            snv(1000) + ("1|1:.",),
            snv(1100) + ("0|1:7",),
            ("a", 1121, a[1120:1126], a[1120], ".", "GT:PS", "0|1:7"),
            snv(1122) + ("0|1:7",),
            snv(1140) + ("1|0:7",),
            snv(1150) + ("0/1:7",),
            snv(1160) + ("0|1:8",),
            snv(1170) + ("0|1:7",),
            snv(1180) + ("./.:7",),
            snv(2000) + ("0|1:7",),
        ]

    def windows(self, focus, others):
        """The window of the variant without and with it, among the others; and where it lies."""
        a = self.genome["a"]
        edits = {i: trimmed(r[1] - 1, r[2], r[3]) for i, r in enumerate(self.rows())}
        at, removed, _ = edits[focus]
        start, end = centred(len(a), at, len(removed))
        sides = []
        for with_focus in [False, True]:
            text, here, place = "", start, None
            for i in sorted({focus, *others}, key=lambda i: edits[i][0]):
                position, old, new = edits[i]
                text += a[here:position]
                place = len(text) if i == focus else place
                text += old if i == focus and not with_focus else new
                here = position + len(old)
            sides.append(text + a[here:end])
        return sides[0], sides[1], place, len(removed), len(edits[focus][2])

    # Which others are seen around each. The deletion takes letters 1121 to 1125, and so the variant at 1122; where that
    # is nearer, it takes the deletion's place.
    CONTEXT = {0: [], 1: [0, 2, 7], 2: [0, 1, 7], 3: [0, 1, 7], 4: [0], 5: [], 6: [0], 7: [0, 1, 3], 8: [], 9: []}

    def test_by_hand(self):
        rows = self.rows()
        vcf("v.vcf", rows, self.contigs, samples=["s"])
        found = self.scored("v.vcf", "--phased")
        pairs = [self.windows(i, self.CONTEXT[i]) for i in range(len(rows))]
        expected = distances_by_hand(self, pairs)
        hidden = [(p[0][: p[2]] + "_" + p[0][p[2] + 1 :], 0, r[2][0], r[3][0]) for p, r in zip(pairs, rows)]
        llrs = llr_by_hand([h for i, h in enumerate(hidden) if i != 2])
        llrs.insert(2, None)
        for i, ((_, info), (dist, dtok)) in enumerate(zip(found, expected, strict=True)):
            self.assertAlmostEqual(numbers(info, "LDAR_DIST")[0], dist, delta=1e-5 + 1e-4 * dist, msg=str(i))
            self.assertAlmostEqual(numbers(info, "LDAR_DTOK")[0], dtok, delta=2e-6, msg=str(i))
            if llrs[i] is None:
                self.assertEqual(info["LDAR_LLR"], ".")
            else:
                delta = 2e-5 + 2e-5 * abs(llrs[i])
                self.assertAlmostEqual(numbers(info, "LDAR_LLR")[0], llrs[i], delta=delta, msg=str(i))

    @plain_build_only
    def test_alone_is_exact(self):
        a = self.genome["a"]
        rows = [("a", 101, a[100], other_letter(a[100]), ".", "GT", "0|1"),
                ("a", 2201, a[2200], other_letter(a[2200]), ".", "GT", "0|1")]
        vcf("v.vcf", rows, self.contigs, samples=["s"])
        self.assertEqual(self.scored("v.vcf", "--phased"), self.scored("v.vcf", "--mode", "exact"))
        self.scored("v.vcf", "--phased", "--mode", "wt")

    @plain_build_only
    def test_units(self):
        """Haplotypes reach over the groups of records that are computed together."""
        a = self.genome["a"]
        rows = [("a", at, a[at - 1], "<DEL>") for at in range(1, 300)]
        rows += self.snvs([("a", at) for at in range(980, 1060, 10)])
        rows = [row + (".", "GT", "0|1") for row in rows]
        vcf("v.vcf", rows, self.contigs, samples=["s"])
        every = [info["LDAR_DIST"] for _, info in self.scored("v.vcf", "--phased")][299:]
        part = [info["LDAR_DIST"] for _, info in self.scored("v.vcf", "--phased", "-r", "a:900-1500")]
        self.assertEqual(every, part)
        self.assertEqual(len(every), 8)

    @plain_build_only
    def test_samples(self):
        row = self.snvs([("a", 1000)])[0]
        near = self.snvs([("a", 1010)])[0]
        rows = [row + (".", "GT", "0|1", "1|0"), near + (".", "GT", "0|1", "0|1")]
        vcf("v.vcf", rows, self.contigs, samples=["s", "t"])
        first, second = (self.scored("v.vcf", "--phased", "--sample", name)[0][1] for name in ["s", "t"])
        self.assertNotEqual(first["LDAR_DIST"], second["LDAR_DIST"])
        self.assertEqual(self.scored("v.vcf", "--phased")[0][1], first)
        score = ["score", "-q", "-m", TINY, "-f", "g.fa", "-o", "o.vcf"]
        self.fails(1, 'no sample "u"; its first is "s"', *score, "--phased", "--sample", "u", "v.vcf")
        self.fails(2, "--sample has a meaning with --phased", *score, "--sample", "s", "v.vcf")
        self.fails(2, "exact or wt", *score, "--phased", "--mode", "interleaved", "v.vcf")
        vcf("w.vcf", [row], self.contigs)
        self.fails(1, "has no samples", *score, "--phased", "w.vcf")
        vcf("w.vcf", [near + (".", "GT", "0|1"), row + (".", "GT", "0|1")], self.contigs, samples=["s"])
        self.fails(1, "--phased needs sorted records", *score, "--phased", "w.vcf")


class Shards(Score):
    """However work is split, the bytes are those of one run."""

    def setUp(self):
        super().setUp()
        a = self.genome["a"]
        rows = [("a", at, a[at - 1], "<DEL>") for at in range(1, 2300, 2)]
        rows += self.snvs([("a", at) for at in [1, 500, 1018, 1022, 1026, 2050, 2297]])
        rows.sort(key=lambda row: row[1])
        vcf("v.vcf", rows + self.snvs([("b", 620), ("b", 650)]), self.contigs)

    def one(self, name, *more):
        self.score("v.vcf", "-q", "-o", name, *more)
        return self.results(name)

    def results(self, name):
        files = [path for path in [Path(name), Path(f"{name}.csi")] if path.exists()]
        return [path.read_bytes() for path in files]

    @plain_build_only
    def test_merged(self):
        for name in ["one.vcf", "one.vcf.gz", "one.bcf"]:
            expected = self.one(name)
            self.assertEqual(len(expected), 1 + (name != "one.vcf"))
            for count in [1, 2, 3, 7] if name == "one.vcf" else [2]:
                parts = [f"part-{i}" for i in range(1, count + 1)]
                for i, part in enumerate(parts, 1):
                    self.score("v.vcf", "-q", "--shard", f"{i}/{count}", "-@", 1 + i % 2, "-o", part)
                merged = name.replace("one", "merged")
                self.ok("merge", "-q", *parts[::-1], "-o", merged)
                self.assertEqual(self.results(merged)[0], expected[0], (name, count))
                self.assertEqual(len(self.results(merged)), len(expected))

    def test_resumed(self):
        expected = self.one("one.vcf", *UNMASKED)
        self.score("v.vcf", "-q", *UNMASKED, "--shard", "1/1", "-o", "o.vcf")
        whole = Path("o.vcf").read_bytes()
        self.assertGreaterEqual(len(read_part("o.vcf")[1]), 1 + 3, "the prologue and several units")
        Path("o.vcf").unlink()
        for kept in [10, len(whole) // 2, len(whole) - 30]:
            Path("o.vcf.part").write_bytes(whole[:kept])
            self.score("v.vcf", "-q", *UNMASKED, "--resume", "-o", "o.vcf")
            self.assertEqual(self.results("o.vcf"), expected)
            self.assertFalse(Path("o.vcf.part").exists())
        Path("o.vcf.part").write_bytes(whole[: len(whole) // 2])
        vcf("v.vcf", self.snvs([("a", 5)]), self.contigs)
        self.fails(1, "results of another run: its number of records", "score", "-q", "-m", TINY, "-f", "g.fa",
                   "--window", WINDOW, "v.vcf", *UNMASKED, "--resume", "-o", "o.vcf")

    @plain_build_only
    def test_foretold(self):
        vcf("v.vcf", self.snvs([("a", at) for at in range(0, 2300, 50)]), self.contigs)
        text = self.score("v.vcf", "-q", "--dry-run").stdout.decode()
        told = dict(line.split("\t")[:2] for line in text.splitlines())
        result = self.score("v.vcf", "-v", "-o", "o.vcf")
        (put,) = [line.split(": ")[1] for line in result.stderr.splitlines() if "put through the model" in line]
        self.assertEqual(told["computed"], put.split()[0])
        self.assertEqual(told["records"], "46")
        self.assertAlmostEqual(int(told["output"]) / Path("o.vcf").stat().st_size, 1, delta=0.2)


class Peers(Score):
    def tool(self, name):
        path = shutil.which(name)
        if not path:
            self.skipTest(f"{name} is not installed")
        return path

    def query(self, *arguments):
        result = subprocess.run([self.tool("bcftools"), *map(str, arguments)], capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""), arguments)
        return result.stdout

    @plain_build_only
    def test_bcftools(self):
        rows = self.snvs([("a", 10), ("a", 1500), ("b", 10)])
        rows[1] = rows[1][:3] + (f"{rows[1][3]},{rows[1][2]}TT,<DEL>",)
        vcf("v.vcf", rows, self.contigs)
        expected = [
            "\t".join([row[0], row[1], info["LDAR_LLR"], info["LDAR_DIST"], info.get("LDAR_NOTE", ".")])
            for row, info in self.scored("v.vcf")
        ]
        form = "%CHROM\t%POS\t%LDAR_LLR\t%LDAR_DIST\t%LDAR_NOTE\n"
        for output in ["o.vcf", "o.vcf.gz", "o.bcf"]:
            self.score("v.vcf", "-q", "-o", output)
            self.assertEqual(self.query("query", "-f", form, output).splitlines(), expected)
            if output != "o.vcf":
                found = self.query("query", "-f", form, "-r", "a:1400-1600", output)
                self.assertEqual(found.splitlines(), expected[1:2])
            self.query("view", "-i", "INFO/LDAR_DIST > 0", output)

    @plain_build_only
    def test_tabix(self):
        vcf("v.vcf", self.snvs([("a", 10), ("a", 1500), ("b", 10)]), self.contigs)
        self.score("v.vcf", "-q", "-o", "o.vcf.gz")
        result = subprocess.run([self.tool("tabix"), "o.vcf.gz", "a:1501-1501"], capture_output=True, text=True)
        self.assertEqual(result.stderr, "")
        self.assertEqual([row[:2] for row, _ in records(result.stdout)], [["a", "1501"]])

    @plain_build_only
    def test_bcf_of_bcftools(self):
        vcf("v.vcf", self.snvs([("a", 10), ("b", 10)]), self.contigs)
        self.query("view", "-Ob", "-o", "v.bcf", "v.vcf")
        expected = [info for _, info in self.scored("v.vcf")]
        self.assertEqual([info for _, info in self.scored("v.bcf")], expected)


class Shipped(Case):
    @plain_build_only
    def test_human(self):
        """Records of a real file, REF and all: every letter of it agrees with the genome."""
        genome, source = SHARED / "data/human/1kg_chr20_1Mb_z.fa.gz", SHARED / "data/human/1kg_chr20_1Mb_z.vcf.gz"
        if not source.exists():
            self.skipTest("the outside data is not there")
        Path("g.fa").write_bytes(gzip.decompress(genome.read_bytes()))
        result = self.ok("score", "-q", "-f", "g.fa", source, "-r", "z:13500-14300", "--mode", "wt", "-o", "o.vcf")
        found = records(Path("o.vcf").read_text())
        self.assertGreater(len(found), 15, result.stderr)
        self.assertEqual({info["LDAR_NOTE"] for _, info in found if "LDAR_NOTE" in info}, {"SYMBOLIC"})


if __name__ == "__main__":
    program.main()
