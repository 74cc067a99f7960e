# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM in mid-run: the program ends at once and leaves no file."""

import os
import signal
import subprocess
import time
from pathlib import Path

import program
from program import PROGRAM, TINY, Case, dna, environment, write_fasta


class Interrupt(Case):
    def start(self, *arguments, **options):
        return subprocess.Popen(
            PROGRAM + [str(a) for a in arguments], stderr=subprocess.PIPE, env=environment(), **options
        )

    def wait_for(self, pattern, process):
        for _ in range(1200):
            if list(self.folder.glob(pattern)):
                return
            self.assertIsNone(process.poll(), "ended before it could be interrupted")
            time.sleep(0.05)
        self.fail(f"no {pattern} within a minute")

    def interrupted(self, number, *arguments):
        """Input comes from a pipe that stays open, so the run cannot end by itself."""
        process = self.start(*arguments, stdin=subprocess.PIPE)
        process.stdin.write((">a\n" + dna(200000) + "\n").encode())
        process.stdin.flush()
        self.wait_for("*.tmp.*", process)
        started = time.monotonic()
        process.send_signal(number)
        process.wait(timeout=60)
        self.assertLess(time.monotonic() - started, 30)
        process.stdin.close()
        process.stderr.close()
        self.assertEqual(process.returncode, -number)
        self.assertEqual([p.name for p in self.folder.iterdir()], [])

    def test_embed(self):
        for number in [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]:
            self.interrupted(number, "embed", "-m", TINY, "-", "-o", "out.npy", "-@", 2)

    def test_segment(self):
        self.interrupted(signal.SIGTERM, "segment", "-m", TINY, "-", "-o", "out.bed")

    def test_folder_of_a_profile(self):
        """It is there before anything is computed: a new one goes again, one that was there stays."""
        write_fasta("genome.fa", [("a", dna(300000))])
        Path("old").mkdir()
        for folder in ["new", "old"]:
            process = self.start(
                "profile", "-m", TINY, "-f", "genome.fa", "--motif", "A=A", "--draws", 1000, "-o", folder
            )
            self.wait_for(folder, process)
            time.sleep(0.5)
            process.terminate()
            process.wait(timeout=60)
            process.stderr.close()
            self.assertEqual(process.returncode, -signal.SIGTERM)
            self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["genome.fa", "genome.fa.fai", "old"])

    def test_folder_of_a_rehearsal(self):
        """
        Where a dry run tries its output, outside of the current folder. The run may meet the folder gone before it
        ends itself: nothing is said of that. When it does is a matter of chance, hence several turns; some may be over
        too soon.
        """
        write_fasta("a.fa", [("a", dna(300000))])
        caught = 0
        for _ in range(5):
            process = self.start("logits", "-m", TINY, "a.fa", "-o", "out.npy", "--dry-run", stdout=subprocess.DEVNULL)
            files = []
            while not files and process.poll() is None:
                files = list(Path("/tmp").glob(f"ldar-??????/out.tmp.{process.pid}.*"))
            process.terminate()
            _, error = process.communicate(timeout=60)
            self.assertIn(process.returncode, (0, -signal.SIGTERM), error)
            self.assertEqual(error, b"")
            self.assertFalse(any(path.parent.exists() for path in files))
            caught += process.returncode == -signal.SIGTERM
        self.assertGreater(caught, 0)

    def test_folders_and_links(self):
        outside = Path("real")
        outside.mkdir()
        (outside / "old").write_text("precious")
        os.symlink("real/old", "link")
        process = self.start("segment", "-m", TINY, "-", "-o", "link", stdin=subprocess.PIPE)
        process.stdin.write((">a\n" + dna(200000) + "\n").encode())
        process.stdin.flush()
        self.wait_for("real/*.tmp.*", process)
        process.terminate()
        process.wait(timeout=60)
        process.stdin.close()
        process.stderr.close()
        self.assertEqual([p.name for p in outside.iterdir()], ["old"])
        self.assertEqual((outside / "old").read_text(), "precious")

    def test_ignored_signals_stay_ignored(self):
        write_fasta("a.fa", [("a", dna(2000))])
        process = self.start(
            "segment", "-q", "-m", TINY, "-", "-o", "out.bed",
            stdin=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )
        process.stdin.write((">a\n" + dna(200000) + "\n").encode())
        process.stdin.flush()
        self.wait_for("*.tmp.*", process)
        process.send_signal(signal.SIGHUP)
        _, error = process.communicate(timeout=120)
        self.assertEqual((process.returncode, error), (0, b""))
        self.assertTrue(Path("out.bed").exists())


if __name__ == "__main__":
    program.main()
