# SPDX-License-Identifier: Apache-2.0
"""info: the machine and models."""

import json
import re
from pathlib import Path

import program
from program import GOLDEN, TINY, Case, environment, running_isas, write_headed


class Info(Case):
    def test_machine(self):
        info = json.loads(self.ok("info", "--json").stdout)
        self.assertRegex(info["version"], r"^\d+\.\d+\.\d+$")
        self.assertIn(info["isa"], info["isas"])
        self.assertIn("scalar", info["isas"])
        self.assertRegex(info["gemm"], r"\w+ ")
        self.assertGreaterEqual(info["threads"], 1)
        self.assertEqual(info["device"], "cpu")
        text = self.ok("info").stdout.decode()
        for word in [info["version"], info["isa"], info["gemm"], "cpu"]:
            self.assertIn(word, text)

    def test_choices_are_seen(self):
        for isa in running_isas():
            info = json.loads(self.ok("info", "--json", env=environment(LDAR_ISA=isa)).stdout)
            self.assertEqual(info["isa"], isa)
        self.assertEqual(json.loads(self.ok("info", "--json", "-@", 3).stdout)["threads"], 3)
        built = re.search(r"built in: ([\w ]+)\)", self.ok("info").stdout.decode()).group(1).split()
        self.assertIn("packed", built)
        self.assertIn("reference", built)
        for gemm in built:
            info = json.loads(self.ok("info", "--json", "--gemm", gemm).stdout)
            self.assertIn(gemm.replace("cblas", "blas"), info["gemm"].lower())

    def test_model(self):
        info = json.loads(self.ok("info", TINY, "--json").stdout)
        config = json.loads(header(TINY)["__metadata__"]["config"])
        for key in ["arch_layout", "d_model", "d_intermediate", "vocab_size", "tie_embeddings"]:
            self.assertEqual(info["config"][key], config[key])
        self.assertEqual(info["parameters"], parameters(TINY))
        self.assertEqual(info["dtype"], "f32")
        self.assertIn("sha256", info)
        text = self.ok("info", TINY).stdout.decode()
        self.assertIn("m1t1 [ M2 ] m1", text)

    def test_head(self):
        names = ["TATA", 'non "TATA"', "жизнь"]
        write_headed("three", TINY, {"classes": json.dumps(names)}, 3)
        write_headed("value", TINY, {"target": 'log "expression"'}, 1)
        for model, kind, expected in [("three", "classes", names), ("value", "value", ['log "expression"'])]:
            self.ok("convert", "-q", model, "-o", "whole", "--dtype", "bf16")
            for path in [model, "whole"]:
                info = json.loads(self.ok("info", path, "--json").stdout)
                self.assertEqual(info["head"], {"kind": kind, "outputs": len(expected), "parts": 1, "names": expected})
                self.assertEqual(info["parameters"], parameters(TINY) + len(expected) * 65)
        text = self.ok("info", "three").stdout.decode()
        self.assertRegex(text, r'(?m)^head +3 classes: "TATA", ?"non \\"TATA\\"", ?')
        self.assertRegex(self.ok("info", "value").stdout.decode(), r'(?m)^head +a value: log "expression"$')
        self.assertIsNone(json.loads(self.ok("info", TINY, "--json").stdout)["head"])
        self.assertNotIn("head  ", self.ok("info", TINY).stdout.decode())
        write_headed("twice", TINY, {"classes": json.dumps(["a", "b", "a"])}, 3)
        self.fails(1, "the class 'a' is named twice", "info", "twice")
        self.fails(1, "the class 'a' is named twice", "convert", "twice", "-o", "x")

    def test_head_changes_no_output(self):
        """What a model with a head computes is what it computes without, but for its name."""
        write_headed("m", TINY, {"classes": json.dumps(["a", "b"])}, 2)
        Path("a.fa").write_text(">a\nACGTTTACGGTAACGT\n")
        for command in ["embed", "logits"]:
            self.ok(command, "-q", "-m", "m", "a.fa", "-o", "with.npy")
            self.ok(command, "-q", "-m", TINY, "a.fa", "-o", "without.npy")
            self.assertEqual(Path("with.npy").read_bytes(), Path("without.npy").read_bytes())
        self.ok("segment", "-q", "-m", "m", "a.fa", "-o", "a.bed")

    def test_hash_of_our_own_files(self):
        self.ok("convert", "-q", TINY, "-o", "m")
        self.assertRegex(json.loads(self.ok("info", "m", "--json").stdout)["sha256"], r"^[0-9a-f]{64}$")

    def test_only_the_header_is_read(self):
        """Whatever stands in the tensors is not looked at: NaNs, which loading refuses, change nothing."""
        data = bytearray(Path(TINY).read_bytes())
        data[-400:] = b"\xff" * 400
        Path("nan").write_bytes(data)
        self.assertEqual(json.loads(self.ok("info", "nan", "--json").stdout)["parameters"], parameters(TINY))
        Path("a.fa").write_text(">a\nACGT\n")
        self.fails(1, "nan", "embed", "-m", "nan", "a.fa", "-o", "a.npy")

    def test_no_models(self):
        self.fails(1, "none", "info", "none")
        Path("empty").touch()
        self.fails(1, "empty", "info", "empty")
        Path("text").write_text("hello, world, this is no model at all")
        self.fails(1, "text", "info", "text", "--json")
        golden = GOLDEN / "tiny-forward-L5.safetensors"
        self.fails(1, golden.name, "info", golden)
        Path("cut").write_bytes(Path(TINY).read_bytes()[:-1])
        self.fails(1, "cut", "info", "cut")


def header(path):
    data = Path(path).read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def parameters(path):
    """Distinct ones: both directions share in_proj and out_proj."""
    total = 0
    for name, tensor in header(path).items():
        if name == "__metadata__" or ".bwd.in_proj" in name or ".bwd.out_proj" in name:
            continue
        count = 1
        for dimension in tensor["shape"]:
            count *= dimension
        total += count
    return total


if __name__ == "__main__":
    program.main()
