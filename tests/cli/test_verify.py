# SPDX-License-Identifier: Apache-2.0
"""verify: golden files on every instruction set, and that wrong ones are told."""

import json
import re
import struct
from pathlib import Path

import program
from program import GOLDEN, TINY, Case, environment, native_only, run, running_isas

L64 = GOLDEN / "tiny-forward-L64.safetensors"
TRAIN = GOLDEN / "tiny-train.safetensors"
GRADIENT = "grad.backbone.encoder.rmsnorm.weight"
STEPPED = "adamw2.backbone.encoder.rmsnorm.weight"


def read_tensors(path):
    data = Path(path).read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        tensors[name] = (tensor["dtype"], tensor["shape"], bytearray(data[start + begin : start + end]))
    return tensors


def write_tensors(path, tensors):
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = dict(dtype=dtype, shape=shape, data_offsets=[offset, offset + len(data)])
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t[2] for t in tensors.values()))


def models(kind="forward-*"):
    """Each model with its golden files, by default those of the forward pass."""
    for folder in (GOLDEN, GOLDEN / "shapes"):
        for model in sorted(folder.glob("*.safetensors")):
            golden = sorted(folder.glob(f"{model.stem}-{kind}.safetensors"))
            if golden:
                yield model, golden


def lines_of(path, bf16=False):
    """How many lines a golden file of training has in the table."""
    kinds = [name.split(".")[0] for name in read_tensors(path)]
    return sum(kind in ("loss", "mlm", "ratio", "grad") or (kind == "adamw2" and not bf16) for kind in kinds)


class Verify(Case):
    def test_golden_files(self):
        found = list(models())
        self.assertGreaterEqual(len(found), 2)
        for isa in running_isas():
            for model, golden in found:
                with self.subTest(isa=isa, model=model.stem):
                    result = run("verify", "-q", model, *golden, env=environment(LDAR_ISA=isa))
                    text = result.stdout.decode()
                    self.assertEqual((result.returncode, result.stderr), (0, ""), text)
                    self.assertEqual(len(text.splitlines()), sum(len(read_tensors(g)) - 1 for g in golden))
                    self.assertNotIn("OUT OF BOUNDS", text)

    def test_training_files(self):
        found = list(models("train"))
        self.assertGreaterEqual(len(found), 2)
        for model, golden in found:
            with self.subTest(model=model.stem):
                result = run("verify", "-q", model, *golden)
                text = result.stdout.decode()
                self.assertEqual((result.returncode, result.stderr), (0, ""), text)
                self.assertEqual(len(text.splitlines()), sum(map(lines_of, golden)))
                self.assertNotIn("OUT OF BOUNDS", text)

    def test_training_in_bf16(self):
        """The gradients, and nothing of the steps."""
        lines = self.ok("verify", "-q", "--dtype", "bf16", TINY, TRAIN).stdout.decode().splitlines()
        self.assertEqual(len(lines), lines_of(TRAIN, bf16=True))
        self.assertTrue(all(line.endswith("  ok") for line in lines))

    def test_every_gemm(self):
        for gemm in ["packed", "onednn", "cblas", "reference"]:
            result = run("verify", "-q", TINY, L64, "--gemm", gemm)
            if "not in this build" in result.stderr:
                continue
            self.assertEqual(result.returncode, 0, result.stderr)

    @native_only
    def test_wrong_values(self):
        """A change of each tensor beyond its bound is found, and named."""
        for name, change in [("logits", 0.01), ("hidden", 0.01), ("encoder", 0.01), ("chunks", 0.01), ("prob", 1e-4)]:
            tensors = read_tensors(L64)
            data = tensors[name][2]
            (value,) = struct.unpack_from("<f", data, 40)
            struct.pack_into("<f", data, 40, value + change)
            self.expect_outside(name, tensors)
            struct.pack_into("<f", data, 40, float("nan"))
            self.expect_outside(name, tensors)
        tensors = read_tensors(L64)
        tensors["boundary"][2][5] ^= 1
        self.expect_outside("boundary", tensors)

    @native_only
    def test_wrong_training_values(self):
        """A change of each kind beyond its bound is found, and named."""
        for name, change in [("loss", 1e-5), ("mlm", 1e-5), ("ratio", 1e-5), (GRADIENT, 1e-4), (STEPPED, 1e-3)]:
            tensors = read_tensors(TRAIN)
            data = tensors[name][2]
            (value,) = struct.unpack_from("<f", data, 0)
            for wrong in (value + change, float("nan")):
                struct.pack_into("<f", data, 0, wrong)
                self.expect_outside(name, tensors)

    @native_only
    def test_parameters_that_are_none(self):
        tensors = read_tensors(TRAIN)
        tensors["grad.nothing"] = tensors[GRADIENT]
        self.expect_outside("grad.nothing", tensors)
        tensors = read_tensors(TRAIN)
        dtype, shape, data = tensors[GRADIENT]
        tensors[GRADIENT] = (dtype, shape + [1], data)
        self.expect_outside(GRADIENT, tensors)

    def test_some_of_training_suffices(self):
        tensors = read_tensors(TRAIN)
        batch = [f"{kind}.{i}" for kind in ("ids", "labels") for i in range(3)]
        write_tensors("some", {k: tensors[k] for k in batch + ["mlm", GRADIENT]})
        self.assertEqual(len(self.ok("verify", TINY, "some").stdout.splitlines()), 2)

    def test_no_training_files(self):
        def refuse(pattern, **changes):
            tensors = dict(read_tensors(TRAIN), **{k.replace("_", "."): v for k, v in changes.items()})
            write_tensors("bad", {k: v for k, v in tensors.items() if v})
            self.fails(1, pattern, "verify", TINY, "bad")

        refuse("bad: .*labels.1 is missing", labels_1=None)
        refuse("bad: labels.1 has 1 elements, ids.1 33", labels_1=("I64", [1], struct.pack("<q", 0)))
        refuse(r"bad: ids.0\[0\] is 7, which is no symbol", ids_0=("I64", [1], struct.pack("<q", 7)),
               labels_0=("I64", [1], struct.pack("<q", 0)))  # fmt: skip
        refuse(r"bad: labels.0\[0\] is 4, which is no label", ids_0=("I64", [1], struct.pack("<q", 3)),
               labels_0=("I64", [1], struct.pack("<q", 4)))  # fmt: skip
        refuse("bad: tensor ids.2 is not a vector of I64", ids_2=("U8", [1], b"0"))

    def expect_outside(self, name, tensors):
        write_tensors("wrong", tensors)
        result = self.fails(1, "1 tensors? (is|are) out of bounds", "verify", TINY, L64, "wrong")
        outside = [l for l in result.stdout.decode().splitlines() if "OUT OF BOUNDS" in l]
        self.assertEqual(len(outside), 1)
        self.assertRegex(outside[0], rf"^wrong +{re.escape(name)} ")

    def test_some_tensors_suffice(self):
        tensors = read_tensors(L64)
        write_tensors("some", {k: tensors[k] for k in ["ids", "prob"]})
        self.assertEqual(len(self.ok("verify", TINY, "some").stdout.splitlines()), 1)

    def test_wrong_shapes(self):
        tensors = read_tensors(L64)
        dtype, shape, data = tensors["chunks"]
        tensors["chunks"] = (dtype, [shape[1], shape[0]], data)
        self.expect_outside("chunks", tensors)

    def test_no_golden_files(self):
        tensors = read_tensors(L64)
        write_tensors("bare", {"ids": tensors["ids"]})
        self.fails(1, "bare: .*nothing to compare", "verify", TINY, "bare")
        write_tensors("without", {"logits": tensors["logits"]})
        self.fails(1, "without: .*ids is missing", "verify", TINY, "without")
        wild = dict(tensors, ids=("I64", [1], struct.pack("<q", 7)))
        write_tensors("wild", wild)
        self.fails(1, r"wild: ids\[0\] is 7", "verify", TINY, "wild")
        typed = dict(tensors, logits=("F16", [64, 7], bytes(64 * 7 * 2)))
        write_tensors("typed", typed)
        self.fails(1, "typed: tensor logits is not F32", "verify", TINY, "typed")
        Path("empty").touch()
        self.fails(1, "empty", "verify", TINY, "empty")
        self.fails(1, "none", "verify", TINY, "none")
        self.fails(2, "a file is missing", "verify", TINY)

    def test_a_bad_file_does_not_hide_the_others(self):
        result = run("verify", TINY, "none", L64)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(len(result.stdout.splitlines()), 6)


if __name__ == "__main__":
    program.main()
