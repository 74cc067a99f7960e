# SPDX-License-Identifier: Apache-2.0
"""evaluate --suite: the folds of each task, their tables, and the same bytes however the folds are shared out."""

import gzip
import json
import random
import signal
import subprocess
import time
from pathlib import Path

import program
from program import PROGRAM, TINY, Case, environment, plain_build_only, write_fasta

KEYS = ["test_mcc", "test_accuracy", "test_f1_score", "test_auroc"]
TABLES = ["results.tsv", "results.md", "report.html"]


def draw_rows(draw, count):
    letters = ["AATTC", "CCGGA"]
    return [("".join(draw.choices(letters[i % 2], k=draw.randint(30, 60))), i % 2) for i in range(count)]


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "sequence,label\n" + "".join(f"{s},{l}\n" for s, l in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


class Suite(Case):
    def setUp(self):
        super().setUp()
        self.draw = random.Random(program.SEED)
        for task in ("tf/0", "tf/10", "tf/2"):
            for part, count in (("train", 24), ("dev", 12), ("test", 14)):
                write_csv(Path("gue", task, f"{part}.csv.gz"), draw_rows(self.draw, count))
        for part, count in (("train", 43), ("test", 14)):
            rows = draw_rows(self.draw, count)
            Path("nt/H3").mkdir(parents=True, exist_ok=True)
            write_fasta(f"nt/H3/{part}.fna", [(f"chr1:{i}|{l}", s) for i, (s, l) in enumerate(rows)])

    def command(self, suite, data, out, *more):
        return ["evaluate", "-q", "-@", 1, "-m", TINY, "--suite", suite, "--data", data, "-o", out, *more]

    def suite(self, *arguments):
        return self.ok(*self.command(*arguments))

    def rows_of(self, folder):
        lines = [l for l in Path(folder, "results.tsv").read_text().splitlines() if not l.startswith("#")]
        header = lines[0].split("\t")
        return [dict(zip(header, line.split("\t"))) for line in lines[1:]]

    def same(self, a, b):
        names = sorted(str(p.relative_to(a)) for p in Path(a).rglob("test_results.json")) + TABLES
        self.assertEqual(names, sorted(str(p.relative_to(b)) for p in Path(b).rglob("test_results.json")) + TABLES)
        for name in names:
            self.assertEqual(Path(a, name).read_bytes(), Path(b, name).read_bytes(), name)

    # ---- what it leaves ----

    @plain_build_only
    def test_repeats(self):
        """Tasks with a validation table: three seeds of each, in the order of the numbers in their names."""
        self.suite("gue", "gue", "run", "--epochs", 2, "--batch", 8, "--rate", 0.002, "--head-rate", 10)
        units = sorted(str(p.parent.relative_to("run")) for p in Path("run").rglob("test_results.json"))
        self.assertEqual(len(units), 9)
        results = [json.loads(Path("run", unit, "test_results.json").read_text()) for unit in units]
        self.assertTrue(all(set(KEYS) <= set(r) for r in results))
        self.assertEqual([r["seed"] for r in results], [0, 1, 2] * 3)
        self.assertEqual(len({r["classifier_sha256"] for r in results}), 9)
        rows = [r for r in self.rows_of("run") if r["task"] in ("tf/0", "tf/2", "tf/10")]
        self.assertEqual([r["task"] for r in rows], ["tf/0", "tf/2", "tf/10"])
        files = sorted(p.name for p in Path("run/tf/0/fold_1").iterdir())
        self.assertEqual(files, ["log.jsonl", "test_results.json"])

    def test_mean_of_folds(self):
        self.suite("nt", "nt", "run", "--freeze")
        values = [json.loads(Path(f"run/H3/fold_{k}/test_results.json").read_text())["test_mcc"] for k in range(1, 11)]
        (row,) = [r for r in self.rows_of("run") if r["task"] == "H3"]
        self.assertEqual(int(row["folds"]), 10)
        self.assertAlmostEqual(float(row["mcc"]), sum(values) / 10, delta=1e-6)

    def test_intervals(self):
        """Tables of intervals, a folder per part and a file per class, cut out of a genome."""
        genome = "".join("".join(self.draw.choices("AATTC" if i % 2 else "CCGGA", k=50)) for i in range(60))
        write_fasta("ref.fa", [("chr1", genome)])
        for part, first, last in (("train", 0, 40), ("test", 40, 60)):
            for name, parity in (("negative", 0), ("positive", 1)):
                path = Path("gb/some_task", part, f"{name}.csv")
                path.parent.mkdir(parents=True, exist_ok=True)
                own = range(first + parity, last, 2)
                lines = [f"{i},chr1,{50 * i},{50 * i + 50},{'+-'[i % 3 == 0]}" for i in own]
                path.write_text("id,region,start,end,strand\n" + "\n".join(lines) + "\n")
        self.suite("gb", "gb", "run", "-f", "ref.fa", "--freeze", "--folds", 2)
        (row,) = [r for r in self.rows_of("run") if r["task"] == "some_task"]
        self.assertEqual(int(row["folds"]), 2)
        self.assertGreater(float(row["accuracy"]), 0.9)

    # ---- shared out ----

    @plain_build_only
    def test_shards(self):
        plan = ["--freeze", "--folds", 3]
        self.suite("gue", "gue", "one", *plan)
        for n in (1, 2, 3, 7):
            parts = [f"part{n}.{i}" for i in range(1, n + 1)]
            for i, part in enumerate(parts, 1):
                self.suite("gue", "gue", part, *plan, "--shard", f"{i}/{n}")
                self.assertFalse(Path(part, "results.tsv").exists())
            self.ok("merge", "-q", *reversed(parts), "-o", f"merged{n}")
            self.same("one", f"merged{n}")
        self.fails(1, r"tf/10/fold_\d", "merge", "part3.1", "part3.2", "-o", "lacking")
        self.suite("gue", "gue", "other", *plan, "--tasks", "tf/0", "--shard", "1/2")
        self.fails(1, "other", "merge", "part2.1", "other", "-o", "mixed")

    @plain_build_only
    def test_options_of_a_task(self):
        """A task may have options of its own in all of its folds, and the tables say which."""
        plan = ["--freeze", "--folds", 2, "--tasks", "tf/0", "--tasks", "tf/2"]
        self.suite("gue", "gue", "a", *plan, "--shard", "1/2")
        self.suite("gue", "gue", "b", *plan, "--parts", 3, "--shard", "2/2")
        self.ok("merge", "-q", "a", "b", "-o", "tuned")
        made_by = Path("tuned/results.tsv").read_text().splitlines()[0]
        self.assertRegex(made_by, r" --freeze [^;]*\(tf/0\); [^;]* --parts 3 [^;]*\(tf/2\); model ")
        self.suite("gue", "gue", "all", *plan, "--parts", 3)
        self.assertEqual(self.rows_of("tuned")[1], self.rows_of("all")[1])
        self.assertEqual(Path("all/results.tsv").read_text().splitlines()[0].count("(tf/"), 0)
        # Half a task; and what was trained otherwise.
        self.suite("gue", "gue", "c", *plan, "--shard", "1/4")
        self.suite("gue", "gue", "d", *plan, "--parts", 3, "--shard", "2/4")
        self.fails(1, "d: another command made tf/0/fold_2", "merge", "c", "d", "b", "-o", "half")
        self.suite("gue", "gue", "e", *plan[1:], "--epochs", 1, "--shard", "2/2")
        self.fails(1, "e: another model, .* made tf/2/fold_1", "merge", "a", "e", "-o", "mixed")
        self.assertFalse(Path("half").exists() or Path("mixed").exists())

    @plain_build_only
    def test_resumed(self):
        plan = ["--epochs", 3, "--batch", 6, "--checkpoint-every", 1, "--tasks", "tf/2", "--folds", 2]
        self.suite("gue", "gue", "whole", *plan)
        command = [*PROGRAM, *map(str, self.command("gue", "gue", "run", *plan, "--resume"))]
        for number, fold in ((signal.SIGKILL, 1), (signal.SIGTERM, 2)):
            log = Path(f"run/tf/2/fold_{fold}/log.jsonl")
            process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)
            while process.poll() is None and not (log.exists() and log.read_text().count('"loss"') > 3):
                time.sleep(0.001)
            process.send_signal(number)
            process.communicate()
            self.assertFalse(Path("run/results.tsv").exists(), "over before it was stopped")
        self.ok(*command[len(PROGRAM) :])
        self.same("whole", "run")
        self.fails(1, "begun with", *self.command("gue", "gue", "run", *plan[:-1], 1, "--resume"))

    # ---- said in advance ----

    def test_dry_run(self):
        """What is computed is known: of a frozen model to the base, of training when no epoch is spared."""
        rows = {part: [] for part in ("train", "dev", "test")}
        for part, list_ in rows.items():
            text = gzip.decompress(Path("gue/tf/2", f"{part}.csv.gz").read_bytes()).decode()
            list_ += [len(line.split(",")[0]) for line in text.splitlines()[1:]]
        train, dev, test = (sum(rows[part]) for part in ("train", "dev", "test"))
        for more, computed in (
            (["--freeze"], train + dev + test + 2 * test),
            (["--epochs", 5], 2 * (5 * (train + dev) + test)),
        ):
            command = self.command("gue", "gue", "run", "--tasks", "tf/2", "--folds", 2, "--dry-run", *more)
            lines = dict(line.split("\t")[:2] for line in self.ok(*command).stdout.decode().splitlines())
            self.assertEqual(int(lines["computed"]), computed)
            self.assertEqual(int(lines["records"]), 2 * sum(len(list_) for list_ in rows.values()))
            self.assertGreater(float(lines["seconds"]), 0)
            self.assertFalse(Path("run").exists())

    # ---- what cannot be ----

    def test_usage(self):
        self.fails(2, "--mlm", "evaluate", "-m", TINY)
        self.fails(2, "--data", "evaluate", "-m", TINY, "--suite", "gue", "-o", "run")
        self.fails(2, "-o RUN", "evaluate", "-m", TINY, "--suite", "gue", "--data", "gue")
        self.fails(2, "--mask belongs to --mlm", *self.command("gue", "gue", "run", "--mask", 0.2))
        self.fails(2, "--epochs belongs to --suite", "evaluate", "-m", TINY, "--mlm", "x.fa", "--epochs", 2)
        Path("empty").mkdir()
        self.fails(1, "no task", *self.command("gue", "empty", "run"))
        self.fails(1, r"tf/3.*tf/0 tf/2 tf/10", *self.command("gue", "gue", "run", "--tasks", "tf/3"))
        self.fails(1, "10 folds", *self.command("nt", "nt", "run", "--folds", 11))


if __name__ == "__main__":
    program.main()
