# SPDX-License-Identifier: Apache-2.0
"""convert: checkpoints to models."""

import json
from pathlib import Path

import program
from program import GOLDEN, SOURCE, TINY, Case, Matrix, dna, write_fasta
from test_verify import read_tensors, write_tensors

CHECKPOINTS = sorted((SOURCE / "tests" / "io" / "data").glob("*.pt"))
SHARED_PROJECTIONS = (".bwd.in_proj", ".bwd.out_proj")


class Convert(Case):
    def test_tensors_are_kept(self):
        self.ok("convert", TINY, "-o", "m")
        before, after = read_tensors(TINY), read_tensors("m")
        self.assertEqual(set(after), {n for n in before if not any(p in n for p in SHARED_PROJECTIONS)})
        for name, tensor in after.items():
            self.assertEqual(tensor, before[name], name)
        self.ok("verify", "-q", "m", GOLDEN / "tiny-forward-L257.safetensors")

    def test_round_trip(self):
        self.ok("convert", "-q", TINY, "-o", "a")
        self.ok("convert", "-q", "a", "-o", "b")
        self.assertEqual(Path("a").read_bytes(), Path("b").read_bytes())
        self.ok("convert", "-q", TINY, "-o", "half", "--dtype", "bf16")
        self.ok("convert", "-q", "half", "-o", "again", "--dtype", "bf16")
        self.assertEqual(Path("half").read_bytes(), Path("again").read_bytes())

    def test_bf16_keeps_small_tensors(self):
        self.ok("convert", "-q", TINY, "-o", "half", "--dtype", "bf16")
        for name, (dtype, shape, data) in read_tensors("half").items():
            kept = len(shape) == 1 or any(w in name for w in ["conv1d", "routing_module", "residual_proj"])
            self.assertEqual(dtype, "F32" if kept else "BF16", name)
            if kept:
                self.assertEqual(data, read_tensors(TINY)[name][2], name)

    def test_in_place(self):
        Path("m").write_bytes(Path(TINY).read_bytes())
        self.ok("convert", "-q", "m", "-o", "m")
        self.ok("convert", "-q", TINY, "-o", "n")
        self.assertEqual(Path("m").read_bytes(), Path("n").read_bytes())

    def test_damaged(self):
        data = Path(TINY).read_bytes()
        for length in [0, 7, 8, 100, len(data) // 2, len(data) - 1]:
            Path("cut").write_bytes(data[:length])
            self.fails(1, "cut", "convert", "cut", "-o", "m")
        tensors = read_tensors(TINY)
        name = "backbone.encoder.layers.0.mixer.fwd.dt_bias"
        self.refused(name, {k: v for k, v in tensors.items() if k != name})
        self.refused("another", dict(tensors, another=("F32", [1], bytes(4))))
        self.refused(name, dict(tensors, **{name: ("F32", [1, 2], tensors[name][2])}))
        self.refused(name, dict(tensors, **{name: ("F32", [2], b"\xff" * 8)}))
        twin = name.replace("fwd.dt_bias", "bwd.in_proj.weight")
        changed = bytearray(tensors[twin][2])
        changed[2] ^= 0x40
        self.refused("in_proj", dict(tensors, **{twin: (*tensors[twin][:2], changed)}))

    def refused(self, pattern, tensors):
        config = json.loads(self.ok("info", TINY, "--json").stdout)["config"]
        Path("config.json").write_text(json.dumps(config))
        write_tensors("bad", tensors)
        self.fails(1, pattern, "convert", "bad", "--config", "config.json", "-o", "m")

    def test_configuration(self):
        write_tensors("bare", read_tensors(TINY))
        self.fails(1, "--config|config", "convert", "bare", "-o", "m")
        Path("config.json").write_text(json.dumps(json.loads(self.ok("info", TINY, "--json").stdout)["config"]))
        self.ok("convert", "-q", "bare", "--config", "config.json", "-o", "m")
        self.ok("convert", "-q", TINY, "-o", "n")
        self.assertEqual(Path("m").read_bytes(), Path("n").read_bytes())
        self.fails(1, "bare", "convert", "bare", "--preset", "2m", "-o", "o")
        self.fails(1, "config", "convert", TINY, "--preset", "2m", "-o", "o")
        self.fails(2, "exclude", "convert", TINY, "--preset", "2m", "--config", "config.json", "-o", "o")

    def test_usage(self):
        self.fails(2, "-o MODEL", "convert", TINY)
        self.fails(2, "standard output", "convert", TINY, "-o", "-")
        self.fails(1, "none.pt", "convert", "none.pt", "-o", "m")
        Path("old.pt").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
        self.fails(1, "old.pt", "convert", "old.pt", "-o", "m")

    @program.unittest.skipUnless(CHECKPOINTS, "no checkpoints in tests/io/data")
    def test_checkpoints(self):
        """A checkpoint that can be read gives a model that can be used; one that cannot gives an error."""
        read = 0
        write_fasta("a.fa", [("a", dna(100))])
        for path in CHECKPOINTS:
            result = program.run("convert", "-q", path, "-o", "m")
            if result.returncode == 0:
                read += 1
                self.ok("embed", "-q", "-m", "m", "a.fa", "-o", "o.npy")
                self.assertEqual(Matrix("o.npy").rows, 100)
                Path("m").unlink()
            else:
                self.assertEqual(result.returncode, 1, path.name)
                self.assertEqual(len(result.stderr.splitlines()), 1)
                self.assertFalse(Path("m").exists())
        self.assertGreater(read, 0)


if __name__ == "__main__":
    program.main()
