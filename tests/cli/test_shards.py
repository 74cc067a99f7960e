# SPDX-License-Identifier: Apache-2.0
"""--shard, merge and --resume: however work is split, and whatever kills it, the bytes are those of one run."""

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import time
import zlib
from pathlib import Path

import program
from program import PROGRAM, SEED, TINY, Case, dna, environment, plain_build_only, write_fasta, write_headed

# Records over several windows, of one base, of none, and none at the end.
RECORDS = [("a", dna(2600)), ("e", ""), ("b", dna(7)), ("c", dna(4000) + "N" * 90), ("d", "A")]
RECORDS += [("f", dna(999)), ("z", "")]
WINDOW = ["--window", 700, "--overlap", 150]
SHARDS = [3] if program.is_sanitized() else [1, 2, 3, 7]


def read_part(path):
    """The header and the blobs, the prologue first."""
    data = Path(path).read_bytes()
    assert data[:8] == b"LDARPART"
    at = 16 + struct.unpack_from("<I", data, 12)[0]
    header, at, blobs = data[16:at].decode(), at + 4, []
    while (size := struct.unpack_from("<Q", data, at)[0]) != 2**64 - 1:
        blobs.append(data[at + 8 : at + 8 + size])
        at += 8 + size + 4
    return header, blobs


def write_part(path, header, blobs):
    out, crc = bytearray(), 0
    header = header.encode()
    pieces = [b"LDARPART" + struct.pack("<II", 1, len(header)) + header]
    pieces += [struct.pack("<Q", len(blob)) + blob for blob in blobs]
    pieces += [struct.pack("<QQ", 2**64 - 1, len(blobs))]
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
        out += piece + struct.pack("<I", crc)
    Path(path).write_bytes(out)


def number(blob, index, value):
    return blob[: 8 * index] + struct.pack("<Q", value) + blob[8 * index + 8 :]


class Shards(Case):
    def setUp(self):
        super().setUp()
        write_fasta("a.fa", RECORDS)
        write_fasta("g.fa", [r for r in RECORDS if r[1]])

    def one(self, output, command, *arguments):
        """What one run writes: the file, and the .json beside it where there is one."""
        self.ok(command, "-q", "-m", TINY, *arguments, "-o", output)
        return self.written(output)

    def written(self, output):
        beside = Path(f"{output}.json")
        return Path(output).read_bytes(), beside.read_bytes() if beside.exists() else None

    def parts(self, count, command, *arguments, prefix="part"):
        names = []
        for i in range(1, count + 1):
            names.append(f"{prefix}-{i}-{count}")
            threads = ["-@", 1 + i % 2]
            self.ok(command, "-q", "-m", TINY, *arguments, *threads, "--shard", f"{i}/{count}", "-o", names[-1])
        return names

    def check(self, suffix, *arguments, counts=SHARDS):
        expected = self.one(f"one{suffix}", *arguments)
        for count in counts:
            parts = self.parts(count, *arguments)
            random.Random(SEED + count).shuffle(parts)
            self.ok("merge", "-q", *parts, "-o", f"merged{suffix}")
            self.assertEqual(self.written(f"merged{suffix}"), expected, (arguments, count))
        self.assertEqual(list(Path().glob("*.part")), [])
        return expected

    # ---- equal to one run ----

    def test_embed(self):
        self.check(".npy", "embed", "a.fa", *WINDOW)
        self.check(".npy", "embed", "a.fa", *WINDOW, "--layer", "encoder", counts=[3])

    @plain_build_only
    def test_embed_mean(self):
        self.check(".npy", "embed", "a.fa", *WINDOW, "--pool", "mean")
        self.check(".npy", "embed", "a.fa", *WINDOW, "--pool", "mean", "--layer", "chunks", counts=[7])

    @plain_build_only
    def test_embed_chunks(self):
        self.check(".npy", "embed", "a.fa", *WINDOW, "--layer", "chunks")

    @plain_build_only
    def test_logits(self):
        self.check(".npy", "logits", "a.fa", *WINDOW)

    def test_segment(self):
        """Tokens and runs that go across the borders of windows, and so of parts."""
        self.check(".bed", "segment", "a.fa", *WINDOW)
        self.check(".bg", "segment", "a.fa", *WINDOW, "-O", "bedgraph")

    @plain_build_only
    def test_bigwig(self):
        self.check(".bw", "segment", "a.fa", *WINDOW, "-O", "bigwig")

    @plain_build_only
    def test_regions(self):
        Path("r.bed").write_text("c\t100\t3000\na\t5\t6\nf\t0\t999\na\t0\t2600\n")
        self.check(".bed", "segment", "-f", "g.fa", "-R", "r.bed", *WINDOW)
        self.check(".npy", "logits", "-f", "g.fa", "-r", "c:51-4000", "-r", "b", *WINDOW, counts=[3])
        self.check(".bw", "segment", "-f", "g.fa", "-O", "bigwig", *WINDOW, counts=[2, 7])

    @plain_build_only
    def test_scan(self):
        """Several files, whose names begin alike; regions that are sorted, merged and widened."""
        Path("r.bed").write_text("f\t0\t500\nc\t100\t900\nc\t700\t2000\na\t0\t600\n")
        for folder in ["one", "merged"]:
            os.mkdir(folder)
        for regions, counts in ((["-R", "r.bed", "--mode", "wt"], SHARDS), (["-r", "c:1-1500"], [2])):
            arguments = ["-f", "g.fa", *regions, "--flank", 300, *WINDOW]
            self.ok("scan", "-q", "-m", TINY, *arguments, "-o", "one/s")
            expected = {p.name: p.read_bytes() for p in Path("one").iterdir()}
            self.assertGreater(len(expected), 9)
            for count in counts:
                parts = self.parts(count, "scan", *arguments)
                self.ok("merge", "-q", *parts[::-1], "-o", "merged/s")
                merged = {p.name: p.read_bytes() for p in Path("merged").iterdir()}
                self.assertEqual(sorted(merged), sorted(expected))
                for name, data in expected.items():
                    self.assertEqual(merged[name], data, (name, count))

    @plain_build_only
    def test_predict(self):
        rows = [("AT" * 20, "x"), ("GC" * 20, "y")] * 6
        for name in ["t.csv", "v.csv"]:
            Path(name).write_text("sequence,label\n" + "".join(f"{a},{b}\n" for a, b in rows))
        self.ok("finetune", "-q", "-m", TINY, "--train", "t.csv", "--valid", "v.csv", "--freeze", "-o", "run")
        model = "run/model.safetensors"
        for strands, counts in (([], SHARDS), (["--both-strands"], [2])):
            arguments = ["-q", "-m", model, "a.fa", *WINDOW, *strands]
            self.ok("predict", *arguments, "-o", "one.tsv")
            for count in counts:
                parts = [f"part-{i}" for i in range(count)]
                for i, part in enumerate(parts):
                    self.ok("predict", *arguments, "--shard", f"{i + 1}/{count}", "-o", part)
                self.ok("merge", "-q", *parts[::-1], "-o", "merged.tsv")
                self.assertEqual(self.written("merged.tsv"), self.written("one.tsv"), count)

    def test_more_shards_than_windows(self):
        write_fasta("few.fa", [("x", dna(50)), ("y", ""), ("z", dna(3))])
        self.check(".bed", "segment", "few.fa", counts=[7])
        write_fasta("none.fa", [("x", ""), ("y", "")])
        self.check(".npy", "embed", "none.fa", "--pool", "mean", counts=[3])

    def test_merge_needs_neither_model_nor_input(self):
        shutil.copy(TINY, "model.safetensors")
        arguments = ["segment", "-q", "-m", "model.safetensors", "a.fa", "-O", "bigwig"]
        self.ok(*arguments, "-o", "one.bw")
        for i in (1, 2):
            self.ok(*arguments, "--shard", f"{i}/2", "-o", f"p{i}")
        os.remove("model.safetensors")
        os.remove("a.fa")
        self.ok("merge", "-q", "p1", "p2", "-o", "m.bw")
        self.assertEqual(self.written("m.bw"), self.written("one.bw"))

    @plain_build_only
    def test_shards_compute_their_windows_alone(self):
        """About as many bases each: no shard has more than its share and a window."""
        bases = sum(len(s) for _, s in RECORDS)
        sizes = [Path(p).stat().st_size / (4 * program.TINY_WIDTH) for p in self.parts(3, "embed", "a.fa", *WINDOW)]
        self.assertLess(max(sizes), bases / 3 + 700 + 30)

    # ---- parts that do not fit ----

    def test_wrong_parts(self):
        p = self.parts(3, "segment", "a.fa", *WINDOW)
        self.fails(1, "these are missing: shard 1, 3", "merge", p[1], "-o", "m")
        self.fails(1, "both shard 2: name one", "merge", *p, p[1], "-o", "m")
        self.fails(1, "none: cannot be read", "merge", p[0], "none", "-o", "m")
        self.fails(1, "a.fa: is no file of results", "merge", p[0], "a.fa", "-o", "m")
        self.fails(2, "-o OUT", "merge", *p)
        self.fails(2, "is a part and would be replaced", "merge", *p, "-o", p[0])
        two = self.parts(2, "segment", "a.fa", *WINDOW)
        self.fails(1, "it is one of 3 parts", "merge", *two, p[2], "-o", "m")
        other = self.parts(3, "segment", "a.fa", "--window", 600, prefix="other")
        self.fails(1, "its command is .*--window 600, not", "merge", p[0], p[1], other[2], "-o", "m")
        logits = self.parts(3, "logits", "a.fa", *WINDOW, prefix="logits")
        self.fails(1, "it is of 'logits', not of 'segment'", "merge", p[0], p[1], logits[2], "-o", "m")
        write_fasta("a.fa", RECORDS[::-1])
        changed = self.parts(3, "segment", "a.fa", *WINDOW, prefix="changed")
        self.fails(1, "its input's checksum is", "merge", p[0], p[1], changed[2], "-o", "m")

    @plain_build_only
    def test_other_model(self):
        shutil.copy(TINY, "m.safetensors")
        arguments = ["segment", "-q", "-m", "m.safetensors", "a.fa"]
        self.ok(*arguments, "--shard", "1/2", "-o", "p1")
        self.ok("init", "-q", "--preset", "2m", "-o", "m.safetensors")
        self.ok(*arguments, "--shard", "2/2", "-o", "p2")
        self.fails(1, "its model is", "merge", "p1", "p2", "-o", "m")

    @plain_build_only
    def test_other_instruction_set(self):
        isas = program.running_isas()
        if len(isas) < 2:
            self.skipTest("one instruction set")
        for i in (1, 2):
            env = environment(LDAR_ISA=isas[i - 1])
            self.ok("segment", "-q", "-m", TINY, "a.fa", "--shard", f"{i}/2", "-o", f"p{i}", env=env)
        self.fails(1, f"its instruction set is {isas[1]}, not {isas[0]}.*LDAR_ISA", "merge", "p1", "p2", "-o", "m")

    def test_damaged_parts(self):
        p = self.parts(2, "embed", "a.fa", *WINDOW)
        good = Path(p[1]).read_bytes()
        for at in (3, 9, 14, 100, len(good) // 2, len(good) - 22, len(good) - 3):
            bad = bytearray(good)
            bad[at] ^= 4
            Path(p[1]).write_bytes(bad)
            self.fails(1, p[1], "merge", "-q", *p, "-o", "m.npy")
        for cut in (0, 10, 100, len(good) // 2, len(good) - 1):
            Path(p[1]).write_bytes(good[:cut])
            self.fails(1, p[1], "merge", "-q", *p, "-o", "m.npy")
        Path(p[1]).write_bytes(good)
        self.ok("merge", "-q", *p, "-o", "m.npy")

    def test_crafted_parts(self):
        """Results that are whole, but not what the command keeps."""
        (p,) = self.parts(1, "segment", "a.fa", *WINDOW)
        header, blobs = read_part(p)
        self.assertGreater(len(blobs), 5)
        flags, rows = 0, 6  # of the numbers that a result begins with
        changes = [
            lambda b: b[:-8],
            lambda b: b + bytes(8),
            lambda b: b"",
            lambda b: b[:20],
            lambda b: number(b, flags, 0),
            lambda b: number(b, flags, 3),
            lambda b: number(b, rows, 2**63),
            lambda b: number(b, rows, 2**64 - 1),
            lambda b: number(b, rows + 1, 2**40),
            lambda b: number(b, rows + 3, 2**64 - 8),
            lambda b: number(b, rows + 3, 10**6),
        ]
        for change in changes:
            write_part("crafted", header, [*blobs[:1], change(blobs[1]), *blobs[2:]])
            self.fails(1, "crafted: .*a result is", "merge", "-q", "crafted", "-o", "m")
        write_part("crafted", header, blobs[:3])
        self.fails(1, "hold 2 units of", "merge", "-q", "crafted", "-o", "m")
        for broken in ["", "{}", "[", header[:50], header.replace('"kind": "segment"', '"kind": "info"'),
                       header.replace('"shard": 1', '"shard": 0'), header.replace('--window', '--widow')]:
            write_part("crafted", broken, blobs)
            self.fails(1, "ldar", "merge", "-q", "crafted", "-o", "m")
        write_part("crafted", header, blobs)
        self.ok("merge", "-q", "crafted", "-o", "m")

    def test_usage(self):
        for bad in ["0/2", "3/2", "1", "1/", "/2", "a/b", "1/2x", "-1/2", "1/99999999", ""]:
            self.fails(2, "--shard", "segment", "-m", TINY, "a.fa", f"--shard={bad}", "-o", "p")
        for option in (["--shard", "1/2"], ["--resume"]):
            self.fails(2, f"{option[0]}.*standard input", "segment", "-m", TINY, "-", *option, "-o", "p")
            self.fails(2, f"{option[0]}.*-o FILE", "segment", "-m", TINY, "a.fa", *option)
            self.fails(2, f"{option[0]}.*-o FILE", "segment", "-m", TINY, "a.fa", *option, "-o", "-")

    @plain_build_only
    def test_failing_shard(self):
        """Bad input found on the way leaves no part, and a shard of which nothing was computed nothing at all."""
        Path("bad.fa").write_text(">a\n" + dna(3000) + "\n>b\n" + dna(20) + "!\n")
        for i in (1, 2):
            self.fails(1, "'!' is no", "segment", "-q", "-m", TINY, "bad.fa", *WINDOW, "--shard", f"{i}/2", "-o", "p")
        self.fails(1, "'!' is no", "segment", "-q", "-m", TINY, "bad.fa", *WINDOW, "--resume", "-o", "p")
        self.fails(1, "none/p", "segment", "-q", "-m", TINY, "a.fa", "--resume", "-o", "none/p")


class Resume(Case):
    """Runs that are killed at any moment and resumed."""

    def setUp(self):
        super().setUp()
        self.records = [("a", dna(30000)), ("b", dna(5)), ("c", dna(20000)), ("e", "")]
        write_fasta("a.fa", self.records)

    def under_fire(self, words, seconds, draw):
        """Kills the run a few times at random moments of the `seconds` that it takes, then lets it end."""
        killed = 0
        for last in (False, False, False, True):
            process = subprocess.Popen(PROGRAM + [str(w) for w in words], stderr=subprocess.PIPE, env=environment())
            if not last:
                try:
                    process.wait(timeout=seconds * draw.random())
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
            stderr = process.communicate()[1].decode()
            self.assertIn(process.returncode, (0,) if last else (0, -signal.SIGKILL), stderr)
            killed += process.returncode != 0
        return killed

    def check(self, suffix, *arguments, model=TINY, window=300):
        draw = random.Random(SEED)
        words = ["-q", "-m", model, "-@", 1, "--window", window]
        began = time.monotonic()
        self.ok(*arguments, *words, "-o", f"one{suffix}")
        seconds = time.monotonic() - began
        killed = self.under_fire([*arguments, *words, "--resume", "-o", f"all{suffix}"], seconds, draw)
        self.assertEqual(Path(f"all{suffix}").read_bytes(), Path(f"one{suffix}").read_bytes())
        for i in (1, 2):
            shard = [*arguments, *words, "--resume", "--shard", f"{i}/2", "-o", f"p{i}"]
            killed += self.under_fire(shard, seconds / 2, draw)
        self.ok("merge", "-q", "p2", "p1", "-o", f"m{suffix}")
        self.assertEqual(Path(f"m{suffix}").read_bytes(), Path(f"one{suffix}").read_bytes())
        self.assertEqual(list(Path().glob("*.part")), [])
        self.assertGreater(killed, 0)

    @plain_build_only
    def test_embed(self):
        self.check(".npy", "embed", "a.fa")

    def test_segment(self):
        self.check(".bed", "segment", "a.fa")

    @plain_build_only
    def test_predict(self):
        write_headed("classifier", TINY, {"classes": json.dumps(["x", "y"])}, 2)
        self.check(".tsv", "predict", "a.fa", model="classifier")

    @plain_build_only
    def test_score(self):
        write_fasta("g.fa", self.records[:1])
        rows = [(i + 1, c, "ACGT"["ACGT".index(c) - 1]) for i, c in enumerate(self.records[0][1]) if i % 300 == 0]
        lines = ["##fileformat=VCFv4.2", "##contig=<ID=a,length=30000>"]
        lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
        lines += [f"a\t{at}\t.\t{ref}\t{alt}\t.\t.\t." for at, ref, alt in rows]
        Path("v.vcf").write_text("\n".join(lines) + "\n")
        self.check(".vcf", "score", "-f", "g.fa", "v.vcf", window=1024)

    def kept(self, output="out.bed", *more):
        """Starts a run and kills it once it keeps results."""
        words = ["segment", "-m", TINY, "-q", "-@", 1, "a.fa", "--window", 64, "--overlap", 32, "--resume", *more]
        process = subprocess.Popen(PROGRAM + [str(w) for w in [*words, "-o", output]], env=environment())
        part = Path(f"{output}.part")
        while process.poll() is None and not (part.exists() and part.stat().st_size > 20000):
            time.sleep(0.01)
        process.kill()
        process.wait()
        self.assertNotEqual(process.returncode, 0, "ended before it could be killed")
        return words, part

    @plain_build_only
    def test_goes_on(self):
        """What was computed is not computed again."""
        words, part = self.kept()
        words.remove("-q")
        said = self.ok(*words, "-o", "out.bed").stderr
        self.assertRegex(said, r"out.bed.part holds [1-9]\d* of the results already")
        self.ok(*[w for w in words if w != "--resume"], "-o", "one.bed")
        self.assertEqual(Path("out.bed").read_bytes(), Path("one.bed").read_bytes())

    def test_other_run(self):
        words, part = self.kept()
        before = part.read_bytes()
        more = ["--overlap", 16]
        self.fails(1, "out.bed.part: holds results of another run: its command", *words, *more, "-o", "out.bed")
        write_fasta("a.fa", [("a", dna(30000))])
        self.fails(1, "holds results of another run: its number of records", *words, "-o", "out.bed")
        self.assertEqual(part.read_bytes(), before)
        part.write_text("something else\n")
        self.fails(1, "out.bed.part: is no file of results", *words, "-o", "out.bed")

    @plain_build_only
    def test_two_at_once(self):
        words = ["segment", "-m", TINY, "-q", "-@", 1, "a.fa", "--window", 64, "--overlap", 32, "--resume"]
        process = subprocess.Popen(PROGRAM + [str(w) for w in [*words, "-o", "out.bed"]], env=environment())
        while not Path("out.bed.part").exists():
            self.assertIsNone(process.poll(), "ended before another could come")
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        result = program.run(*words, "-o", "out.bed")
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.wait(), 0)
        self.assertEqual(result.returncode, 1)
        self.assertIn("another process is writing it", result.stderr)

    @plain_build_only
    def test_complete_part(self):
        words = ["segment", "-m", TINY, "a.fa", "--shard", "1/2", "--resume", "-o", "p"]
        self.ok(*words)
        before = Path("p").stat()
        self.assertIn("p is complete", self.ok(*words).stderr)
        self.assertEqual(Path("p").stat().st_mtime_ns, before.st_mtime_ns)


if __name__ == "__main__":
    program.main()
