# SPDX-License-Identifier: Apache-2.0
"""test_pretrain_mpi.py LAUNCHER: `ldar pretrain` in several processes; exit status 77 without a launcher."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from test_mpi import ENVIRONMENT, NOBODY_WAITS_LONGER, running

LAUNCHER = ""
PROGRAM = os.environ.get("LDAR_PROGRAM", "")
CONFIG = dict(
    arch_layout=["m1", ["T1"], "m1"],
    d_model=[32, 32],
    d_intermediate=[0, 64],
    vocab_size=7,
    ssm_cfg=dict(chunk_size=256, d_conv=4, d_state=16, expand=2),
    attn_cfg=dict(num_heads=[1, 1], rotary_emb_dim=[32, 32], window_size=[-1, -1]),
    tie_embeddings=False,
)
PLAN = ["--config", "small.json", "--window", "128", "--batch", "2", "--accumulate", "5", "--hold-out", "b:1001-4000"]
PLAN += ["--validate-every", "7", "--validation-windows", "9", "--seed", "5", "-@", "1", "a.fa"]
STEPS = 120  # of a run that is stopped after 40
MARKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")


def rank_of(process, folder):
    """The rank of a process of this program under a launcher in this folder, or None."""
    try:
        same = os.path.samefile
        if not same(f"/proc/{process}/exe", PROGRAM) or not same(f"/proc/{process}/cwd", folder):
            return None
        environment = Path(f"/proc/{process}/environ").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    values = dict(item.partition("=")[::2] for item in environment)
    return next((int(values[mark]) for mark in MARKS if mark in values), None)


class Pretrain(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "small.json").write_text(json.dumps(CONFIG))
        generator = random.Random(1)
        sequences = ["".join(generator.choice("ACGGT") for _ in range(6000)) for _ in range(2)]
        (self.folder / "a.fa").write_text(">a\n%s\n>b\n%s\n" % tuple(sequences))

    def launch(self, ranks, *arguments):
        launcher = [LAUNCHER, "-n", str(ranks)] if ranks > 0 else []
        return subprocess.Popen([*launcher, PROGRAM, "pretrain", *map(str, arguments)], env=ENVIRONMENT, text=True,
                                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def pretrain(self, ranks, *arguments):
        job = self.launch(ranks, *arguments)
        _, err = job.communicate(timeout=240)
        self.assertEqual(job.returncode, 0, err)
        return err

    def outcome(self, name):
        """The weights, and the log but for what depends on the clock."""
        lines = [json.loads(line) for line in (self.folder / name / "log.jsonl").read_text().splitlines()]
        for line in lines:
            line.pop("nt_per_s", None)
        return hashlib.sha256((self.folder / name / "model.safetensors").read_bytes()).hexdigest(), lines

    def test_bits(self):
        """0 ranks: without a launcher. With 6, one has no batch."""
        self.pretrain(0, *PLAN, "--steps", 20, "-o", "alone")
        expected = self.outcome("alone")
        self.assertEqual([line["step"] for line in expected[1] if "validation_loss" in line], [7, 14, 20])
        for ranks in (1, 2, 3, 4, 6):
            with self.subTest(ranks=ranks):
                err = self.pretrain(ranks, *PLAN, "--steps", 20, "-o", f"run{ranks}")
                self.assertEqual(self.outcome(f"run{ranks}"), expected)
                self.assertEqual(err.count("windows are drawn from"), 1, "rank 0 alone speaks")

    def broken(self, name, rank, number):
        """A run of three processes, one of which gets a signal on the way; returns what is said."""
        log = self.folder / name / "log.jsonl"
        for _ in range(10):  # on a busy machine a run may be over before this test gets to stop it
            job = self.launch(3, *PLAN, "--steps", STEPS, "--checkpoint-every", 10, "-o", name)
            while job.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 40):
                time.sleep(0.02)
            processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
            ranks = {rank_of(process, self.folder): process for process in processes}
            since = time.monotonic()
            with contextlib.suppress(KeyError, ProcessLookupError):
                os.kill(ranks[rank], number)
            _, err = job.communicate(timeout=NOBODY_WAITS_LONGER)
            while any(running(process) for mark, process in ranks.items() if mark is not None):
                self.assertLess(time.monotonic() - since, NOBODY_WAITS_LONGER)
                time.sleep(0.1)
            if job.returncode != 0 and log.read_bytes().count(b"\n") < STEPS:
                return err
            shutil.rmtree(self.folder / name)
        self.fail("ten runs were over before the signal")

    def test_interrupted(self):
        """Killed or asked to end, whichever rank it is: the run goes on to the same weights, in any number of ranks."""
        self.pretrain(0, *PLAN, "--steps", STEPS, "-o", "alone")
        expected = self.outcome("alone")
        for name, rank, number, resumed in (("a", 1, signal.SIGKILL, 2), ("b", 0, signal.SIGKILL, 0),
                                            ("c", 2, signal.SIGTERM, 4), ("d", 0, signal.SIGTERM, 3)):
            with self.subTest(name):
                err = self.broken(name, rank, number)
                if number == signal.SIGTERM:
                    self.assertRegex(err, rf"stopped after step \d+ of {STEPS}; this goes on: ldar pretrain --resume")
                self.pretrain(resumed, "--resume", name, "-@", 1)
                self.assertEqual(self.outcome(name), expected)

    def test_failures(self):
        """What fails in rank 0 alone ends all ranks; so does what differs between them."""
        (self.folder / "run").mkdir()
        (self.folder / "run" / "other").touch()
        job = self.launch(3, *PLAN, "--steps", 3, "-o", "run")
        _, err = job.communicate(timeout=NOBODY_WAITS_LONGER)
        self.assertNotEqual(job.returncode, 0)
        self.assertIn("run is not empty", err)
        job = self.launch(2, *PLAN, "--steps", 3, "--dry-run")
        _, err = job.communicate(timeout=NOBODY_WAITS_LONGER)
        self.assertNotEqual(job.returncode, 0)
        self.assertIn("--dry-run measures one process", err)
        (self.folder / "small.fa").write_text(">c\n" + "ACGT" * 1000 + "\n")
        job = subprocess.Popen(
            [LAUNCHER, "-n", "1", PROGRAM, "pretrain", *PLAN, "--steps", "3", "-o", "two", ":",
             "-n", "1", PROGRAM, "pretrain", *PLAN, "small.fa", "--steps", "3", "-o", "two"],
            env=ENVIRONMENT, text=True, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        _, err = job.communicate(timeout=NOBODY_WAITS_LONGER)
        self.assertNotEqual(job.returncode, 0)
        self.assertIn("rank 1 has another set of sequences than rank 0", err)
        self.assertFalse((self.folder / "two").exists())


if __name__ == "__main__":
    if len(sys.argv) < 2 or not Path(sys.argv[1]).exists() or not PROGRAM:
        sys.exit(77)
    LAUNCHER = sys.argv[1]
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
