# SPDX-License-Identifier: Apache-2.0
"""The model that ships, which computes where -m is left out: where it is found, and what is said of it."""

import json
import os
import shutil
from pathlib import Path

import program
from program import PROGRAM, SHIPPED, TINY, Case, dna, results_of, write_fasta

NAME = SHIPPED.name


class Shipped(Case):
    """Copies of the program, with a small model in the place of the one that ships."""

    def setUp(self):
        super().setUp()
        write_fasta("a.fa", [("a", dna(3000))])

    def copy(self, folder, models=None):
        """The program in `folder`, and a model in `models` unless it is None."""
        Path(folder).mkdir(parents=True)
        copy = Path(folder, "ldar").absolute()
        shutil.copy(PROGRAM[-1], copy)
        if models:
            Path(models).mkdir(parents=True)
            self.ok("convert", "-q", TINY, "-o", Path(models, NAME))
        return copy

    def commands(self):
        """Each command that reads a model, writing to the standard output or to out."""
        return [
            ["segment", "a.fa"],
            ["embed", "a.fa", "-o", "out"],
            ["logits", "a.fa", "-o", "out"],
            ["evaluate", "--mlm", "a.fa", "-o", "json"],
        ]

    def result(self, arguments, **options):
        """What a command computes, and its provenance as text."""
        found = self.ok(*arguments, **options)
        if arguments[0] == "segment":
            return results_of(found.stdout), found.stdout.splitlines()[0].decode(), found.stderr
        if arguments[0] == "evaluate":
            row = json.loads(found.stdout)
            return {k: row[k] for k in ("loss", "accuracy", "ratio")}, json.dumps(row), found.stderr
        return Path("out").read_bytes(), Path("out.json").read_text(), found.stderr

    def check(self, copy, model):
        """The program computes as with -m MODEL, says which model, and writes that into what it makes."""
        sha256 = json.loads(self.ok("info", "--json", model).stdout)["sha256"]
        for arguments in self.commands():
            expected, _, silence = self.result([*arguments, "-q", "-m", model])
            self.assertEqual(silence, "")
            found, provenance, said = self.result(arguments, program=copy)
            self.assertEqual(found, expected)
            self.assertIn(str(Path(model).resolve()), provenance)
            self.assertIn(sha256, provenance)
            lines = [line for line in said.splitlines() if NAME in line]
            self.assertEqual(len(lines), 1, said)
            self.assertIn(f"the model that ships: {Path(model).resolve()}", lines[0])
            _, provenance, silence = self.result([*arguments, "-q"], program=copy)
            self.assertEqual(silence, "")
            self.assertIn(sha256, provenance)

    def test_installed(self):
        self.check(self.copy("usr/bin", "usr/share/ldar"), f"usr/share/ldar/{NAME}")

    def test_moved_and_linked(self):
        self.copy("usr/bin", "usr/share/ldar")
        os.rename("usr", "opt")
        Path("elsewhere").mkdir()
        os.symlink("../opt/bin/ldar", "elsewhere/ldar")
        _, provenance, _ = self.result(["segment", "a.fa"], program=Path("elsewhere/ldar").absolute())
        self.assertIn(str(Path("opt/share/ldar", NAME).resolve()), provenance)

    def test_named_model_takes_its_place(self):
        copy = self.copy("usr/bin", "usr/share/ldar")
        shutil.copy(TINY, "named.safetensors")
        for arguments in self.commands():
            _, provenance, said = self.result([*arguments, "-m", "named.safetensors"], program=copy)
            self.assertIn("named.safetensors", provenance)
            self.assertNotIn(NAME, provenance + said)

    def test_missing(self):
        copy = self.copy("empty")
        for arguments in self.commands():
            self.fails(1, f"{NAME}, is missing.*name a model with -m MODEL", *arguments, program=copy)
            self.ok(*arguments, "-m", TINY, program=copy)
        # Wrong usage is told first, and what reads no model needs none.
        self.fails(2, "--mlm GENOME.fa", "evaluate", program=copy)
        self.ok("segment", "--help", program=copy)
        self.ok("info", program=copy)

    def test_damaged(self):
        copy = self.copy("usr/bin", "usr/share/ldar")
        Path("usr/share/ldar", NAME).write_bytes(b"no model")
        self.fails(1, NAME, "segment", "a.fa", program=copy)

    def test_is_not_written_over(self):
        copy = self.copy("usr/bin", "usr/share/ldar")
        before = Path("usr/share/ldar", NAME).read_bytes()
        for command in ("segment", "embed", "logits"):
            self.fails(2, "would be replaced", command, "a.fa", "-o", f"usr/share/ldar/{NAME}", program=copy)
        self.assertEqual(Path("usr/share/ldar", NAME).read_bytes(), before)

    def test_help_says_so(self):
        for command in ("segment", "embed", "logits", "evaluate"):
            self.assertIn("the model that ships", " ".join(self.ok(command, "--help").stdout.decode().split()))
        for command in ("bench", "pretrain", "info"):
            self.assertNotIn("the model that ships", " ".join(self.ok(command, "--help").stdout.decode().split()))


if __name__ == "__main__":
    program.main()
