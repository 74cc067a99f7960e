# SPDX-License-Identifier: Apache-2.0
"""scan: tracks of probabilities and boundaries, the table of variants, the hub."""

import gzip
import json
import math
import os
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import program
from program import TINY, Case, Matrix, dna, environment, plain_build_only, running_isas, write_fasta

LETTERS = "ACGT"
BIGWIGS = [*LETTERS, "information", "boundary"]
MASKED = program.PROGRAM[:-1] + [
    str(Path(os.environ.get("LDAR_BUILD_DIR", program.SOURCE / "build")) / "tests" / "cli" / "masked_logits")
]


# ---- files ----


class BigWig:
    """The values of a bigWig by contig and position; pyBigWig is held to the same further below."""

    def __init__(self, path):
        self.data = Path(path).read_bytes()
        magic, _, levels, names, _, index = struct.unpack("<IHHQQQ", self.data[:32])
        assert magic == 0x888FFC26 and self.data[-4:] == self.data[:4], path
        self.names, self.values, self.lengths = {}, {}, {}
        (_, _, key) = struct.unpack("<III", self.data[names : names + 12])
        self.walk_names(names + 32, key)
        self.walk_blocks(index + 48)

    def walk_names(self, at, key):
        leaf, count = struct.unpack("<BxH", self.data[at : at + 4])
        for i in range(count):
            item = at + 4 + i * (key + 8)
            name = self.data[item : item + key].rstrip(b"\0").decode()
            if leaf:
                number, length = struct.unpack("<II", self.data[item + key : item + key + 8])
                self.names[number], self.lengths[name] = name, length
            else:
                self.walk_names(struct.unpack("<Q", self.data[item + key : item + key + 8])[0], key)

    def walk_blocks(self, at):
        leaf, count = struct.unpack("<BxH", self.data[at : at + 4])
        for i in range(count):
            item = at + 4 + i * (32 if leaf else 24)
            offset, size = struct.unpack("<QQ", self.data[item + 16 : item + 32])
            if leaf:
                self.read_block(zlib.decompress(self.data[offset : offset + size]))
            else:
                self.walk_blocks(offset)

    def read_block(self, block):
        contig, start, end, step, span, kind, count = struct.unpack("<IIIIIBxH", block[:24])
        assert (step, span, kind, count) == (1, 1, 3, end - start)
        for i, value in enumerate(struct.unpack(f"<{count}f", block[24:])):
            key = (self.names[contig], start + i)
            assert key not in self.values
            self.values[key] = value


def table(prefix):
    """The rows of the table, split; its lines of comment apart."""
    text = gzip.decompress(Path(f"{prefix}.snv.tsv.gz").read_bytes()).decode()
    lines = text.splitlines()
    head = [line for line in lines if line.startswith("#")]
    return head, [line.split("\t") for line in lines[len(head) :]]


def results(prefix):
    """All that the files say but for their provenance."""
    found = {}
    for path in sorted(Path(".").glob(f"{prefix}.*")):
        name = path.name[len(prefix) :]
        if name.endswith(".bw") or name.endswith(".tbi"):
            found[name] = path.read_bytes()
        elif name.endswith(".gz"):
            found[name] = table(prefix)[1]
    found.pop(".snv.tsv.gz.tbi", None)  # the length of the provenance moves all that follows
    return found


# ---- by hand ----


def reverse_complement(sequence):
    return sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


def ask(lines):
    """log p of A, C, G, T for each '_' of each line."""
    out = subprocess.run(
        MASKED + [str(TINY)], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True, timeout=280
    )
    rows = iter([[float(x) for x in line.split()] for line in out.stdout.splitlines()])
    return [[next(rows) for _ in range(line.count("_"))] for line in lines]


def normalised(log_p):
    total = math.log(sum(math.exp(x) for x in log_p))
    return [x - total for x in log_p]


def hidden_together(sequence, groups, both=True):
    """Of each base, the mean of log p on both strands, where the bases of a group are hidden in one pass."""
    lines = ["".join("_" if i in group else c for i, c in enumerate(sequence)) for group in groups]
    expected = {}
    forward, reverse = ask(lines), ask([reverse_complement(line) for line in lines])
    for group, ahead, back in zip(groups, forward, reverse):
        for i, a, b in zip(sorted(group), ahead, back[::-1]):
            expected[i] = normalised([(x + y) / 2 for x, y in zip(a, b[::-1])]) if both else a
    return expected


def interleaved(sequence, start=0, both=True):
    """Bases whose position in the contig leaves one remainder are hidden together."""
    groups = [{i for i in range(len(sequence)) if (start + i) % 8 == k} for k in range(8)]
    return hidden_together(sequence, groups, both)


class Scan(Case):
    def setUp(self):
        super().setUp()
        self.contigs = {
            "chr1": dna(300) + "N" * 40 + dna(200).lower() + "RY" + dna(161),
            "void": "",
            "chr2": dna(250),
            "gap": "N" * 30,
        }
        write_fasta("g.fa", self.contigs.items(), width=60)

    def letters(self, name):
        """What the model sees."""
        return "".join(c if c in LETTERS else "N" for c in self.contigs[name].upper())

    def scan(self, prefix, *more, **options):
        self.ok("scan", "-q", "-m", TINY, "-f", "g.fa", "-o", prefix, *more, **options)

    def check(self, prefix, expected):
        """All files of letters against log p by contig and position, N apart."""
        bases = {key for key in expected if self.letters(key[0])[key[1]] != "N"}
        for a, letter in enumerate(LETTERS):
            values = BigWig(f"{prefix}.{letter}.bw").values
            self.assertEqual(set(values), bases)
            for key in bases:
                self.assertAlmostEqual(values[key], math.exp(expected[key][a]), delta=2e-6)
        values = BigWig(f"{prefix}.information.bw").values
        self.assertEqual(set(values), bases)
        for key in bases:
            bits = 2 + sum(math.exp(x) * x for x in expected[key]) / math.log(2)
            self.assertAlmostEqual(values[key], bits, delta=5e-6)
        self.check_table(prefix, expected, bases)

    def check_table(self, prefix, expected, bases):
        _, rows = table(prefix)
        order = list(self.contigs)
        at = iter(rows)
        for key in sorted(bases, key=lambda key: (order.index(key[0]), key[1])):
            name, position = key
            ref = self.letters(name)[position]
            for a, alt in enumerate(LETTERS):
                if alt == ref:
                    continue
                row = next(at)
                self.assertEqual(row[:4], [name, str(position + 1), ref, alt])
                log_ref = expected[key][LETTERS.index(ref)]
                self.assertAlmostEqual(float(row[4]), expected[key][a] - log_ref, delta=5.2e-5)
                self.assertAlmostEqual(float(row[5]), math.exp(log_ref), delta=5.2e-6)
                self.assertAlmostEqual(float(row[6]), math.exp(expected[key][a]), delta=5.2e-6)
        self.assertIsNone(next(at, None))

    def placed(self, name, rows, start=0):
        return {(name, start + i): row for i, row in rows.items()}


class Values(Scan):
    @plain_build_only
    def test_interleaved(self):
        expected = {}
        for name in self.contigs:
            if self.contigs[name]:
                expected |= self.placed(name, interleaved(self.letters(name)))
        self.scan("all")
        self.check("all", expected)
        self.scan("forward", "--strands", "forward", "-r", "chr2")
        self.check("forward", self.placed("chr2", interleaved(self.letters("chr2"), both=False)))

    @plain_build_only
    def test_exact(self):
        """With context on either side, as far as there is any."""
        for start, end, flank in ((0, 12, 30), (296, 303, 5), (690, 703, 0)):
            begin, stop = max(0, start - flank), min(len(self.contigs["chr1"]), end + flank)
            sequence = self.letters("chr1")[begin:stop]
            groups = [{i} for i in range(start - begin, end - begin) if sequence[i] != "N"]
            expected = self.placed("chr1", hidden_together(sequence, groups), begin)
            self.scan("x", "--mode", "exact", "--flank", flank, "-r", f"chr1:{start + 1}-{end}")
            self.check("x", expected)
            self.assertEqual({p for _, p in BigWig("x.boundary.bw").values}, set(range(start, end)))

    @plain_build_only
    def test_phase_is_of_the_contig(self):
        """Bases go together by their position in the contig, wherever a window begins."""
        name, flank = "chr1", 13
        for start, end in ((101, 150), (102, 151), (541, 600)):
            begin, stop = start - flank, end + flank
            rows = interleaved(self.letters(name)[begin:stop], begin)
            expected = {key: v for key, v in self.placed(name, rows, begin).items() if start <= key[1] < end}
            self.scan("r", "--flank", flank, "-r", f"chr1:{start + 1}-{end}")
            self.check("r", expected)

    def test_wt_is_logits(self):
        for options in ([], ["--window", 200, "--overlap", 80]):
            self.ok("logits", "-q", "-m", TINY, "-f", "g.fa", "-o", "l.npy", *options)
            matrix = Matrix("l.npy")
            values, expected = matrix.values(), {}
            for record in matrix.json["records"]:
                for i in range(record["rows"]):
                    at = (record["offset"] + i) * matrix.width
                    expected[record["name"], i] = normalised(values[at : at + 4])
            self.scan("wt", "--mode", "wt", *options)
            self.check("wt", expected)

    @plain_build_only
    def test_boundaries_are_those_of_segment(self):
        for options in ([], ["--window", 200, "--overlap", 80]):
            self.ok("segment", "-q", "-m", TINY, "-f", "g.fa", "-O", "bigwig", "-o", "s.bw", *options)
            for mode in ("wt", "interleaved"):
                self.scan("b", "--mode", mode, *options)
                self.assertEqual(Path("b.boundary.bw").read_bytes(), Path("s.bw").read_bytes())
            self.scan("only", "--tracks", "boundary", *options)
            self.assertEqual(Path("only.boundary.bw").read_bytes(), Path("s.bw").read_bytes())

    @plain_build_only
    def test_whole_context(self):
        """A region with enough of it is what the whole genome says there."""
        self.scan("whole")
        self.scan("part", "-r", "chr1:400-420")
        part, whole = BigWig("part.A.bw").values, BigWig("whole.A.bw").values
        self.assertEqual(part, {key: whole[key] for key in part})
        self.assertEqual(len(part), 21)
        _, rows = table("part")
        self.assertTrue(all(row in table("whole")[1] for row in rows))
        self.assertEqual(len(rows), 63)


class Files(Scan):
    @plain_build_only
    def test_same_bits(self):
        options = ["--window", 100, "--overlap", 40, "-r", "chr1:250-420", "-r", "chr2:1-30", "--flank", 40]
        for isa in running_isas():
            env = environment(LDAR_ISA=isa)
            self.scan("one", "-@", 1, *options, env=env)
            expected = {path.name[4:]: path.read_bytes() for path in Path(".").glob("one.*")}
            self.assertEqual(len(expected), 10)
            for threads in (2, 3, 7):
                self.scan("many", "-@", threads, *options, env=env)
                for name in expected:
                    content = Path(f"many.{name}").read_bytes().replace(b"many", b"one")
                    self.assertEqual(content, expected[name], name)

    def test_regions_are_sorted_and_merged(self):
        Path("r.bed").write_text("chr2\t10\t40\nchr1\t500\t600\nchr1\t90\t100\nchr1\t550\t650\nchr1\t100\t120\n")
        self.scan("bed", "--mode", "wt", "-R", "r.bed")
        self.scan("text", "--mode", "wt", "-r", "chr1:91-120", "-r", "chr1:501-650", "-r", "chr2:11-40")
        self.assertEqual(results("bed"), results("text"))
        values = BigWig("bed.boundary.bw").values
        expected = [*(("chr1", i) for i in (*range(90, 120), *range(500, 650))), *(("chr2", i) for i in range(10, 40))]
        self.assertEqual(sorted(values), sorted(expected))

    def test_names_of_files(self):
        tracks = {
            "bases": [f".{letter}.bw" for letter in LETTERS],
            "information": [".information.bw"],
            "boundary": [".boundary.bw"],
            "snv": [".snv.tsv.gz", ".snv.tsv.gz.tbi"],
        }
        self.scan("all", "--mode", "wt")
        for wanted in ("bases", "information", "boundary", "snv", "boundary,snv"):
            names = [name for track in wanted.split(",") for name in tracks[track]]
            hub = [".hub.txt"] if wanted != "snv" else []
            self.scan("part", "--mode", "wt", "--tracks", wanted)
            found = sorted(path.name for path in Path(".").glob("part.*"))
            self.assertEqual(found, sorted("part" + name for name in [*names, *hub, ".json"]))
            for name, content in results("part").items():
                self.assertEqual(content, results("all")[name])
            for path in Path(".").glob("part.*"):
                path.unlink()

    def test_hub(self):
        Path("tracks").mkdir()
        self.scan("tracks/yeast 1", "--genome-name", "sacCer3", "-r", "chr2:1-20")
        text = Path("tracks/yeast 1.hub.txt").read_text()
        stanzas = [
            dict(line.strip().split(" ", 1) for line in stanza.splitlines() if not line.startswith("#"))
            for stanza in text.strip().split("\n\n")
        ]
        self.assertEqual(stanzas[0]["useOneFile"], "on")
        self.assertEqual(stanzas[1], {"genome": "sacCer3"})
        parts = {s["track"]: s for s in stanzas[2:]}
        self.assertEqual(len(parts), 7)
        names = [s["bigDataUrl"] for s in parts.values() if "bigDataUrl" in s]
        self.assertEqual(names, [f"yeast%201.{name}.bw" for name in BIGWIGS])
        for name in BIGWIGS:
            self.assertTrue(Path(f"tracks/yeast 1.{name}.bw").exists())
        (container,) = [s["track"] for s in parts.values() if s.get("container") == "multiWig"]
        self.assertEqual([s.get("parent") for s in parts.values()].count(container), 4)
        self.scan("plain", "-r", "chr2:1-20")
        self.assertIn("\ngenome g\n", Path("plain.hub.txt").read_text())

    def test_provenance(self):
        self.scan("p", "-r", "chr2:1-20")
        made = json.loads(Path("p.json").read_text())
        self.assertIn("scan -m", made["command"])
        self.assertIn("every eighth base", made["probabilities"])
        head, _ = table("p")
        self.assertIn(made["sha256"], head[0])
        self.assertIn(made["probabilities"], head[1])
        self.assertEqual(head[-1], "#chrom\tpos\tref\talt\tllr\tp_ref\tp_alt")
        self.assertIn(made["sha256"], Path("p.hub.txt").read_text().splitlines()[0])

    def test_usage(self):
        scan = ["scan", "-q", "-m", TINY]
        self.ok("segment", "-q", "-m", TINY, "-f", "g.fa", "-o", "t.bed")  # makes the index
        self.fails(2, "no genome", *scan, "-o", "x")
        self.fails(2, "no output", *scan, "-f", "g.fa")
        self.fails(2, "no output", *scan, "-f", "g.fa", "-o", "folder/")
        self.fails(2, "no output", *scan, "-f", "g.fa", "-o", "-")
        self.fails(2, "genome-name", *scan, "-f", "g.fa", "-o", "x", "--genome-name", "a b")
        self.fails(2, "tracks", *scan, "-f", "g.fa", "-o", "x", "--tracks", "letters")
        self.fails(2, "mode", *scan, "-f", "g.fa", "-o", "x", "--mode", "masked")
        self.fails(2, "argument", *scan, "-f", "g.fa", "-o", "x", "g.fa")

    def test_failures_leave_nothing(self):
        scan = ["scan", "-q", "-m", TINY, "-f", "g.fa"]
        self.ok("segment", "-q", "-m", TINY, "-f", "g.fa", "-o", "t.bed")
        self.fails(1, "no such sequence", *scan, "-o", "x", "-r", "chr9")
        self.fails(1, "absent", *scan, "-o", "absent/x")
        self.fails(1, "MiB", *scan, "-o", "x", "--max-memory", "1M")

    @plain_build_only
    def test_full_disk(self):
        """No file may grow beyond 12 KiB: whichever reaches that first, none is left."""
        self.ok("segment", "-q", "-m", TINY, "-f", "g.fa", "-o", "t.bed")
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12 << 10, 12 << 10))
        options = ["scan", "-q", "-m", TINY, "-f", "g.fa", "-o", "x"]
        for tracks in ("bases,snv", "snv"):
            self.fails(1, r"x\.", *options, "--mode", "wt", "--tracks", tracks, preexec_fn=limit)

    @plain_build_only
    def test_memory_and_bits(self):
        write_fasta("long.fa", [("a", dna(2500))])
        self.ok("scan", "-q", "-m", TINY, "-f", "long.fa", "-o", "free", "--window", 1000)
        self.ok("scan", "-q", "-m", TINY, "-f", "long.fa", "-o", "tight", "--window", 1000, "--max-memory", "30M")
        self.assertEqual(results("free"), results("tight"))


def peer(module):
    """A Python that has the module, or None."""
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0:
            return python
    return None


class Peers(Scan):
    @plain_build_only
    def test_tabix(self):
        if not shutil.which("tabix"):
            self.skipTest("no tabix here")
        self.scan("t")
        _, rows = table("t")
        for name, first, last in (("chr1", 1, 10), ("chr1", 295, 345), ("chr2", 250, 250), ("chr1", 540, 545)):
            out = subprocess.run(
                ["tabix", "t.snv.tsv.gz", f"{name}:{first}-{last}"], capture_output=True, text=True, check=True
            )
            expected = ["\t".join(row) for row in rows if row[0] == name and first <= int(row[1]) <= last]
            self.assertEqual(out.stdout.splitlines(), expected)
        names = subprocess.run(["tabix", "-l", "t.snv.tsv.gz"], capture_output=True, text=True, check=True)
        self.assertEqual(names.stdout.split(), ["chr1", "chr2"])

    @plain_build_only
    def test_pybigwig(self):
        python = peer("pyBigWig")
        if not python:
            self.skipTest("no pyBigWig here")
        self.scan("p", "-r", "chr1:200-600", "-r", "chr2")
        script = (
            "import json, pyBigWig, sys\n"
            "b = pyBigWig.open(sys.argv[1])\n"
            "v = {c: [None if x != x else x for x in b.values(c, 0, n)] for c, n in b.chroms().items() if n}\n"
            "print(json.dumps([b.chroms(), v]))\n"
        )
        for name in BIGWIGS:
            ours = BigWig(f"p.{name}.bw")
            out = subprocess.run([python, "-c", script, f"p.{name}.bw"], capture_output=True, check=True)
            chroms, theirs = json.loads(out.stdout)
            self.assertEqual(chroms, {c: len(s) for c, s in self.contigs.items() if s})
            found = {(c, i): x for c, values in theirs.items() for i, x in enumerate(values) if x is not None}
            self.assertEqual(found, ours.values)


if __name__ == "__main__":
    program.main()
