# SPDX-License-Identifier: Apache-2.0
"""Hostile and odd files of sequences, through every command that reads them."""

import gzip
import os
from pathlib import Path

import program
from program import TINY, Case, dna, write_fastq


class Input(Case):
    def refused(self, pattern, data):
        Path("in").write_bytes(data)
        for command in ["embed", "logits", "segment"]:
            self.fails(1, pattern, command, "-q", "-m", TINY, "in", "-o", "out")
            stdin = pattern.replace("in:", "standard input:")
            self.fails(1, stdin, command, "-q", "-m", TINY, "-", "-o", "out", input=data)

    def test_letters(self):
        self.refused(r'in: .*"b".*\b7\b', b">a\nACGT\n>b\nACGTAC!T\n")
        self.refused(r"\b3\b", b">a\nAC\x00GT\n")
        self.refused(r"\b1\b", b">a\n\xc3\xa9\n")
        self.refused(r"\b5\b", b">a\nACGTZ\n")
        self.refused(r"\b5000\b", b">a\n" + dna(4999).encode() + b"@\n")

    def test_no_record(self):
        self.refused("in: ", b"")
        self.refused("in: ", b"\n\n\n")
        self.refused("in: ", gzip.compress(b""))
        self.refused("in: ", b"ACGT\n")
        self.refused("in: ", b"hello\n")
        self.refused("in: ", b"\x00" * 1000)
        self.refused("in: ", bytes(range(128, 256)))

    def test_cut_or_damaged_compression(self):
        text = (">a\n" + dna(20000) + "\n").encode()
        whole = gzip.compress(text)
        for length in [11, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1]:
            self.refused("in: ", whole[:length])
        blocks = program.bgzf(text)
        for length in [30, len(blocks) // 2, len(blocks) - 28, len(blocks) - 1]:
            self.refused("in: ", blocks[:length])
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0x10
        self.refused("in: ", bytes(flipped))
        flipped = bytearray(blocks)
        flipped[-40] ^= 0x10
        self.refused("in: ", bytes(flipped))

    def test_fastq(self):
        self.refused("in: ", b"@a\nACGT\n+\nIII\n")
        self.refused("in: ", b"@a\nACGT\n+\nIIIII\n")
        self.refused("in: ", b"@a\nACGT\n+\n")
        self.refused("in: ", b"@a\nACGT\n")
        self.refused("in: ", b"@a\nACGT\n+\nIIII\nACGT\n")

    def test_names(self):
        self.refused("in: ", b">\nACGT\n")
        self.refused("in: ", b">" + b"x" * 70000 + b"\nACGT\n")
        Path("in").write_bytes(b">a\nACGT\n>b\nAC\n>a\nGG\n")
        result = self.ok("segment", "-m", TINY, "in")
        self.assertRegex(result.stderr, "warning: .*a")
        names = [r[0] for r in program.read_bed(result.stdout.decode())]
        self.assertEqual(list(dict.fromkeys(names)), ["a", "b"])

    def test_odd_but_legal(self):
        Path("in").write_bytes(b"\r\n>a some text\r\nACGT\r\n\r\nacgu\r\n>b\r\nRYSWKMBDHVN-")
        rows = program.read_bed(self.segment("in").decode())
        self.assertEqual({r[0]: max(x[2] for x in rows if x[0] == r[0]) for r in rows}, {"a": 8, "b": 12})

    def test_not_files(self):
        self.fails(1, "none", "embed", "-q", "-m", TINY, "none", "-o", "out")
        self.fails(1, r"\.: ", "embed", "-q", "-m", TINY, ".", "-o", "out")
        if os.geteuid() != 0:
            Path("secret").write_text(">a\nACGT\n")
            os.chmod("secret", 0)
            self.fails(1, "secret", "embed", "-q", "-m", TINY, "secret", "-o", "out")

    def test_many_records(self):
        """More than one batch of short reads."""
        reads = [(f"r{i}", dna(100)) for i in range(300)]
        write_fastq("in", reads)
        rows = program.read_bed(self.segment("in").decode())
        self.assertEqual(list(dict.fromkeys(r[0] for r in rows)), [n for n, _ in reads])

    def test_names_with_a_break_do_not_break_the_line(self):
        self.fails(1, r"a\?b", "embed", "-q", "-m", TINY, "a\nb", "-o", "out")


if __name__ == "__main__":
    program.main()
