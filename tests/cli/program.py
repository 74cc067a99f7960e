# SPDX-License-Identifier: Apache-2.0
"""What the tests of the program share: running it, its files, and test cases in a folder of their own."""

import array
import json
import os
import random
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

SOURCE = Path(os.environ.get("LDAR_SOURCE_DIR", Path(__file__).resolve().parents[2]))
SHARED = Path(os.environ.get("LDAR_SHARED", SOURCE.parent / "shared"))
PROGRAM = shlex.split(os.environ.get("LDAR_EMULATOR", "").replace(";", " ")) + [
    os.environ.get("LDAR_PROGRAM", str(SOURCE / "build" / "ldar"))
]
GOLDEN = SOURCE / "tests" / "golden"
TINY = GOLDEN / "tiny.safetensors"
TINY_WIDTH = 64
SHIPPED = SOURCE / "models" / "ldar-2m.safetensors"
SEED = int(os.environ.get("LDAR_TEST_SEED", "1"))
CHECK_FULL = bool(os.environ.get("LDAR_CHECK_FULL"))  # what slow builds leave out runs in them, too

# What started the tests may have been told to ignore these, as nohup does; the program would ignore them too.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

COMMANDS = ["init", "convert", "info", "verify", "embed", "logits", "segment", "score", "scan", "profile", "merge"]
COMMANDS += ["pretrain", "finetune", "predict", "evaluate", "bench"]


def is_sanitized():
    """Whether the program carries AddressSanitizer, under which all takes longer, and more memory."""
    return b"__asan_init" in Path(PROGRAM[-1]).read_bytes()


def is_emulated():
    return len(PROGRAM) > 1


def plain_build_only(test):
    """
    Of a test that checks numbers or repeats what others do: sanitizers, which make it ten times as long, see its code
    in those others. LDAR_CHECK_FULL=1: in every build.
    """
    return unittest.skipIf(is_sanitized() and not CHECK_FULL, "the sanitizers see this code in other tests")(test)


def native_only(test):
    """Of a test of what no instruction set changes: under an emulator, unless LDAR_CHECK_FULL=1, it is left out."""
    return unittest.skipIf(is_emulated() and not CHECK_FULL, "the same on every instruction set")(test)


def environment(**changes):
    env = {k: v for k, v in os.environ.items() if k != "LDAR_ISA"}
    env.update(changes)
    return env


def run(*arguments, env=None, program=None, **options):
    """Runs the program, or a copy of it; stdout and stderr are bytes and text."""
    words = PROGRAM if program is None else PROGRAM[:-1] + [str(program)]
    result = subprocess.run(
        words + [str(a) for a in arguments], env=env or environment(), capture_output=True, timeout=280, **options
    )
    result.stderr = result.stderr.decode()
    return result


def isas_of_this_machine():
    return json.loads(run("info", "--json").stdout)["isas"]


def running_isas():
    """Those to go through: of those of this machine the ones that LDAR_TEST_ISAS names, or all."""
    isas = isas_of_this_machine()
    named = os.environ.get("LDAR_TEST_ISAS", "").split()
    return [isa for isa in isas if isa in named] or isas


def multiplies_bf16(isa):
    return isa.endswith("bf16")


# ---- sequences ----

generator = random.Random(SEED)


def dna(length, letters="ACGT"):
    return "".join(generator.choice(letters) for _ in range(length))


def write_fasta(path, records, width=61, newline="\n", last_newline=True):
    lines = []
    for name, sequence in records:
        lines.append(">" + name)
        lines += [sequence[i : i + width] for i in range(0, len(sequence), width)]
    text = newline.join(lines) + (newline if last_newline else "")
    Path(path).write_bytes(text.encode())
    return Path(path)


def write_fastq(path, records):
    text = "".join(f"@{name} read\n{s}\n+\n{'I' * len(s)}\n" for name, s in records)
    Path(path).write_bytes(text.encode())
    return Path(path)


BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def bgzf(data, block=4000):
    """Blocked gzip as samtools writes it, in small blocks."""
    out = b""
    for i in range(0, len(data), block):
        part = data[i : i + block]
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflate.compress(part) + deflate.flush()
        size = len(body) + 25
        out += struct.pack("<4BI2BH2BHH", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, size)
        out += body + struct.pack("<II", zlib.crc32(part), len(part))
    return out + BGZF_END


# ---- models ----


def write_headed(path, model, metadata, outputs, seed=1):
    """A copy of a model file with a head, and this in its metadata beside the configuration."""
    data = Path(model).read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    draw = random.Random(seed)
    numbers = [draw.gauss(0, 0.02) for _ in range(outputs * (TINY_WIDTH + 1))]
    middle, end = outputs * TINY_WIDTH * 4, outputs * (TINY_WIDTH + 1) * 4
    at = len(data) - begin
    shapes = {"weight": ([outputs, TINY_WIDTH], 0, middle), "bias": ([outputs], middle, end)}
    for name, (shape, first, last) in shapes.items():
        offsets = [at + first, at + last]
        header[f"classifier.{name}"] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
    header["__metadata__"] = {k: header["__metadata__"][k] for k in ("format", "config")} | metadata
    text = json.dumps(header).encode()
    values = array.array("f", numbers)
    if sys.byteorder == "big":
        values.byteswap()
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data[begin:] + values.tobytes())
    return Path(path)


# ---- results ----


class Matrix:
    """A .npy file of float32 and the .json beside it."""

    def __init__(self, path, beside=True):
        data = Path(path).read_bytes()
        assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
        (length,) = struct.unpack("<H", data[8:10])
        header = data[10 : 10 + length].decode()
        assert (10 + length) % 64 == 0 and header.endswith("\n")
        fields = eval(header, {"__builtins__": {}})  # a Python literal by the format's definition
        assert fields["descr"] == "<f4" and fields["fortran_order"] is False
        self.rows, self.width = fields["shape"]
        self.bytes = data[10 + length :]
        assert len(self.bytes) == self.rows * self.width * 4
        self.json = json.loads(Path(f"{path}.json").read_text()) if beside else None

    def record(self, name):
        """The bytes of a record's rows."""
        (record,) = [r for r in self.json["records"] if r["name"] == name]
        size = self.width * 4
        return self.bytes[record["offset"] * size : (record["offset"] + record["rows"]) * size]

    def values(self):
        values = array.array("f", self.bytes)
        if sys.byteorder == "big":
            values.byteswap()
        return values


def read_bed(text):
    """(name, start, end, score) of each line; the header must say what made it."""
    lines = text.splitlines()
    assert lines[0].startswith("#ldar ") or lines[0].startswith("# ldar "), lines[0]
    rows = []
    for line in lines[1:]:
        name, start, end, dot, score, strand = line.split("\t")
        assert dot == "." and strand == "."
        rows.append((name, int(start), int(end), int(score)))
    return rows


def results_of(text):
    """What an output says but for its provenance."""
    return [line for line in text.splitlines() if not line.startswith(b"#")]


# ---- cases ----


class Case(unittest.TestCase):
    """A test in an empty folder, the current one."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ldar-cli-"))
        self.back = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(self.leave)

    def leave(self):
        os.chdir(self.back)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ok(self, *arguments, **options):
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, 0, f"{arguments}: {result.stderr}")
        return result

    def fails(self, status, pattern, *arguments, **options):
        """The status, one line of error that matches the pattern, and no new file."""
        before = sorted(self.folder.rglob("*"))
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, status, f"{arguments}: {result.stderr}")
        lines = [l for l in result.stderr.splitlines() if ": warning: " not in l]
        self.assertEqual(len(lines), 1, result.stderr)
        self.assertRegex(lines[0], r"^ldar( \w+)?: ")
        self.assertRegex(lines[0], pattern)
        self.assertEqual(sorted(self.folder.rglob("*")), before, "a failed run left a file")
        return result

    def embed(self, source, output="out.npy", *more, **options):
        self.ok("embed", "-q", "-m", TINY, source, "-o", output, *more, **options)
        return Matrix(output)

    def segment(self, source, *more, **options):
        return self.ok("segment", "-q", "-m", TINY, source, *more, **options).stdout


def main():
    print(f"LDAR_TEST_SEED={SEED}", flush=True)
    unittest.main(verbosity=1)
