# SPDX-License-Identifier: Apache-2.0
"""scripts/slurm and scripts/nextflow: a fake array of tasks at the same time, and the commands of the module."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import program
from program import PROGRAM, SOURCE, TINY, Case, dna, environment, write_fasta

SLURM = SOURCE / "scripts" / "slurm"
NEXTFLOW = SOURCE / "scripts" / "nextflow" / "ldar.nf"
SHARDS = 3


class Cluster(Case):
    def setUp(self):
        super().setUp()
        write_fasta("g.fa", [("a", dna(3000)), ("b", dna(20)), ("c", dna(2500))])
        os.mkdir("bin")
        self.script("ldar", 'exec "$LDAR" "$@"' if len(PROGRAM) == 1 else " ".join(PROGRAM) + ' "$@"')
        self.script("scontrol", 'echo "$*" >>"$WORK/scontrol"')
        self.env = environment(
            PATH=f"{self.folder}/bin:{os.environ['PATH']}", LDAR=PROGRAM[-1], WORK=str(self.folder)
        )

    def script(self, name, text):
        path = Path("bin", name)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def expected(self, name, *arguments):
        self.ok(*arguments, "-q", "-m", TINY, "-o", name)
        return Path(name).read_bytes()

    def task(self, number, *words, script="shards.sbatch"):
        env = dict(self.env, SLURM_ARRAY_TASK_ID=str(number), SLURM_ARRAY_JOB_ID="7", SLURM_CPUS_PER_TASK="1")
        return subprocess.Popen(["sh", str(SLURM / script), *map(str, words)], env=env, stderr=subprocess.PIPE)

    def ends(self, process, status=0):
        error = process.communicate(timeout=120)[1].decode()
        self.assertEqual(process.returncode, status, error)
        return error

    # ---- Slurm ----

    def test_array(self):
        arguments = ["segment", "-f", "g.fa", "--window", 400]
        results = []
        for name in ["one.bed", "tokens.bed"]:
            Path("g.fa.fai").unlink(missing_ok=True)
            if name == "one.bed":
                self.ok(*arguments, "-m", TINY, "-q", "-o", name)
            else:
                words = [SHARDS, name, *arguments, "-m", TINY, "-q"]
                tasks = [self.task(i, *words) for i in range(1, SHARDS + 1)]
                for task in tasks:
                    self.ends(task)
                self.assertEqual(sorted(p.name for p in Path("tokens.bed.parts").iterdir()), ["1", "2", "3"])
                self.ends(self.task(0, SHARDS, name, script="merge.sbatch"))
            results.append(program.results_of(Path(name).read_bytes()))
        self.assertEqual(results[0], results[1])
        self.assertFalse(Path("tokens.bed.parts").exists())
        self.assertFalse(Path("scontrol").exists())

    def test_out_of_time(self):
        """A task that is told that its time is nearly up queues itself again, and goes on."""
        write_fasta("g.fa", [("a", dna(20000))])
        words = [1, "tokens.bed", "segment", "g.fa", "--window", 64, "--overlap", 32, "-m", TINY, "-q"]
        journal = Path("tokens.bed.parts/1.part")
        task = self.task(1, *words)
        while task.poll() is None and not (journal.exists() and journal.stat().st_size > 10000):
            time.sleep(0.01)
        task.send_signal(signal.SIGUSR1)
        self.ends(task)
        self.assertEqual(Path("scontrol").read_text(), "requeue 7_1\n")
        self.assertGreater(journal.stat().st_size, 10000)
        words.remove("-q")
        self.assertIn("of the results already", self.ends(self.task(1, *words)))
        self.ends(self.task(0, 1, "tokens.bed", script="merge.sbatch"))
        self.assertGreater(Path("tokens.bed").stat().st_size, 10000)

    def test_failure(self):
        words = [2, "x.bed", "segment", "-f", "none.fa", "-m", TINY, "-q"]
        self.assertIn("none.fa", self.ends(self.task(1, *words), 1))
        self.assertFalse(Path("scontrol").exists())
        self.assertIn("usage", self.ends(self.task(1, 2), 2))
        self.assertIn("usage", self.ends(self.task(0, script="merge.sbatch"), 2))
        self.assertIn("cannot be read", self.ends(self.task(0, 2, "x.bed", script="merge.sbatch"), 1))
        self.assertFalse(Path("x.bed").exists())

    # ---- Nextflow ----

    def block(self, process, **values):
        """The script of a process, with what Nextflow puts in."""
        text = NEXTFLOW.read_text()
        body = re.search(r"process %s \{.*?\"\"\"\n(.*?)\"\"\"" % process, text, re.S).group(1)
        body = re.sub(r"\$\{([\w.]+)\}", lambda match: str(values[match.group(1)]), body)
        subprocess.run(["sh", "-euc", body], env=self.env, check=True)

    def test_module(self):
        options = f"-f g.fa --window 400 -q -m {TINY}"
        self.ok("segment", *options.split(), "-o", "one.bed")
        common = {"command": "segment", "options": options, "shards": SHARDS, "task.cpus": 1}
        for shard in range(1, SHARDS + 1):
            self.block("SHARD", shard=shard, **common)
        self.block("MERGE", parts=" ".join(f"part-{i}" for i in (2, 3, 1)), out="tokens.bed")
        one, merged = (program.results_of(Path(p).read_bytes()) for p in ("one.bed", "tokens.bed"))
        self.assertEqual(one, merged)

    def test_nextflow_reads_the_module(self):
        """Where Nextflow is installed, its own parser."""
        try:
            subprocess.run(["nextflow", "-version"], capture_output=True, check=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            self.skipTest("no nextflow")
        Path("main.nf").write_text(f"include {{ LDAR }} from '{NEXTFLOW.with_suffix('')}'\nworkflow {{ }}\n")
        subprocess.run(["nextflow", "run", "main.nf"], env=self.env, check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    program.main()
