# SPDX-License-Identifier: Apache-2.0
"""finetune and predict: a classifier learns, says what the model underneath says, and depends on its options alone."""

import gzip
import hashlib
import json
import math
import os
import random
import signal
import struct
import subprocess
import time
from pathlib import Path

import program
from program import (
    PROGRAM,
    TINY,
    TINY_WIDTH,
    Case,
    Matrix,
    dna,
    environment,
    plain_build_only,
    write_fasta,
    write_fastq,
)

KEYS = ["test_mcc", "test_accuracy", "test_f1_score", "test_auroc"]
FAST = ["--epochs", 3, "--batch", 8, "--rate", 0.002, "--head-rate", 10, "--seed", 3]


def draw_sequences(draw, count, low=30, high=70):
    """Sequences rich in A and T, or in C and G: what a mean of hidden states cannot miss."""
    rows = []
    for i in range(count):
        letters = "AATTC" if i % 2 else "CCGGA"
        rows.append(("".join(draw.choices(letters, k=draw.randint(low, high))), i % 2))
    return rows


def write_table(path, rows, names=("rich", "poor")):
    text = "sequence,label\n" + "".join(f"{s},{names[l]}\n" for s, l in rows)
    data = text.encode()
    Path(path).write_bytes(gzip.compress(data) if str(path).endswith(".gz") else data)


def tensors(path):
    """The float32 arrays of a model, by name, and its metadata."""
    data = Path(path).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        arrays[name] = data[8 + size + begin : 8 + size + end]
    return arrays, metadata


def floats(data):
    return struct.unpack(f"<{len(data) // 4}f", data)


def read_answers(text):
    lines = [l for l in text.decode().splitlines() if not l.startswith("#")]
    header = lines[0].split("\t")
    return header, [line.split("\t") for line in lines[1:]]


class Finetune(Case):
    def setUp(self):
        super().setUp()
        draw = random.Random(program.SEED)
        self.rows = {name: draw_sequences(draw, count) for name, count in [("train", 64), ("dev", 24), ("test", 24)]}
        for name, rows in self.rows.items():
            write_table(f"{name}.csv.gz" if name == "dev" else f"{name}.csv", rows)

    def finetune(self, run, *arguments, **options):
        tables = ["--train", "train.csv", "--valid", "dev.csv.gz", "--test", "test.csv"]
        return self.ok("finetune", "-q", "-m", TINY, *tables, "-o", run, "-@", 1, *arguments, **options)

    def results(self, run):
        return json.loads((Path(run) / "test_results.json").read_text())

    def predict(self, model, *arguments, **options):
        return read_answers(self.ok("predict", "-q", "-m", model, *arguments, **options).stdout)

    # ---- learning ----

    def test_learns(self):
        self.finetune("run", *FAST)
        files = sorted(p.name for p in Path("run").iterdir())
        self.assertEqual(
            files, ["checkpoints", "log.jsonl", "model.safetensors", "report.html", "run.json", "test_results.json"]
        )
        results = self.results("run")
        self.assertTrue(set(KEYS) <= set(results), results)
        self.assertGreater(results["test_mcc"], 0.9)
        self.assertEqual(results["examples"], 24)
        log = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
        steps = [line for line in log if "loss" in line]
        epochs = [line for line in log if "validation_mcc" in line]
        self.assertEqual([line["step"] for line in steps], list(range(1, len(steps) + 1)))
        self.assertEqual(len(steps), 8 * len(epochs))
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])
        page = Path("run/report.html").read_text()
        self.assertNotIn("http", page.replace("http://www.w3.org", ""))
        info = json.loads(self.ok("info", "--json", "run/model.safetensors").stdout)
        self.assertEqual(info["head"]["names"], ["poor", "rich"])

    @plain_build_only
    def test_best_epoch_is_kept(self):
        """The model is that of the epoch the log calls best, wherever training went from there."""
        self.finetune("run", "--epochs", 4, "--batch", 8, "--rate", 0.02, "--patience", 4)
        log = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
        epochs = [line for line in log if "validation_mcc" in line]
        merits = [line["validation_mcc"] for line in epochs]
        best = [line["epoch"] for line in epochs if line["best"]][-1]
        self.assertEqual(best, merits.index(max(merits)) + 1)
        self.finetune("short", "--epochs", best, "--batch", 8, "--rate", 0.02, "--patience", 4)
        self.assertEqual(tensors("run/model.safetensors")[0], tensors("short/model.safetensors")[0])

    @plain_build_only
    def test_patience(self):
        """A rate that moves nothing: the first epoch is the best, and patience ends the run."""
        self.finetune("run", "--epochs", 9, "--batch", 16, "--rate", 1e-30, "--patience", 3, "--halve-after", 2)
        log = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
        self.assertEqual(sum("validation_mcc" in line for line in log), 4)
        rates = sorted({line["rate"] for line in log if "rate" in line})
        self.assertEqual(rates, [5e-31, 1e-30])

    @plain_build_only
    def test_anneal(self):
        """All epochs are taken, at rates that fall to nothing along half a cosine behind those that rise."""
        self.finetune("run", "--epochs", 8, "--batch", 16, "--rate", 1e-9, "--warmup", 4, "--anneal")
        log = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
        rates = [line["rate"] for line in log if "rate" in line]
        expected = [1e-9 * (i + 1) / 4 for i in range(4)]
        expected += [1e-9 * (1 + math.cos(math.pi * i / 28)) / 2 for i in range(28)]
        self.assertEqual(len(rates), 32)
        for rate, known in zip(rates, expected):
            self.assertAlmostEqual(rate, known, delta=1e-14)
        self.fails(2, "--epochs", *self.command("x", "--anneal"))
        self.fails(2, "exclude each other", *self.command("x", "--anneal", "--epochs", 2, "--patience", 1))

    @plain_build_only
    def test_hide(self):
        """Hidden letters are others in each epoch, and depend on the seed alone; what is judged is not hidden."""
        losses = []
        for n, more in enumerate([[], ["--hide", 0.5], ["--hide", 0.5, "-@", 2], ["--hide", 0.5, "--seed", 4]]):
            self.finetune(f"run{n}", "--epochs", 2, "--batch", 64, "--rate", 1e-30, *more)
            log = [json.loads(line) for line in Path(f"run{n}/log.jsonl").read_text().splitlines()]
            losses.append([line["loss"] for line in log if "loss" in line])
            losses[-1].append([line["validation_loss"] for line in log if "validation_loss" in line])
        self.assertEqual(losses[0][0], losses[0][1])
        self.assertNotEqual(losses[1][0], losses[0][0])
        self.assertNotEqual(losses[1][0], losses[1][1])
        self.assertEqual(losses[1], losses[2])
        self.assertNotEqual(losses[1][0], losses[3][0])
        self.assertEqual(losses[1][2], losses[0][2])

    def test_last(self):
        before, after = self.before_and_after(*FAST, "--last", 1)
        moved = {name for name in before if after[name] != before[name]}
        self.assertTrue(moved)
        self.assertTrue(all(name.startswith("backbone.decoder.") for name in moved), moved)
        self.assertIn("classifier.weight", after)
        self.assertRegex(self.fails(1, "blocks", *self.command("deep", "--last", 1000)).stderr, r"\d+ blocks")

    def before_and_after(self, *arguments):
        """The arrays of the model and of the classifier; what a file may hold twice, we write once."""
        self.finetune("run", *arguments)
        after, _ = tensors("run/model.safetensors")
        before, _ = tensors(TINY)
        return {name: before[name] for name in before if name in after}, after

    def command(self, run, *arguments):
        tables = ["--train", "train.csv", "--valid", "dev.csv.gz", "--test", "test.csv"]
        return ["finetune", "-q", "-m", TINY, *tables, "-o", run, "-@", 1, *arguments]

    def test_freeze(self):
        before, after = self.before_and_after("--freeze")
        self.assertEqual({name: after[name] for name in before}, before)
        self.assertGreater(self.results("run")["test_mcc"], 0.9)

    def test_parts(self):
        """Which half is rich: all sequences have the same letters, so that only a head of parts can tell."""
        draw = random.Random(program.SEED)
        for name, count in [("train.csv", 64), ("dev.csv.gz", 24), ("test.csv", 24)]:
            rows = draw_sequences(draw, 2 * count, 20, 20)
            pairs = [(rows[2 * i][0], rows[2 * i + 1][0], i % 2) for i in range(count)]
            halves = [(poor + rich, 0) if label == 0 else (rich + poor, 1) for poor, rich, label in pairs]
            write_table(name, halves)
            if name == "test.csv":
                write_fasta("test.fa", [(f"r{i}", s) for i, (s, _) in enumerate(halves)])
                right = [("rich", "poor")[l] for _, l in halves]
        for n, more in enumerate((FAST, [*FAST, "--both-strands", "--augment"], ["--freeze"])):
            run = f"run{n}"
            self.finetune(run, "--parts", 4, *more)
            model = f"{run}/model.safetensors"
            strands = ["--both-strands"] if "--both-strands" in more else []
            _, rows = self.predict(model, "test.fa", *strands)
            accuracy = sum(row[1] == label for row, label in zip(rows, right)) / 24
            self.assertAlmostEqual(self.results(run)["test_accuracy"], accuracy, delta=1e-9)
            if not strands:
                self.assertGreater(self.results(run)["test_mcc"], 0.9)
        records = [("x", dna(50)), ("empty", ""), ("y", dna(3))]
        write_fasta("in.fa", records)
        write_fasta("rc.fa", [(n, s[::-1].translate(str.maketrans("ACGT", "TGCA"))) for n, s in records])
        answers = [self.predict(model, *more)[1] for more in (["in.fa"], ["rc.fa"], ["in.fa", "--both-strands"])]
        odds = [[math.log(float(row[3]) / float(row[2])) for row in rows if row[0] != "empty"] for rows in answers]
        for one, other, both in zip(*odds):
            self.assertNotAlmostEqual(one, other, delta=1e-4)
            self.assertAlmostEqual(both, (one + other) / 2, delta=1e-4)
        head = json.loads(self.ok("info", "--json", model).stdout)["head"]
        self.assertEqual((head["parts"], head["outputs"]), (4, 2))
        self.assertIn("4 of each sequence", self.ok("info", model).stdout.decode())
        whole = self.ok("predict", "-q", "-m", model, "in.fa").stdout
        for i in (1, 2, 3):
            self.ok("predict", "-q", "-m", model, "in.fa", "--shard", f"{i}/3", "-o", f"{i}.part")
        self.ok("merge", "-q", "1.part", "2.part", "3.part", "-o", "merged.tsv")
        self.assertEqual(Path("merged.tsv").read_bytes(), whole)
        write_fasta("long.fa", [("short", dna(40)), ("long one", dna(200))])
        windows = ["--window", 64, "--overlap", 8]
        self.fails(1, "long.*--window", "predict", "-m", model, "long.fa", *windows, "-o", "x.tsv")
        self.assertFalse(Path("x.tsv").exists())
        self.fails(2, "--parts", *self.command("run", "--parts", 0))

    def test_values(self):
        """The share of C and G of a sequence, as a number on an odd scale."""
        for name, rows in self.rows.items():
            text = "label\tsequence\n"
            text += "".join(f"{1000 + 50 * sum(c in 'CG' for c in s) / len(s)}\t{s}\n" for s, _ in rows)
            Path(f"{name}.tsv").write_text(text)
        tables = ["--train", "train.tsv", "--valid", "dev.tsv", "--test", "test.tsv"]
        for more in (FAST, ["--freeze"]):
            run = f"run{len(more)}"
            self.ok("finetune", "-q", "-m", TINY, *tables, "--values", "-o", run, "-@", 1, *more)
            results = self.results(run)
            self.assertGreater(results["test_r2"], 0.5, (more, results))
            write_fasta("one.fa", [("x", self.rows["test"][0][0])])
            header, rows = self.predict(f"{run}/model.safetensors", "one.fa")
            self.assertEqual(header, ["name", "value"])
            self.assertLess(abs(float(rows[0][1]) - 1025), 40)

    @plain_build_only
    def test_held_out_without_valid(self):
        self.ok("finetune", "-q", "-m", TINY, "--train", "train.csv", "-o", "run", "-@", 1, *FAST)
        self.assertFalse(Path("run/test_results.json").exists())
        self.assertTrue(Path("run/model.safetensors").exists())

    # ---- predict ----

    def test_predict_is_the_head_of_the_mean(self):
        self.finetune("run", *FAST)
        records = [("a", dna(90)), ("b", dna(1)), ("empty", ""), ("c", dna(400)), ("d e", dna(33))]
        write_fasta("in.fa", records)
        model = "run/model.safetensors"
        header, rows = self.predict(model, "in.fa")
        self.assertEqual(header, ["name", "label", "p_0", "p_1"])
        self.assertEqual([row[0] for row in rows], ["a", "b", "empty", "c", "d"])
        self.ok("embed", "-q", "-m", model, "in.fa", "--pool", "mean", "-o", "mean.npy")
        means = Matrix("mean.npy").values()
        arrays, _ = tensors(model)
        weight, bias = floats(arrays["classifier.weight"]), floats(arrays["classifier.bias"])
        for i, row in enumerate(rows):
            if row[0] == "empty":
                self.assertEqual(row[1:], ["nan"] * 3)
                continue
            mean = means[i * TINY_WIDTH : (i + 1) * TINY_WIDTH]
            scores = [
                sum(w * m for w, m in zip(weight[c * TINY_WIDTH : (c + 1) * TINY_WIDTH], mean)) + bias[c]
                for c in (0, 1)
            ]
            p = 1 / (1 + math.exp(scores[0] - scores[1]))
            self.assertAlmostEqual(float(row[3]), p, delta=1e-4)
            self.assertAlmostEqual(float(row[2]) + float(row[3]), 1, delta=1e-6)
            self.assertEqual(row[1], ["poor", "rich"][p > 0.5])

    @plain_build_only
    def test_predict_agrees_with_the_test(self):
        self.finetune("run", *FAST)
        write_fastq("test.fq", [(f"r{i}", s) for i, (s, _) in enumerate(self.rows["test"])])
        _, rows = self.predict("run/model.safetensors", "-", input=Path("test.fq").read_bytes())
        right = sum(row[1] == ("rich", "poor")[l] for row, (_, l) in zip(rows, self.rows["test"]))
        self.assertAlmostEqual(self.results("run")["test_accuracy"], right / 24, delta=1e-9)

    def test_both_strands(self):
        self.finetune("run", *FAST, "--augment", "--both-strands")
        sequence = dna(120)
        other = sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))
        write_fasta("in.fa", [("x", sequence), ("y", other)])
        model = "run/model.safetensors"
        _, rows = self.predict(model, "in.fa", "--both-strands")
        self.assertAlmostEqual(float(rows[0][2]), float(rows[1][2]), delta=1e-5)
        _, alone = self.predict(model, "in.fa")
        self.assertNotEqual(alone[0][2], alone[1][2])

    @plain_build_only
    def test_threads_and_company(self):
        self.finetune("run", *FAST)
        write_fasta("in.fa", [(f"r{i}", dna(20 + 7 * i)) for i in range(40)])
        predict = ["predict", "-q", "-m", "run/model.safetensors", "in.fa", "-@"]
        outputs = {self.ok(*predict, n).stdout for n in (1, 2, 3, 7)}
        self.assertEqual(len(outputs), 1)

    @plain_build_only
    def test_shards(self):
        """Parts of predict, of records longer than a window, too, merge to the bytes of one run."""
        self.finetune("run", "--freeze")
        write_fasta("in.fa", [(f"r{i}", dna(length)) for i, length in enumerate([40, 900, 0, 333, 1, 120])])
        predict = ["predict", "-q", "-m", "run/model.safetensors", "in.fa", "--window", 128, "--overlap", 32]
        whole = self.ok(*predict).stdout
        for n in (1, 2, 3, 7):
            parts = [f"{n}.{i}.part" for i in range(1, n + 1)]
            for i, part in enumerate(parts, 1):
                self.ok(*predict, "--shard", f"{i}/{n}", "-o", part)
            self.ok("merge", "-q", *parts, "-o", f"{n}.tsv")
            self.assertEqual(Path(f"{n}.tsv").read_bytes(), whole)

    # ---- nothing but the options ----

    @plain_build_only
    def test_threads(self):
        hashes = set()
        for n in (1, 2, 3, 7):
            self.finetune(f"run{n}", "--epochs", 1, "--batch", 16, "-@", n)
            hashes.add(hashlib.sha256(Path(f"run{n}/model.safetensors").read_bytes()).hexdigest())
        self.assertEqual(len(hashes), 1)

    @plain_build_only
    def test_stopped_and_resumed(self):
        plan = ["--epochs", 6, "--batch", 4, "--checkpoint-every", 3, "--augment", *FAST[-2:]]
        plan += ["--anneal", "--hide", 0.1, "--parts", 3]
        self.finetune("whole", *plan)
        command = [*PROGRAM, *map(str, self.command("run", *plan))]
        log, steps = Path("run/log.jsonl"), 6 * 16
        for number, lines in ((signal.SIGTERM, 10), (signal.SIGKILL, 30), (signal.SIGTERM, 60)):
            process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)
            while process.poll() is None and not (log.exists() and log.read_text().count('"loss"') > lines):
                time.sleep(0.001)
            process.send_signal(number)
            process.communicate()
            self.assertLess(log.read_text().count('"loss"'), steps, "over before it was stopped")
            command = [*PROGRAM, "finetune", "-q", "--resume", "run", "-@", "2"]
        self.ok(*command[len(PROGRAM) :])
        self.assertEqual(tensors("run/model.safetensors")[0], tensors("whole/model.safetensors")[0])
        drop = lambda run: [
            {k: v for k, v in json.loads(line).items() if k != "nt_per_s"}
            for line in Path(run, "log.jsonl").read_text().splitlines()
        ]
        self.assertEqual(drop("run"), drop("whole"))
        self.assertEqual(self.results("run")["test_mcc"], self.results("whole")["test_mcc"])

    def test_frozen_ends_at_once(self):
        """It has nothing to save: a signal need not wait for the end."""
        write_table("long.csv", [(dna(20000), i % 2) for i in range(40)])
        command = [*PROGRAM, "finetune", "-m", TINY, "--freeze", "--train", "long.csv", "-o", "run", "-@", "1"]
        process = subprocess.Popen(list(map(str, command)), env=environment(), stderr=subprocess.PIPE)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate()
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertFalse(Path("run").exists())

    # ---- what cannot be ----

    def test_usage(self):
        self.fails(2, "--train", "finetune", "-m", TINY, "-o", "run")
        self.fails(2, "-o RUN", "finetune", "-m", TINY, "--train", "train.csv")
        self.fails(2, "exclude each other", *self.command("run", "--freeze", "--rate", 1))
        self.fails(2, "--rate", *self.command("run", "--rate", 0))
        self.fails(2, "own options", "finetune", "--resume", "run", "--rate", 1)
        self.fails(1, "no classifier", "predict", "-m", TINY, "test.csv")
        self.fails(2, "-m CLASSIFIER", "predict", "test.csv")

    def test_hostile_tables(self):
        cases = {
            "unknown class": ("test.csv", "sequence,label\nACGT,other\n", r"test\.csv.*other"),
            "one class": ("train.csv", "sequence,label\n" + "ACGT,a\n" * 20, r"train\.csv.*class"),
            "no label": ("train.csv", "sequence,label\nACGT,a\nACGT\n", r"train\.csv:3"),
            "no header": ("train.csv", "ACGT,a\nACGG,b\n", r"train\.csv.*sequence"),
            "letter": ("train.csv", "sequence,label\nACGT,a\nACJT,b\n", r"train\.csv:3"),
            "empty": ("train.csv", "sequence,label\nACGT,a\n,b\n", r"train\.csv:3"),
        }
        for name, (path, text, pattern) in cases.items():
            with self.subTest(name):
                kept = Path(path).read_bytes()
                Path(path).write_text(text)
                self.fails(1, pattern, *self.command("run"))
                Path(path).write_bytes(kept)
        self.fails(1, "window", *self.command("run", "--window", 20))
        Path("values.csv").write_text("sequence,label\nACGT,1\nACGT,nan\n")
        self.fails(1, r"values\.csv:3", "finetune", "-m", TINY, "--values", "--train", "values.csv", "-o", "run")


if __name__ == "__main__":
    program.main()
