#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill-pretrain.py [KILLS [LDAR]]: kills `ldar pretrain` at random moments, and resumes it each time.

A small run is trained once without a stop. Then it is trained again under fire: SIGKILL, and at times SIGTERM, come at
random moments, those inside a write among them; each time the run is started again with --resume and another number of
threads. What it ends with must be what the whole run ended with: the weights, both moments and the log, to the bit.
Every start must find a RUN that it can read. Repeats until KILLS kills (20) have been dealt out. LDAR: the program;
else LDAR_PROGRAM, else build/ldar. The seed is LDAR_TEST_SEED.
"""

import json
import os
import random
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
SEED = int(os.environ.get("LDAR_TEST_SEED", "1"))
EMULATOR = shlex.split(os.environ.get("LDAR_EMULATOR", "").replace(";", " "))

CONFIG = dict(
    arch_layout=["m1", ["T1M1"], "m1"],
    d_model=[32, 64],
    d_intermediate=[0, 64],
    vocab_size=7,
    ssm_cfg=dict(chunk_size=256, d_conv=4, d_state=16, expand=2),
    attn_cfg=dict(num_heads=[2, 2], rotary_emb_dim=[16, 32], window_size=[-1, -1]),
    tie_embeddings=False,
)
STEPS = 60
PLAN = f"""--config small.json --window 256 --batch 2 --accumulate 2 --steps {STEPS} --seed 5 --hold-out b
--validate-every 10 --validation-windows 4 --checkpoint-every 1 genome.fa""".split()


def prepare(draw):
    Path("small.json").write_text(json.dumps(CONFIG))
    with open("genome.fa", "w") as genome:
        for name, length in [("a", 20000), ("b", 4000)]:
            genome.write(f">{name}\n" + "".join(draw.choices("ACGT", k=length)) + "\n")


def start(program, arguments):
    command = [*EMULATOR, program, "pretrain", "-q", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def arrays(path):
    """The bytes of a safetensors file behind its header, whose hashes and counters are not the weights' business."""
    data = path.read_bytes()
    return data[8 + struct.unpack("<Q", data[:8])[0]:]


def outcome(folder):
    """What must be equal: the log but for its speed, the model, and the last checkpoint's weights and moments."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    log = [{key: value for key, value in line.items() if key != "nt_per_s"} for line in lines]
    return {
        "log": log,
        "model": (folder / "model.safetensors").read_bytes(),
        "checkpoint": arrays(folder / "checkpoints" / f"checkpoint-{STEPS}.safetensors"),
    }


def train_whole(program):
    began = time.monotonic()
    process = start(program, [*PLAN, "-@", "1", "-o", "whole"])
    _, complaint = process.communicate()
    if process.returncode:
        sys.exit(f"the run that nobody disturbs fails: {complaint.decode()}")
    return time.monotonic() - began, outcome(Path("whole"))


def train_under_fire(program, folder, seconds, kills, draw):
    """Returns how many kills were dealt out, and how many of them left half a file. Ends when the run has ended."""
    dealt = halves = 0
    while True:
        options = ["--resume", folder] if folder.exists() else [*PLAN, "-o", folder]
        memory = draw.choice([[], ["--max-memory", "2G"]])  # with a limit, checkpoints are written in the foreground
        process = start(program, [*options, *memory, "-@", str(draw.randint(1, 3))])
        number = signal.SIGTERM if draw.random() < 0.15 else signal.SIGKILL
        if dealt < kills:
            time.sleep(seconds * draw.random() ** 2)  # the first moments are a start's or a resume's: they get more
            process.send_signal(number)
        _, complaint = process.communicate()
        if process.returncode == 0:
            return dealt, halves
        if process.returncode != -number:
            sys.exit(f"kill {dealt + 1}, seed {SEED}: exit status {process.returncode}: {complaint.decode()}")
        dealt += 1
        halves += bool(list(folder.rglob("*.tmp.*")))


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    program = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("LDAR_PROGRAM", str(SOURCE / "build" / "ldar"))
    program = str(Path(program).resolve())
    draw = random.Random(SEED)
    dealt = halves = runs = 0
    with tempfile.TemporaryDirectory(prefix="ldar-kill-") as scratch:
        os.chdir(scratch)
        prepare(draw)
        seconds, whole = train_whole(program)
        while dealt < kills:
            folder = Path(f"run {runs}")
            more, left = train_under_fire(program, folder, min(seconds / 3, 20), kills - dealt, draw)
            dealt, halves, runs = dealt + more, halves + left, runs + 1
            for name, value in outcome(folder).items():
                if value != whole[name]:
                    sys.exit(f"after {dealt} kills, seed {SEED}: the {name} differs from that of the whole run")
        os.chdir(SOURCE)
    print(f"{dealt} kills, {halves} within a write, over {runs} runs of {seconds:.1f} s: all ended alike, seed {SEED}")


if __name__ == "__main__":
    main()
