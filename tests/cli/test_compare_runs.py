# SPDX-License-Identifier: Apache-2.0
"""scripts/compare-runs.py: which runs agree, and what a table says of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import program
from program import SOURCE, Case

SCRIPT = SOURCE / "scripts" / "compare-runs.py"


def write_run(name, loss=1.0, compression=4.0, positions=100, steps=60, boundaries="learned"):
    folder = Path(name)
    folder.mkdir()
    arguments = ["--batch=2", "--accumulate=3", "--window=1000", f"--output={name}", f"--boundaries={boundaries}"]
    (folder / "run.json").write_text(json.dumps(dict(arguments=arguments + ["--", "a.fa"])))
    lines = [dict(step=i, loss=9 if i <= 10 else loss, mlm=loss - 0.03, compression=compression)
             for i in range(1, steps + 1)]  # fmt: skip
    lines.append(dict(step=40, validation_loss=1.5, validation_accuracy=0.4, validation_compression=compression,
                      validation_positions=positions))  # fmt: skip
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def compare(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


class CompareRuns(Case):
    def setUp(self):
        super().setUp()
        write_run("first")

    def judge(self, **changes):
        write_run("second", **changes)
        return compare("--agree", "first", "second")

    def test_table(self):
        write_run("second", compression=5.0, boundaries="every:5")
        result = compare("first", "second")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("--boundaries: learned, every:5\n", result.stdout)
        self.assertNotIn("--output", result.stdout)
        self.assertIn("| first | 60 | 0.4 | 0.09 | 1.0000 | 0.9700 | 4.00 |\n", result.stdout)
        self.assertIn("| 40 | 0.2 | 1.5000 | 1.5000 | 0.4000 | 0.4000 | 4.00 | 5.00 |\n", result.stdout)

    def test_agree(self):
        result = self.judge(loss=1.009, compression=4.09)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_loss(self):
        result = self.judge(loss=1.011)
        self.assertEqual(result.returncode, 1)
        self.assertIn("the loss of second is +1.10 % off that of first", result.stdout)

    def test_compression(self):
        result = self.judge(compression=3.89)
        self.assertEqual(result.returncode, 1)
        self.assertIn("compression of second is -0.110", result.stdout)

    def test_not_comparable(self):
        for changes, complaint in [(dict(positions=101), "positions"), (dict(steps=49), "fewer than --last"),
                                   (dict(steps=61), "different numbers of steps")]:  # fmt: skip
            result = self.judge(**changes)
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr, complaint)
            shutil.rmtree("second")
        self.assertEqual(compare("first", "none").returncode, 1)


if __name__ == "__main__":
    program.main()
