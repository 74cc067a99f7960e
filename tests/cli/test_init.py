# SPDX-License-Identifier: Apache-2.0
"""init: new models."""

import json
import os
import resource
from pathlib import Path

import program
from program import Case

SMALL = dict(
    arch_layout=["m1", ["M1"], "m1"],
    d_model=[32, 64],
    d_intermediate=[0, 64],
    vocab_size=7,
    ssm_cfg=dict(chunk_size=256, d_conv=4, d_state=16, expand=2),
    attn_cfg=dict(num_heads=[1, 1], rotary_emb_dim=[32, 32], window_size=[-1, -1]),
    tie_embeddings=False,
)


class Init(Case):
    def setUp(self):
        super().setUp()
        Path("small.json").write_text(json.dumps(SMALL))

    def test_preset(self):
        self.ok("init", "--preset", "2m", "-o", "m.safetensors")
        info = json.loads(self.ok("info", "m.safetensors", "--json").stdout)
        self.assertEqual(info["parameters"], 2011288)
        self.assertEqual(info["config"]["arch_layout"], ["m3t1", ["M6"], "m3"])
        self.assertEqual(info["dtype"], "f32")

    def test_seed(self):
        for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
            self.ok("init", "--config", "small.json", "--seed", seed, "-o", name)
        a, b, c = (Path(n).read_bytes() for n in "abc")
        self.assertEqual(a, b)
        self.assertNotEqual(a, c)

    def test_bf16(self):
        self.ok("init", "--config", "small.json", "-o", "f32")
        self.ok("init", "--config", "small.json", "-o", "bf16", "--dtype", "bf16")
        self.assertLess(os.path.getsize("bf16"), 0.7 * os.path.getsize("f32"))
        self.assertEqual(json.loads(self.ok("info", "bf16", "--json").stdout)["dtype"], "bf16")

    def test_usage(self):
        self.fails(2, "either --preset", "init", "-o", "m")
        self.fails(2, "either --preset", "init", "-o", "m", "--preset", "2m", "--config", "small.json")
        self.fails(2, "--preset.*110m.2m", "init", "-o", "m", "--preset", "3b")
        self.fails(2, "-o MODEL", "init", "--preset", "2m")
        self.fails(2, "standard output", "init", "--preset", "2m", "-o", "-")

    def test_hostile_configurations(self):
        def config(**changes):
            Path("bad.json").write_text(json.dumps({**SMALL, **changes}))
            return ["init", "--config", "bad.json", "-o", "m"]

        Path("bad.json").touch()
        self.fails(1, "bad.json", *config(d_model=[0, 64]))
        self.fails(1, "bad.json", *config(d_model=[64, 32]))
        self.fails(1, "bad.json", *config(d_model=[-1, 32]))
        self.fails(1, "bad.json", *config(d_model=[10**30, 10**30]))
        self.fails(1, "bad.json", *config(arch_layout=["q1", ["M1"], "m1"]))
        self.fails(1, "bad.json", *config(arch_layout=["m999999999", ["M1"], "m1"]))
        self.fails(1, "bad.json", *config(vocab_size=8))
        for text in ["", "{", "[]", "null", "{" * 100000, '{"d_model": 1e999}', "\0" * 10]:
            Path("bad.json").write_text(text)
            self.fails(1, "bad.json", "init", "--config", "bad.json", "-o", "m")
        Path("bad.json").write_bytes(b" " * (1 << 21))
        self.fails(1, "bad.json.*1 MiB", "init", "--config", "bad.json", "-o", "m")
        self.fails(1, "none.json", "init", "--config", "none.json", "-o", "m")
        self.fails(1, r"\.", "init", "--config", ".", "-o", "m")

    def test_nowhere_to_write(self):
        self.fails(1, "none/m", "init", "--config", "small.json", "-o", "none/m")
        self.fails(1, "/dev/full", "init", "--config", "small.json", "-o", "/dev/full")

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        self.fails(1, "m: ", "init", "--config", "small.json", "-o", "m", preexec_fn=limit)

    def test_failure_keeps_what_was_there(self):
        Path("m").write_text("precious")
        Path("bad.json").write_text("{}")
        self.fails(1, "bad.json", "init", "--config", "bad.json", "-o", "m")
        self.assertEqual(Path("m").read_text(), "precious")


if __name__ == "__main__":
    program.main()
