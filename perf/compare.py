#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same work in PyTorch and in ldar, in turns: nucleotides per second of each, and their ratio.

  python3 perf/compare.py [--ldar build/ldar] [--threads 2] [--repeats 5] [--modes eager,compiled] [-o md|json]
  python3 perf/compare.py --presets 110m,2m --dtypes f32,bf16 --lengths 4096 --batches 1,8
  python3 perf/compare.py --what train

Without --presets, --dtypes, --lengths or --batches: the cases that docs/perf.md shows. Modes of PyTorch:

  eager, compiled               as fast as its operators allow; in compiled the arithmetic between products is fused
  plain, plain-compiled         as a reader of the papers writes it: conv1d, the scan as products over all heads at
                                once, attention under one mask; compiled layer by layer

Both sides share the projections of the two directions, have the same weights and a boundary at every fourth position,
which costs the router no less. Before anything is timed, their logits must agree. A pair is a turn of ldar and a turn
of PyTorch, each after one pass that is not timed; ratio is the median over the pairs. Without PyTorch: ldar alone.

With --what train a pass is a step of training: forward, backward, clipping and AdamW. Modes are eager and compiled
(layer by layer); bf16 is PyTorch's autocast. Losses and gradients must agree.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import random
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time

try:
    import torch
    import peer_torch as peer
    import peer_training as training
except ImportError as missing:
    torch, peer, training, why_no_torch = None, None, None, missing

CASES = [("110m", "f32", 4096, 1), ("110m", "bf16", 4096, 1), ("2m", "f32", 4096, 1), ("2m", "f32", 4096, 8),
         ("110m", "f32", 256, 64)]
TRAINING_CASES = [("110m", "f32", 4096, 1), ("110m", "bf16", 4096, 1), ("2m", "f32", 4096, 1), ("2m", "f32", 4096, 8)]
MODES = {"forward": ("eager", "compiled", "plain", "plain-compiled"), "train": ("eager", "compiled")}
RATIO = 4
TURN_SECONDS = 0.5  # short passes are repeated within a turn
# Relative L2 distance of logits. float32: two orders of summation through 20 layers differ by some 1e-6. bfloat16 has 8
# bits of precision: its own rounding, 2e-3, grows over the layers.
BOUND = {"f32": 1e-4, "bf16": 3e-2}
# What is compared of a step: the losses, and the gradients that have come through all layers and through none.
GRADIENTS = ("embeddings.weight", "lm_head.weight")


class Refused(Exception):
    """What the two sides compute is not the same."""


class Missing(Exception):
    """ldar cannot do it; the text is its own."""


def parse_arguments():
    words = lambda text: text.split(",")
    numbers = lambda text: [int(word) for word in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ldar", default="build/ldar", help="the program [default build/ldar]")
    parser.add_argument("--what", choices=("forward", "train"), default="forward")
    parser.add_argument("--presets", type=words, metavar="NAME,...")
    parser.add_argument("--dtypes", type=words, metavar="f32|bf16,...")
    parser.add_argument("--lengths", type=numbers, metavar="N,...")
    parser.add_argument("--batches", type=numbers, metavar="N,...")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5, help="pairs of turns [default 5]")
    parser.add_argument("--modes", type=words, default=["eager", "compiled"], metavar="MODE,...")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    options = parser.parse_args()
    for mode in options.modes:
        if mode not in MODES[options.what]:
            parser.error(f"unknown mode '{mode}'; the modes are {', '.join(MODES[options.what])}")
    for dtype in options.dtypes or []:
        if dtype not in BOUND:
            parser.error(f"unknown dtype '{dtype}'; the dtypes are {', '.join(BOUND)}")
    if options.threads < 1 or options.repeats < 1:
        parser.error("--threads and --repeats must be at least 1")
    return options


def cases_of(options):
    lists = (options.presets, options.dtypes, options.lengths, options.batches)
    if not any(lists):
        return TRAINING_CASES if options.what == "train" else CASES
    return list(itertools.product(*(given or [usual] for given, usual in zip(lists, CASES[0]))))


# ---- ldar ----

def ldar(options, *arguments):
    """Standard output of the program."""
    command = [options.ldar, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Missing((done.stderr.strip() or f"{command[0]} failed with status {done.returncode}").splitlines()[-1])
    return done.stdout


def ldar_turn(options, model, case, passes):
    _, dtype, length, batch = case
    rows = ldar(options, "bench", "-q", "--what", options.what, "-m", model, "--dtype", dtype, "--length", length,
                "--batch", batch, "--ratio", RATIO, "-@", options.threads, "--repeats", passes, "-o", "json")
    return json.loads(rows)[0]


def ldar_logits(options, folder, model, dtype, ids):
    """(B L, 7) of sequences (B, L)."""
    fasta, matrix = os.path.join(folder, "check.fa"), os.path.join(folder, "check.npy")
    with open(fasta, "w", encoding="ascii") as file:
        for i, row in enumerate(ids.tolist()):
            file.write(f">{i}\n{''.join('ACGT'[symbol] for symbol in row)}\n")
    if os.path.exists(matrix):
        os.unlink(matrix)
    ldar(options, "logits", "-q", "-m", model, "--dtype", dtype, "-@", options.threads, "-o", matrix, fasta)
    with open(matrix, "rb") as file:
        data = file.read()
    if b"'<f4'" not in data[:128]:
        raise Refused(f"{matrix} holds no float32")
    count = ids.numel() * 7
    return torch.frombuffer(bytearray(data[-4 * count:]), dtype=torch.float32).view(-1, 7)


def write_tensors(path, tensors):
    """A safetensors file of int64 and float32."""
    header, parts, offset = {}, [], 0
    for name, tensor in tensors.items():
        data = tensor.contiguous().numpy().tobytes()
        header[name] = dict(dtype="I64" if tensor.dtype == torch.int64 else "F32", shape=list(tensor.shape),
                            data_offsets=[offset, offset + len(data)])
        parts.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def ldar_verify(options, model, dtype, golden):
    """The largest error that the program finds, relative; it refuses what is out of its own bounds."""
    command = [options.ldar, "verify", "-q", "--dtype", dtype, "-@", str(options.threads), model, golden]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    outside = [line for line in done.stdout.splitlines() if line.endswith("OUT OF BOUNDS")]
    if outside:
        raise Refused("; ".join(" ".join(line.split()[1:]) for line in outside))
    if done.returncode != 0:
        raise Missing((done.stderr.strip() or "ldar verify failed").splitlines()[-1])
    return max(float(error) for error in re.findall(r"(?:relative|rel-L2) +(\S+)", done.stdout))


# ---- the same work ----

def distance(a, b):
    return float((a.double() - b.double()).norm() / b.double().norm())


def require(what, dtype, a, b):
    error = distance(a, b)
    if not error <= BOUND[dtype]:
        raise Refused(f"{what} differ by {error:.1e}, more than {BOUND[dtype]:.0e}")
    return error


def random_ids(count, length):
    draw = random.Random(length)
    return torch.tensor([[draw.randrange(4) for _ in range(length)] for _ in range(count)])


def decided(reference, candidates, length, kept):
    """Random sequences whose boundary probabilities keep the farthest from 0.5, (kept, L): near it the last bit
    decides, and what differs behind a decision is no error of arithmetic."""
    ids = random_ids(candidates, length)
    routing = peer.Routing(RATIO)
    reference(ids, routing)
    margin = (routing.probabilities[0][:, 1:] - 0.5).abs().amin(1)
    return ids[margin.topk(kept).indices]


class Check:
    """Boundaries that the router decides: PyTorch against ldar. Fixed ones, which are timed: a network against this
    reference, which picks rows by a list, as it does with the router's."""

    def __init__(self, options, folder, model, tensors):
        self.options, self.folder, self.model, self.tensors = options, folder, model, tensors
        self.onednn = peer.fastest_onednn()
        self.reference = peer.Network(*tensors, peer.Style())
        self.short = decided(self.reference, 128, 40, 8)
        self.long = decided(self.reference, 8, 1300, 1)
        self.errors = {}

    def against_ldar(self, dtype):
        if dtype not in self.errors:
            sets = [self.short] if dtype == "bf16" else [self.short, self.long]
            self.errors[dtype] = max(self.compare(dtype, ids) for ids in sets)
        return self.errors[dtype]

    def compare(self, dtype, ids):
        ours = ldar_logits(self.options, self.folder, self.model, dtype, ids)
        theirs = torch.cat([self.reference(row[None], peer.Routing(0))[0] for row in ids])
        return require(f"logits of ldar in {dtype} and PyTorch", dtype, ours, theirs)

    def pass_of(self, mode, dtype, ids):
        """What is timed, and how far its logits are off."""
        network = self.network(mode, dtype)
        first = torch.cat([self.reference(row[None], peer.Routing(RATIO, gather=True)) for row in ids[:2]])
        error = require(f"logits of PyTorch, {mode}, fixed boundaries,", dtype, network(ids)[:2], first)
        return (lambda: network(ids)), error

    def network(self, mode, dtype):
        plain = mode.startswith("plain")
        style = peer.Style(dtype=torch.bfloat16 if dtype == "bf16" else torch.float32, plain=plain,
                           onednn=self.onednn and not plain, fused=mode == "compiled")
        network = peer.Network(*self.tensors, style)
        return network.compile_steps() if mode == "plain-compiled" else network


class TrainingCheck:
    """The same for steps: losses and gradients. ldar is compared with float64 where the router decides, by the golden
    file that this makes; what is timed with float32 in the interpreter."""

    def __init__(self, options, folder, model, tensors):
        self.options, self.folder, self.model, self.tensors = options, folder, model, tensors
        self.errors = {}

    def golden(self):
        with torch.inference_mode():
            ids = decided(peer.Network(*self.tensors, peer.Style()), 128, 40, 8)
        batch, labels = (list(t[:, None].clone()) for t in training.masked(ids, 1))
        network = training.Network(*self.tensors, torch.float64)
        losses = training.gradients(network, batch, labels, 0)
        found = {f"{what}.{i}": rows[0] for what, all in (("ids", batch), ("labels", labels)) for i, rows in
                 enumerate(all)}
        found.update((name, loss.detach().float()[None]) for name, loss in zip(("loss", "mlm", "ratio"), losses))
        found.update((f"grad.{name}", network.parameters[name].grad.float()) for name in GRADIENTS)
        return found

    def against_ldar(self, dtype):
        path = os.path.join(self.folder, "check.safetensors")
        if not self.errors:
            write_tensors(path, self.golden())
        if dtype not in self.errors:
            self.errors[dtype] = ldar_verify(self.options, self.model, dtype, path)
        return self.errors[dtype]

    def pass_of(self, mode, dtype, ids):
        ids, labels = training.masked(ids, 1)
        reference = training.Network(*self.tensors)
        expected = training.gradients(reference, [ids], [labels], RATIO)
        network = training.Network(*self.tensors, compiled=mode == "compiled")
        trainer = training.Trainer(network, dtype == "bf16")
        losses = training.gradients(network, [ids], [labels], RATIO, autocast=trainer.autocast)
        pairs = [("loss", losses[0].detach(), expected[0].detach())]
        pairs += [(f"gradient of {name}", network.parameters[name].grad, reference.parameters[name].grad)
                  for name in GRADIENTS]
        error = max(require(f"{what} of PyTorch, {mode}, and in float32,", dtype, a, b) for what, a, b in pairs)
        return (lambda: trainer.step(ids, labels, RATIO)), error


# ---- turns ----

def peer_turn(compute, count, passes):
    """Nucleotides per second, median of the passes."""
    compute()
    seconds = []
    for _ in range(passes):
        start = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - start)
    return count / statistics.median(seconds)


def passes_for(rate, ids_count):
    return min(50, max(1, round(TURN_SECONDS * rate / ids_count)))


def median_of(values):
    return statistics.median(values) if values else None


def measure(options, model, case, mode, compute):
    """One row. compute, a pass of PyTorch, is None without it; ldar may be missing too."""
    preset, dtype, length, batch = case
    row = dict(what=options.what, preset=preset, dtype=dtype, length=length, batch=batch, every=RATIO,
               threads=options.threads, mode=mode, repeats=options.repeats)
    ours, theirs = [], []
    count = length * batch
    try:
        first = ldar_turn(options, model, case, 1)
        row.update(isa=first.get("isa"), gemm=first.get("gemm"), ldar_dtype=first.get("dtype"))
        own_passes = passes_for(first["nt_per_s"], count)
    except Missing as missing:
        first, row["ldar_missing"] = None, str(missing)
    peer_passes = passes_for(peer_turn(compute, count, 1), count) if compute else 0
    for _ in range(options.repeats):
        if first:
            ours.append(ldar_turn(options, model, case, own_passes)["nt_per_s"])
        if compute:
            theirs.append(peer_turn(compute, count, peer_passes))
    ratios = [a / b for a, b in zip(ours, theirs)]
    row.update(ldar_nt_per_s=median_of(ours), peer_nt_per_s=median_of(theirs), ratio=median_of(ratios),
               ratio_min=min(ratios, default=None), ratio_max=max(ratios, default=None), pairs=list(zip(ours, theirs)))
    return row


def make_models(options, folder, presets):
    models = {preset: os.path.join(folder, f"{preset}.safetensors") for preset in presets}
    for preset, model in models.items():
        ldar(options, "init", "-q", "--preset", preset, "-o", model)
    return models


def run_preset(options, folder, preset, model, cases):
    if not torch:
        for case in cases:
            yield measure(options, model, case, None, None)
        return
    check = (TrainingCheck if options.what == "train" else Check)(options, folder, model, peer.read_model(model))
    for case, mode in itertools.product(cases, options.modes):
        _, dtype, length, batch = case
        print(f"{preset}, {dtype}, {batch} x {length}, {mode}", file=sys.stderr)
        try:
            try:
                error = check.against_ldar(dtype)
            except Missing:
                error = None
            compute, peer_error = check.pass_of(mode, dtype, random_ids(batch, length))
            row = measure(options, model, case, mode, compute)
            row.update(ldar_error=error, peer_error=peer_error)
            del compute
        except Refused as refused:
            row = dict(preset=preset, dtype=dtype, length=length, batch=batch, mode=mode, refused=str(refused))
        yield row


# ---- the report ----

def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            match = re.search(r"^(?:model name|CPU part)\s*:\s*(.*)$", file.read(), re.M)
    except OSError:
        match = None
    return match.group(1) if match else platform.processor() or platform.machine()


def versions(options):
    found = dict(cpu=cpu_name(), threads=options.threads, ldar=ldar(options, "--version").split()[-1],
                 python=platform.python_version())
    if torch:
        built = torch.__config__.show()
        part = lambda pattern: (re.search(pattern, built) or ["", ""])[1]
        found.update(torch=torch.__version__, onednn=part(r"MKL-DNN v(\S+)"),
                     mkl=part(r"Math Kernel Library Version ([\d.]+)"))
    return found


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def markdown(found, rows):
    yield f"{found['cpu']}, {found['threads']} threads; ldar {found['ldar']}" + (
        f"; PyTorch {found['torch']} with oneDNN {found['onednn']}, MKL {found['mkl']}" if torch else "")
    yield ""
    yield "| model | dtype | sequences | PyTorch | ldar nt/s | PyTorch nt/s | ratio | of pairs |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        done_in = row.get("ldar_dtype") or row["dtype"]
        dtype = row["dtype"] if done_in == row["dtype"] else f"{row['dtype']}, ldar in {done_in}"
        shape = f"| {row['preset']} | {dtype} | {row['batch']} x {row['length']} | {row['mode'] or ''} |"
        if "refused" in row:
            yield f"{shape} | | | refused: {row['refused']} |"
            continue
        span = f"{row['ratio_min']:.2f}-{row['ratio_max']:.2f}" if row["ratio"] else ""
        yield (f"{shape} {number(row['ldar_nt_per_s'])} | {number(row['peer_nt_per_s'])} | {number(row['ratio'], 2)} | "
               f"{span} |")
    for reason in sorted({row["ldar_missing"] for row in rows if "ldar_missing" in row}):
        yield f"\nNot from ldar: {reason}"


def main():
    options = parse_arguments()
    cases = cases_of(options)
    if torch:
        peer.keep_memory()
        torch.set_num_threads(options.threads)
    else:
        print(f"compare.py: PyTorch cannot be used ({why_no_torch}): ldar alone", file=sys.stderr)
    rows = []
    try:
        found = versions(options)
        quiet = torch.inference_mode() if torch and options.what == "forward" else contextlib.nullcontext()
        with tempfile.TemporaryDirectory() as folder, quiet:
            for preset, model in make_models(options, folder, dict.fromkeys(case[0] for case in cases)).items():
                rows += run_preset(options, folder, preset, model, [case for case in cases if case[0] == preset])
    except (Missing, OSError) as failure:
        print(f"compare.py: {failure}", file=sys.stderr)
        return 1
    if options.output == "json":
        print(json.dumps(dict(found, rows=rows), indent=1))
    else:
        print("\n".join(markdown(found, rows)))
    return 1 if any("refused" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
