# SPDX-License-Identifier: Apache-2.0
"""pretrain: what a run is, and that nothing but its options decides what it becomes."""

import gzip
import hashlib
import html.parser
import json
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

import program
from program import PROGRAM, TINY, Case, bgzf, dna, environment, run, write_fasta, write_headed

CONFIG = dict(
    arch_layout=["m1", ["M1"], "m1"],
    d_model=[32, 64],
    d_intermediate=[0, 64],
    vocab_size=7,
    ssm_cfg=dict(chunk_size=256, d_conv=4, d_state=16, expand=2),
    attn_cfg=dict(num_heads=[1, 1], rotary_emb_dim=[32, 32], window_size=[-1, -1]),
    tie_embeddings=False,
)
PLAN = ["--config", "small.json", "--window", 128, "--batch", 2, "--accumulate", 2, "--steps", 12]
PLAN += ["--hold-out", "b:1001-2000", "--validate-every", 4, "--validation-windows", 3, "--seed", 5]
STEP_KEYS = ["step", "loss", "mlm", "ratio_loss", "compression", "rate", "gradient_norm", "nt_per_s"]


def weights(folder):
    return hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest()


HEAD = ["classifier.weight", "classifier.bias"]


def tensor(path, name):
    """The bytes of a tensor of a file."""
    data = Path(path).read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    first, last = json.loads(data[8:begin])[name]["data_offsets"]
    return data[begin + first : begin + last]


def log_of(folder):
    return [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]


def lasting(folder):
    """The log but for what depends on the clock."""
    return [{key: value for key, value in line.items() if key != "nt_per_s"} for line in log_of(folder)]


class Page(html.parser.HTMLParser):
    """Counts the elements of a page, and fails at one that loads something."""

    def __init__(self, text):
        super().__init__()
        self.count = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        assert not {"src", "href"} & {name for name, _ in attributes}, (tag, attributes)


class Pretrain(Case):
    def setUp(self):
        super().setUp()
        Path("small.json").write_text(json.dumps(CONFIG))
        write_fasta("a.fa", [("a", dna(3000)), ("b", dna(2500) + "N" * 10 + dna(400))])

    def pretrain(self, *arguments, **options):
        """On one thread, unless an argument says otherwise: steps as small as these are mostly waiting."""
        return self.ok("pretrain", "-q", "-@", 1, *arguments, **options)

    def whole(self, name="whole", *more):
        self.pretrain(*PLAN, "a.fa", "-o", name, *more)
        return weights(name)

    # ---- what a run leaves ----

    def test_files(self):
        self.whole("run", "--checkpoint-every", 5)
        names = sorted(p.name for p in Path("run").iterdir())
        self.assertEqual(names, ["checkpoints", "log.jsonl", "model.safetensors", "report.html", "run.json"])
        checkpoints = sorted(p.name for p in Path("run/checkpoints").glob("*.safetensors"))
        self.assertEqual(checkpoints, [f"checkpoint-{n}.safetensors" for n in (10, 12, 5)])
        info = json.loads(self.ok("info", "run/model.safetensors", "--json").stdout)
        self.assertEqual(info["config"]["arch_layout"], CONFIG["arch_layout"])
        kept = json.loads(Path("run/run.json").read_text())
        self.assertIn("--steps=12", kept["arguments"])
        self.assertIn("--mask=0.15", kept["arguments"])
        self.assertEqual(kept["directory"], os.getcwd())
        self.assertRegex(kept["command"], " a.fa --checkpoint-every 5$")

    def test_log(self):
        self.whole("run")
        lines = log_of("run")
        steps = [line for line in lines if "loss" in line]
        self.assertEqual([line["step"] for line in steps], list(range(1, 13)))
        for line in steps:
            self.assertEqual(list(line), STEP_KEYS)
            self.assertAlmostEqual(line["loss"], line["mlm"] + 0.03 * line["ratio_loss"], delta=1e-6)
            self.assertTrue(1 <= line["compression"] <= 128 and line["gradient_norm"] > 0 and line["nt_per_s"] > 0)
        # 10 % of 12 steps is 1 of warm-up, 20 % is 2 of decay.
        rates = [line["rate"] / 5e-4 for line in steps]
        self.assertEqual(rates[:11], [1] * 11)
        self.assertAlmostEqual(rates[11], 0.05, delta=1e-9)
        validations = [line for line in lines if "validation_loss" in line]
        self.assertEqual([line["step"] for line in validations], [4, 8, 12])
        for line in validations:
            self.assertTrue(0 < line["validation_loss"] < 4 and 0 <= line["validation_accuracy"] <= 1)
        self.assertEqual(len({line["validation_positions"] for line in validations}), 1)

    def test_validation_is_evaluation(self):
        """What validation says of the last weights, evaluate says of the model on the same windows."""
        self.whole("run", "--validation-windows", 100)
        (last,) = [line for line in log_of("run") if line.get("validation_loss") and line["step"] == 12]
        said = json.loads(
            self.ok(
                "evaluate", "-q", "-m", "run/model.safetensors", "--mlm", "a.fa", "-r", "b:1001-1896", "--window", 128,
                "--seed", 5, "-o", "json",
            ).stdout
        )  # fmt: skip
        self.assertEqual(said["positions"], last["validation_positions"])
        self.assertAlmostEqual(said["loss"], last["validation_loss"], delta=1e-5)
        self.assertAlmostEqual(said["accuracy"], last["validation_accuracy"], delta=1e-8)
        self.assertAlmostEqual(said["ratio"], last["validation_compression"], delta=1e-6)

    def test_report(self):
        self.whole("run & <sons>")
        text = Path("run & <sons>/report.html").read_text()
        page = Page(text)
        self.assertEqual(page.count["svg"], 5)
        self.assertNotIn("script", page.count)
        self.assertIn("run &amp; &lt;sons&gt;", text)
        self.assertEqual(page.count["circle"], 6)  # three validations, of loss and of compression

    def test_messages(self):
        result = self.ok("pretrain", "-@", 1, *PLAN, "a.fa", "-o", "run")
        self.assertRegex(result.stderr, r"5910 nucleotides in 2 records: .* 1000 are held out, 3 windows validate")
        self.assertRegex(result.stderr, r"step 8: validation loss \d\.\d+")
        self.assertIn("wrote", result.stderr)
        self.assertEqual(self.pretrain(*PLAN, "a.fa", "-o", "quiet").stderr, "")

    # ---- the same bits ----

    def test_threads(self):
        one = self.whole("one", "-@", 1)
        self.assertEqual(self.whole("two", "-@", 2), one)
        self.assertEqual(self.whole("three", "-@", 3), one)
        self.assertEqual(lasting("one"), lasting("two"))
        self.assertNotEqual(self.whole("other", "--seed", 6), one)

    def test_files_that_say_the_same(self):
        whole = self.whole()
        data = Path("a.fa").read_bytes()
        Path("a.fa").write_bytes(gzip.compress(data))
        self.assertEqual(self.whole("gzip"), whole)
        Path("a.fa").write_bytes(bgzf(data))
        self.assertEqual(self.whole("bgzf"), whole)

    def stop_at(self, folder, step, number=signal.SIGTERM):
        """Starts the plan and sends it a signal once the log knows of the step."""
        process = subprocess.Popen(
            PROGRAM + [str(a) for a in ["pretrain", *PLAN, "-@", 1, "--steps", 2000, "a.fa", "-o", folder]],
            stderr=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        log = Path(folder) / "log.jsonl"
        while not log.exists() or log.read_text().count('"loss"') < step:
            self.assertIsNone(process.poll(), "ended before it could be interrupted")
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
        self.assertEqual(process.returncode, -number, said)
        return said.decode()

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            folder = f"run{int(number)}"
            said = self.stop_at(folder, 3, number)
            self.assertRegex(said, rf"stopped after step \d+ of 2000; this goes on: ldar pretrain --resume .*{folder}")
            steps = [line["step"] for line in log_of(folder) if "loss" in line]
            self.assertEqual(steps, list(range(1, len(steps) + 1)))
            self.assertTrue((Path(folder) / f"checkpoints/checkpoint-{len(steps)}.safetensors").exists())
            self.assertTrue((Path(folder) / "model.safetensors").exists())
            self.assertEqual(list(Path(folder).rglob("*.tmp.*")), [])

    def test_resume(self):
        """Runs that were stopped again and again end as one that never was."""
        plan = ["--config", "small.json", "--window", 128, "--batch", 1, "--steps", 60, "--validate-every", 7]
        plan += ["--hold-out", "b:1001-2000", "a.fa", "--checkpoint-every", 4, "-@", 1]
        self.pretrain(*plan, "-o", "whole")
        stops = runs = 0
        while stops < 3:  # on a busy machine a run may be over before this test gets to stop it
            folder = f"parts{runs}"
            runs += 1
            stops = self.stop_and_resume(plan, folder, stops)
            self.assertEqual(weights(folder), weights("whole"))
            self.assertEqual(lasting(folder), lasting("whole"))

    def stop_and_resume(self, plan, folder, stops):
        """A run of the plan, stopped every few steps, by turns with SIGTERM and SIGKILL; returns the stops so far."""
        log = Path(folder) / "log.jsonl"
        process = subprocess.Popen(PROGRAM + ["pretrain", "-q", *map(str, plan), "-o", folder], env=environment())
        while True:
            seen = log.read_text().count('"loss"') if log.exists() else 0
            while process.poll() is None and not (log.exists() and log.read_text().count('"loss"') > seen + 5):
                time.sleep(0.002)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL if stops % 2 else signal.SIGTERM)
            status = process.wait(timeout=120)
            if status == 0:
                return stops
            self.assertEqual(status, -signal.SIGKILL if stops % 2 else -signal.SIGTERM)
            stops += 1
            resume = ["pretrain", "-q", "--resume", folder, "-@", str(1 + stops % 2)]
            process = subprocess.Popen(PROGRAM + resume, env=environment())

    def test_resume_of_a_run_that_is_done(self):
        whole = self.whole("run")
        log = Path("run/log.jsonl").read_bytes()
        self.pretrain("--resume", "run")
        self.assertEqual(weights("run"), whole)
        self.assertEqual(Path("run/log.jsonl").read_bytes(), log)

    def test_resume_without_a_checkpoint(self):
        whole = self.whole("run")
        for path in Path("run/checkpoints").iterdir():
            path.unlink()
        result = self.ok("pretrain", "--resume", "run")
        self.assertIn("starts again", result.stderr)
        self.assertEqual(weights("run"), whole)

    def test_resume_from_elsewhere(self):
        """Relative paths are of the folder where the run began."""
        whole = self.whole("run")
        Path("far/away").mkdir(parents=True)
        result = run("pretrain", "-q", "--resume", self.folder / "run", cwd="far/away")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(weights("run"), whole)

    def test_torn_log(self):
        self.whole("run")
        log = Path("run/log.jsonl")
        expected = lasting("run")
        with log.open("a") as out:
            out.write('{"step": 13, "loss": 1.0}\n{"step": 14, "lo')
        self.pretrain("--resume", "run")
        self.assertEqual(lasting("run"), expected)

    # ---- what it is trained on ----

    def test_sources(self):
        """More genomes, weights, windows of a BED file: each draws other windows; what is held out draws none."""
        write_fasta("c.fa", [("c", dna(2000))])
        Path("w.bed").write_text("a\t0\t1000\ttrain\na\t1500\t1600\ttrain\nb\t0\t500\tvalid\nb\t500\t1000\ttest\n")
        plan = PLAN[:-8] + ["--seed", 5]
        results = []
        forms = [
            ["a.fa"], ["a.fa", "c.fa"], ["a.fa:3", "c.fa"], ["a.fa", "--windows", "w.bed"],
            ["a.fa", "c.fa", "--windows", "w.bed"], ["a.fa", "--hold-out", "a"], ["a.fa", "c.fa", "--hold-out", "c.fa"],
            ["a.fa", "--mask", "0.3"], ["a.fa", "--boundaries", "every:4"], ["a.fa", "--rate", "1e-3"],
        ]  # fmt: skip
        for i, form in enumerate(forms):
            self.pretrain(*plan, *form, "-o", f"run{i}")
            results.append(weights(f"run{i}"))
        self.assertEqual(results[6], results[0])
        self.assertEqual(len(set(results)), len(forms) - 1)
        self.assertTrue(all(line["compression"] == 4 for line in log_of("run8") if "loss" in line))

    def test_model_to_go_on_from(self):
        self.whole("first")
        self.pretrain(*PLAN[2:], "-m", "first/model.safetensors", "a.fa", "-o", "second")
        self.assertNotEqual(weights("first"), weights("second"))

    # ---- guards ----

    def overflowing_model(self):
        """A model that is finite, and whose scores are not."""
        data = TINY.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        header["__metadata__"] = {key: header["__metadata__"][key] for key in ("format", "config")}
        begin, end = header["lm_head.weight"]["data_offsets"]
        body = bytearray(data[8 + size :])
        body[begin:end] = struct.pack("<f", 3e38) * ((end - begin) // 4)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        Path("huge").write_bytes(struct.pack("<Q", len(text)) + text + body)

    def test_model_with_a_head(self):
        """The head is kept as it is, also by a run that is stopped and resumed."""
        write_headed("first", TINY, {"classes": json.dumps(["no", "yes"])}, 2)
        plan = ["-m", "first", "--window", 64, "--batch", 1, "--accumulate", 1, "--checkpoint-every", 1]
        self.pretrain(*plan, "--steps", 3, "a.fa", "-o", "whole")
        head = b"".join(tensor("first", name) for name in HEAD)
        self.assertEqual(b"".join(tensor("whole/model.safetensors", name) for name in HEAD), head)
        self.assertNotEqual(*(tensor(path, "embeddings.weight") for path in ("first", "whole/model.safetensors")))
        info = json.loads(self.ok("info", "whole/model.safetensors", "--json").stdout)
        self.assertEqual(info["head"]["names"], ["no", "yes"])
        self.pretrain(*plan, "--steps", 3, "a.fa", "-o", "part")
        for name in ["model.safetensors", "report.html", "checkpoints/checkpoint-3.safetensors"]:
            Path("part", name).unlink()
        self.pretrain("--resume", "part")
        self.assertEqual(weights("part"), weights("whole"))

    def test_gradient_that_is_not_finite(self):
        self.overflowing_model()
        result = run("pretrain", "-q", "-@", 1, *PLAN[2:], "--steps", 20, "-m", "huge", "a.fa", "-o", "run")
        self.assertEqual(result.returncode, 1)
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 9, result.stderr)
        for step, line in enumerate(lines[:8], 1):
            self.assertRegex(line, rf"warning: step {step} is skipped: .*not finite \({step} skipped so far\)")
        self.assertRegex(lines[8], r"step 8: .* as in the 7 steps before: a lower --rate may help")
        self.assertTrue(all("skipped" in line for line in log_of("run") if "loss" in line))

    def test_router_that_collapses(self):
        """Where nothing changes no token begins, and at a rate of nearly nothing it stays so."""
        write_fasta("poly.fa", [("a", "A" * 6000)])
        plan = ["--config", "small.json", "--window", 256, "--batch", 1, "--accumulate", 1, "--steps", 210]
        plan += ["--rate", "1e-12", "--mask", "1e-4", "poly.fa"]
        result = self.pretrain(*plan, "-o", "run")
        self.assertTrue(all(line["compression"] > 50 for line in log_of("run")))
        self.assertEqual(result.stderr.count("the router has collapsed"), 1)
        self.assertRegex(result.stderr, "--rate.*--ratio.*--boundaries")
        result = self.pretrain(*plan, "--boundaries", "every:64", "-o", "fixed")
        self.assertEqual(result.stderr, "")

    # ---- refusals ----

    def test_usage(self):
        start = ["pretrain", "a.fa", "-o", "run"]
        self.fails(2, "--preset.*--config.*-m", *start)
        self.fails(2, "--preset.*--config.*-m", *start, "--preset", "2m", "-m", TINY)
        self.fails(2, "no genome", "pretrain", "--preset", "2m", "-o", "run")
        self.fails(2, "-o RUN", "pretrain", "--preset", "2m", "a.fa")
        start += ["--config", "small.json"]
        for option, bad in [("rate", "0"), ("rate", "-1"), ("rate", "x"), ("rate", "1e999"), ("ratio", "1"),
                            ("mask", "0"), ("mask", "1.01"), ("warmup", "2.5"), ("decay-steps", "20000"),
                            ("steps", "0"), ("batch", "0"), ("window", "1"), ("boundaries", "every:0")]:  # fmt: skip
            self.fails(2, f"--{option}", *start, f"--{option}", bad)
        self.fails(2, "--steps", "pretrain", "--resume", "run", "--steps", 5)
        self.fails(2, "its own files", "pretrain", "--resume", "run", "a.fa")

    def test_inputs(self):
        start = ["pretrain", "-q", "--config", "small.json", "-o", "run"]
        self.fails(1, "none.fa", *start, "none.fa")
        self.fails(1, "holds no record", *start, "/dev/null")
        self.fails(1, "no window of 4096.*--window", *start, "a.fa")
        start += ["--window", 128]
        self.fails(1, 'no genome has a sequence "x"', *start, "a.fa", "--hold-out", "x")
        self.fails(1, "b:3000-4000.*2910", *start, "a.fa", "--hold-out", "b:3000-4000")
        self.fails(1, "outside what is held out", *start, "a.fa", "--hold-out", "a.fa")
        self.fails(1, "weight", *start, "a.fa:0")
        write_fasta("c.fa", [("a", dna(2000))])
        self.fails(1, '2 sequences are called "a".*a.fa:a', *start, "a.fa", "c.fa", "--hold-out", "a")
        Path("w.bed").write_text("a\t0\t1000\tsome\n")
        self.fails(1, "w.bed:1.*train, valid or test", *start, "a.fa", "--windows", "w.bed")
        Path("w.bed").write_text("a\t0\t1000\nz\t0\t5\n")
        self.fails(1, "w.bed:2", *start, "a.fa", "--windows", "w.bed")
        Path("n.fa").write_text(">n\n" + "ACGN" * 500 + "\n")
        self.fails(1, "without N", *start, "n.fa")
        for size in ("1K", "500K", "2M"):
            self.fails(1, "allowed", *start, "a.fa", "--max-memory", size)
        self.pretrain("--config", "small.json", "-o", "run", "--window", 128, "--steps", 1, "a.fa")

    def test_folders(self):
        start = ["pretrain", "-q", *PLAN, "a.fa", "-o"]
        Path("full").mkdir()
        Path("full/note").write_text("precious")
        self.fails(1, "full is not empty", *start, "full")
        self.fails(1, "none/run", *start, "none/run")
        self.fails(1, "a.fa", *start, "a.fa")
        Path("empty").mkdir()
        self.whole("empty")
        self.fails(1, "holds a run: --resume empty", *start, "empty")
        self.fails(1, "full holds no run", "pretrain", "--resume", "full")
        self.fails(1, "none", "pretrain", "--resume", "none")
        self.whole("slash/")

    def test_other_sequences(self):
        self.whole("run")
        write_fasta("a.fa", [("a", dna(3000)), ("b", dna(2910))])
        self.fails(1, "other sequences", "pretrain", "-q", "--resume", "run")

    def test_one_writer(self):
        process = subprocess.Popen(
            PROGRAM + [str(a) for a in ["pretrain", "-q", "-@", 1, *PLAN, "--steps", 100000, "a.fa", "-o", "run"]],
            env=environment(),
        )  # fmt: skip
        while not Path("run/log.jsonl").exists():
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        second = run("pretrain", "-q", "--resume", "run")
        self.assertEqual(second.returncode, 1)
        self.assertIn(str(process.pid), second.stderr)
        self.assertIsNone(process.poll())
        process.terminate()
        process.wait(timeout=120)

    def test_a_genome_that_changes_its_name(self):
        """chr1 and 1 are one, and a warning says so."""
        result = self.ok("pretrain", "-@", 1, *PLAN[:-8], "a.fa", "-o", "run", "--hold-out", "chra")
        self.assertIn('no genome has a sequence "chra"; "a" is taken for it', result.stderr)


if __name__ == "__main__":
    program.main()
