# SPDX-License-Identifier: Apache-2.0
"""test_mpi.py LAUNCHER RANK MODULE: jobs of one to four processes under a launcher of MPI; status 77 without one."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

LAUNCHER, RANK, MODULE = "", "", ""
NOBODY_WAITS_LONGER = 120  # seconds: long enough for a busy machine, short for those who would wait for ever

ENVIRONMENT = {
    **os.environ,
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    # Containers often forbid what shared memory between processes would use, and Open MPI then complains.
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    # What an MPI never frees is no leak of ours.
    "ASAN_OPTIONS": "detect_leaks=0",
}


def launch(ranks, *arguments, program=None):
    return subprocess.Popen([LAUNCHER, "-n", str(ranks), program or RANK, *arguments], env=ENVIRONMENT, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def running(process):
    """Whether there is such a process that is more than an entry in its parent's table."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Sums(unittest.TestCase):
    def test_bits(self):
        self.well("sums")

    def test_examples(self):
        """Fine-tuning together is fine-tuning alone; with eight processes some have no micro-batch."""
        self.well("examples", (1, 2, 3, 8))

    def well(self, what, counts=(1, 2, 3, 4)):
        for ranks in counts:
            with self.subTest(ranks=ranks):
                job = launch(ranks, what)
                out, err = job.communicate(timeout=240)
                self.assertEqual(job.returncode, 0, err)
                lines = sorted(line for line in out.splitlines() if line.startswith("rank "))
                # A single process is no job: it joins nobody, and is rank 0 of 1.
                self.assertEqual(lines, [f"rank {r} of {ranks}: well" for r in range(ranks)])


class Modules(unittest.TestCase):
    """Where the module is looked for, as seen from the program."""

    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        shutil.copy(RANK, folder.name)
        return Path(folder.name)

    def test_beside(self):
        for place in ("ldar", "lib/ldar"):
            with self.subTest(place=place):
                folder = self.folder()
                (folder / place).mkdir(parents=True)
                shutil.copy(MODULE, folder / place)
                job = launch(2, "words", program=folder / Path(RANK).name)
                _, err = job.communicate(timeout=60)
                self.assertEqual(job.returncode, 0, err)

    def test_missing(self):
        job = launch(2, "words", program=self.folder() / Path(RANK).name)
        _, err = job.communicate(timeout=60)
        if job.returncode == 0:
            self.skipTest("ldar is installed on this machine")
        self.assertIn("there is no ", err)
        self.assertIn(f"{Path(MODULE).name}: ldar was built without that MPI", err)

    def test_foreign(self):
        """A file that is no module is said to be none."""
        folder = self.folder()
        (folder / "ldar").mkdir()
        (folder / "ldar" / Path(MODULE).name).write_bytes(b"nothing")
        job = launch(2, "words", program=folder / Path(RANK).name)
        _, err = job.communicate(timeout=60)
        self.assertNotEqual(job.returncode, 0)
        self.assertIn("cannot open the module for MPI", err)


class Losses(unittest.TestCase):
    def job(self, ranks, patience):
        """A job in the midst of its steps, and the process of each rank."""
        job = launch(ranks, "run", str(patience))
        self.addCleanup(lambda: (job.kill(), job.communicate()))
        processes = {}
        while len(processes) < ranks:
            match = re.match(r"rank (\d+) is process (\d+)", job.stdout.readline())
            self.assertTrue(match, "the job does not start")
            processes[int(match[1])] = int(match[2])
        time.sleep(1)
        self.assertIsNone(job.poll())
        return job, processes

    def ends(self, job, processes, since):
        _, err = job.communicate(timeout=NOBODY_WAITS_LONGER)
        while any(map(running, processes.values())):
            self.assertLess(time.monotonic() - since, NOBODY_WAITS_LONGER)
            time.sleep(0.1)
        self.assertNotEqual(job.returncode, 0)
        return err

    def test_killed(self):
        for ranks, victim in ((2, 1), (3, 0), (4, 2)):
            with self.subTest(ranks=ranks, victim=victim):
                job, processes = self.job(ranks, 0)
                since = time.monotonic()
                os.kill(processes[victim], signal.SIGKILL)
                self.ends(job, processes, since)

    def test_stopped(self):
        """The launcher sees nothing wrong with a process that is stopped; its silence gives it away."""
        for ranks, victim, named in ((3, 2, 2), (3, 0, 0)):
            with self.subTest(victim=victim):
                job, processes = self.job(ranks, 4)
                since = time.monotonic()
                os.kill(processes[victim], signal.SIGSTOP)
                self.assertIn(f"rank {named} was not heard of for 4 seconds", self.ends(job, processes, since))


if __name__ == "__main__":
    if len(sys.argv) < 4 or not Path(sys.argv[1]).exists():
        sys.exit(77)
    LAUNCHER, RANK, MODULE = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
