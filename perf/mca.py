#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mca.py: how fast the AArch64 kernels may be on cores that are not at hand. An ESTIMATE.

A kernel of a cross build runs under qemu-aarch64, which tells the path that it takes through the machine code, and
llvm-mca schedules that path on LLVM's model of a core. Two tables come out: the innermost loops with most of the
multiply-adds, and whole kernels for a tile of 64 tokens, both against what the core's multiply-add units allow. Cycles
are llvm-mca's, or what dispatch allows where that is more: the models do not bound instructions per cycle. They know
ports, latencies and micro-operations, but no cache (each load hits L1), no mispredicted branch and no dependence
through memory.

Needs an AArch64 build (preset arm64), its compiler and binutils, qemu-aarch64, and llvm-mca of LLVM 17 or later.
"""

import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# 128-bit multiply-adds and instructions dispatched per cycle (Arm's Software Optimization Guides); where it is found.
Core = collections.namedtuple("Core", "units dispatch bf16 found_in")
CORES = {
    "neoverse-n1": Core(2, 4, False, "Graviton 2, Ampere Altra"),
    "neoverse-v1": Core(4, 8, True, "Graviton 3"),
    "neoverse-n2": Core(2, 5, True, "Cobalt 100, Yitian 710"),
    "neoverse-v2": Core(4, 8, True, "Graviton 4, Grace, Axion"),
}

TILE, STATE, HEAD = 64, 128, 64
SCAN_TILES, SCAN_HEADS = 4, 8


def scan_products():
    """
    C S behind the first tile, the update before the last, the triangle of M X, and the triangle of C B^T that the heads
    share.
    """
    head = 2 * STATE * HEAD * (1 - 1 / SCAN_TILES) + (TILE + 1) / 2 * HEAD
    return TILE * SCAN_TILES * (SCAN_HEADS * head + STATE * (TILE + 1) / 2)


# sizes: what perf/mca.c is given; products: the multiply-adds of the least arithmetic, if any is asked for; units of
# work in one call, and what such a unit is.
Shape = collections.namedtuple("Shape", "sizes products units unit")
SHAPES = {
    "gemm": Shape((TILE, 2304), TILE * 2304 * 512, 1, "in_proj, 64 rows, 512 x 2,304"),
    "ssd_scan": Shape((SCAN_TILES, SCAN_HEADS), scan_products(), SCAN_TILES * SCAN_HEADS,
                      "64 tokens of a head, N = 128, P = 64, 8 heads a call"),
    "attention": Shape((1024, 1024), 1024 * 1024 * 2 * 32, 1024 // TILE, "64 queries, 1,024 keys, width 32"),
    "fma_peak": Shape((1000, 1), None, 1000, "the loop that `bench` measures the multiply-add rate with"),
}

MULTIPLY_ADD = re.compile(r"^(fmla|fmls|bfdot|bfmmla)\b")
BRANCH = re.compile(r"^(b|b\.\w+|bl|blr|br|ret|cbn?z|tbn?z)\b")
JUMP = re.compile(r"^(b|bl|blr|br|ret)\b(?!\.)")
TRACE = re.compile(r"\[[0-9a-f]+/([0-9a-f]+)/")
# A store that moves its pointer: llvm-mca lets the pointer wait for what is stored, as no core does.
MOVING_STORE = re.compile(r"^(st\w+\s.*\[(\w+)(?:, #-?\w+)?)\](?:!|, .*)$")

LISTED = 0.02      # a loop is listed that does this share of a kernel's multiply-adds
ITERATIONS = 1000  # of a loop
WINDOW = 4000      # instructions of a path that are scheduled at a time
REPEATS = 2        # of a window, so that filling and draining the pipeline counts half


def fail(message):
    sys.exit(f"mca: {message}")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, **options).stdout


def newest_mca():
    names = {name for folder in os.get_exec_path() if Path(folder).is_dir() for name in os.listdir(folder)
             if re.fullmatch(r"llvm-mca(-\d+)?", name)}
    return max(names, key=lambda name: int(version_of(name).split(".")[0]), default=None)


def version_of(tool):
    return re.search(r"LLVM version (\S+)", run(tool, "--version"))[1]


class Machine:
    """llvm-mca for one core."""

    def __init__(self, tool, name):
        self.command = [tool, "-mtriple=aarch64-linux-gnu", f"-mcpu={name}", "-instruction-info=0",
                        "-resource-pressure=0"]
        self.core = CORES[name]

    def lack(self):
        """Why this core cannot be asked, or None."""
        probe = subprocess.run(self.command, input="fmla v0.4s, v1.4s, v2.4s\n", capture_output=True, text=True)
        if probe.returncode or "not a recognized" in probe.stderr:
            return next(iter(probe.stderr.strip().splitlines()), "llvm-mca failed")
        return None

    def simulated(self, code, iterations):
        out = run(*self.command, f"-iterations={iterations}", input="\n".join(code) + "\n")
        return float(re.search(r"^Total Cycles:\s+([\d.]+)", out, re.M)[1]) / iterations

    def cycles(self, code, iterations):
        return max(self.simulated(code, iterations), len(code) / self.core.dispatch)


class Program:
    """perf/mca.c with one table of kernels, as machine code."""

    def __init__(self, build, isa, folder):
        cache = (build / "CMakeCache.txt").read_text() if (build / "CMakeCache.txt").is_file() else ""
        value = {match[1]: match[2] for match in re.finditer(r"^(\w+):\w+=(.*)$", cache, re.M)}
        compiler = value.get("CMAKE_C_COMPILER", "aarch64-linux-gnu-gcc")
        kernels = build / f"src/CMakeFiles/ldar_isa_{isa}.dir/simd/isa_{isa}.c.o"
        sysroot = Path(value.get("LDAR_ARM64_SYSROOT", ROOT / "build-sysroot-arm64"))
        for path in (kernels, sysroot):
            if not path.exists():
                fail(f"{path} is missing: scripts/arm64-sysroot.sh and a build with --preset arm64 come first")
        names = re.findall(r"^ISA\((\w+), (\w+)", (ROOT / "src/simd/isa.def").read_text(), re.M)
        self.file = Path(folder, f"mca-{isa}")
        run(compiler, f"--sysroot={sysroot.resolve()}", "-static", "-O2", "-std=c17",
            *(f"-DLDAR_BUILD_{upper}={int(name == isa)}" for name, upper in names), f"-DLDAR_TABLE=ldar_kernels_{isa}",
            f"-I{ROOT / 'include'}", f"-I{ROOT / 'src'}", ROOT / "perf/mca.c", kernels, "-lm", "-o", self.file)
        self.read(re.sub(r"gcc(-\d+)?$", "", compiler))

    def read(self, prefix):
        self.mark = int(re.search(r"^([0-9a-f]+) \w mark$", run(prefix + "nm", self.file), re.M)[1], 16)
        self.text, self.place, self.joined = {}, {}, {}
        for line in run(prefix + "objdump", "-d", "--no-show-raw-insn", self.file).splitlines():
            head, code = re.match(r"([0-9a-f]+) <(.*)>:", line), re.match(r"\s+([0-9a-f]+):\t(.*)", line)
            if head:
                symbol, start = head[2], int(head[1], 16)
            if code:
                address = int(code[1], 16)
                self.text[address] = code[2].split("//")[0].strip()
                self.place[address] = f"{symbol}+{address - start:#x}"

    def starts(self, kernel, sizes):
        """The addresses at which the emulator begins a block while one call of the kernel runs, in order."""
        qemu = subprocess.Popen(["qemu-aarch64", "-cpu", "max", "-d", "exec,nochain", self.file, kernel,
                                 *map(str, sizes)], stderr=subprocess.PIPE, text=True)
        starts, within = [], False
        for line in qemu.stderr:
            match = TRACE.search(line)
            address = int(match[1], 16) if match else None
            if address == self.mark:
                within = not within
            elif within and match:
                starts.append(address)
        if qemu.wait() or not starts:
            fail(f"{kernel} does not run under qemu-aarch64")
        return starts

    def blocks(self, starts):
        """The path as (address, instructions) from one branch to the next. The emulator also begins a block at each
        page: what does not end in a branch is joined with what follows."""
        blocks, begin = [], None
        for start, following in zip(starts, starts[1:] + [None]):
            begin = begin or start
            key = begin, start, following
            if key not in self.joined:
                end = start
                while not BRANCH.match(self.text[end]) and end + 4 != following:
                    end += 4
                self.joined[key] = (begin, (end - begin) // 4 + 1), bool(BRANCH.match(self.text[end]))
            block, ends = self.joined[key]
            if ends or following is None:
                blocks.append(block)
                begin = None
        return blocks

    def code(self, block):
        """Instructions as llvm-mca reads them; where a branch leads does not matter to it."""
        for address in range(block[0], block[0] + 4 * block[1], 4):
            text = self.text[address]
            if JUMP.match(text):
                yield "b .Lthere"  # calls and returns too, of which llvm-mca would warn
            elif store := MOVING_STORE.match(text):
                yield from (f"{store[1]}]", f"add {store[2]}, {store[2]}, #16")
            else:
                yield re.sub(r"\b[0-9a-f]+ <.*>$", ".Lthere", text)

    def multiply_adds(self, block):
        return sum(bool(MULTIPLY_ADD.match(line)) for line in self.code(block))


class Call:
    """The path of one call of a kernel."""

    def __init__(self, program, kernel):
        self.program = program
        self.blocks = program.blocks(program.starts(kernel, SHAPES[kernel].sizes))
        self.instructions = sum(length for _, length in self.blocks)
        counts = collections.Counter(self.blocks)
        self.multiply_adds = sum(count * program.multiply_adds(block) for block, count in counts.items())

    def loops(self):
        """(block, share of the multiply-adds) of the blocks that follow themselves, the largest share first."""
        again = collections.Counter(block for block, following in zip(self.blocks, self.blocks[1:])
                                    if block == following)
        shares = [(block, count * self.program.multiply_adds(block) / self.multiply_adds)
                  for block, count in again.items()]
        return sorted((loop for loop in shares if loop[1] >= LISTED), key=lambda loop: -loop[1])

    def windows(self):
        """The path in pieces of WINDOW instructions and somewhat more, each with how often it comes. A piece ends
        where a loop does, so that a path that repeats itself is cut into pieces that repeat."""
        pieces, piece, length = collections.Counter(), [], 0
        for block in self.blocks:
            if length >= WINDOW and block != piece[-1]:
                pieces[tuple(piece)] += 1
                piece, length = [], 0
            piece.append(block)
            length += block[1]
        pieces[tuple(piece)] += 1
        return pieces

    def cycles(self, machine):
        return sum(count * machine.cycles([line for block in piece for line in self.program.code(block)], REPEATS)
                   for piece, count in self.windows().items())


def loop_rows(isa, kernel, call, machines):
    for block, share in call.loops():
        count = call.program.multiply_adds(block)
        row = {"isa": isa, "kernel": kernel, "loop": call.program.place[block[0]], "share": share,
               "instructions": block[1], "multiply_adds": count, "cores": {}}
        for name, machine in machines.items():
            cycles, limit = machine.cycles(list(call.program.code(block)), ITERATIONS), count / machine.core.units
            row["cores"][name] = {"cycles": cycles, "limit": limit, "fraction": limit / cycles}
        yield row


def kernel_row(isa, kernel, call, machines):
    shape = SHAPES[kernel]
    lanes = 8 if isa.endswith("bf16") else 4
    row = {"isa": isa, "kernel": kernel, "unit": shape.unit, "instructions": call.instructions / shape.units,
           "multiply_adds": call.multiply_adds / shape.units, "cores": {}}
    for name, machine in machines.items():
        cycles = call.cycles(machine) / shape.units
        limit = shape.products / lanes / machine.core.units / shape.units
        row["cores"][name] = {"cycles": cycles, "limit": limit, "fraction": limit / cycles}
    return row


def markdown(result):
    names = list(result["cores"])

    def figures(row, digits):
        for name in names:
            core = row["cores"].get(name)
            yield f" {core['cycles']:,.{digits}f} ({core['fraction']:.2f}) |" if core else " |"

    yield f"Estimates by {result['by']}; nothing here was measured. Cycles, and the fraction of the multiply-add limit."
    heads = "".join(f" {name} |" for name in names)
    yield from ("", f"| kernel | loop | of its multiply-adds | instructions, multiply-adds |{heads}",
                "|---" * (4 + len(names)) + "|")
    for row in result["loops"]:
        yield (f"| {row['isa']} `{row['kernel']}` | `{row['loop']}` | {row['share']:.2f} | {row['instructions']}, "
               f"{row['multiply_adds']} |" + "".join(figures(row, 2)))
    if result["kernels"]:
        yield from ("", f"| kernel | work | instructions, multiply-adds |{heads}", "|---" * (3 + len(names)) + "|")
    for row in result["kernels"]:
        yield (f"| {row['isa']} `{row['kernel']}` | {row['unit']} | {row['instructions']:,.0f}, "
               f"{row['multiply_adds']:,.0f} |" + "".join(figures(row, 0)))
    for line in result["lacking"]:
        yield from ("", line)


def usable(tool, names, isa, lacking):
    machines = {}
    for name in names:
        machine = Machine(tool, name)
        if isa.endswith("bf16") and not CORES[name].bf16:
            lacking.append(f"{name} has no products of bfloat16: {isa} does not run there.")
        elif reason := machine.lack():
            lacking.append(f"{name}: this llvm-mca has no model of it ({reason}).")
        else:
            machines[name] = machine
    return machines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"of {', '.join(SHAPES)}; all of them")
    parser.add_argument("--build", type=Path, default=ROOT / "build-arm64", help="an AArch64 build (build-arm64)")
    parser.add_argument("--isa", action="append", help="neon or neonbf16; may be given more than once (neon)")
    parser.add_argument("--core", action="append", choices=CORES, help="may be given more than once; all of them")
    parser.add_argument("--llvm-mca", metavar="PROGRAM", help="the newest in PATH")
    parser.add_argument("-o", type=Path, metavar="FILE", help="FILE.md or FILE.json; else .md on standard output")
    options = parser.parse_args()
    if wrong := set(options.kernels) - set(SHAPES):
        fail(f"no kernel {', '.join(sorted(wrong))}")
    tool = options.llvm_mca or newest_mca()
    if not tool or not shutil.which("qemu-aarch64"):
        fail("needs " + ("qemu-aarch64" if tool else "llvm-mca, in Debian's llvm-19"))
    version = version_of(tool)
    if int(version.split(".")[0]) < 17:
        fail(f"llvm-mca {version} has other cores' models under these names: 17 is the least (Debian: llvm-19)")
    result = {"by": f"llvm-mca {version}", "cores": {}, "loops": [], "kernels": [], "lacking": []}
    for isa in options.isa or ["neon"]:
        machines = usable(tool, options.core or CORES, isa, result["lacking"])
        result["cores"].update({name: CORES[name]._asdict() for name in machines})
        with tempfile.TemporaryDirectory() as folder:
            program = Program(options.build.resolve(), isa, folder)
            for kernel in options.kernels or SHAPES:
                call = Call(program, kernel)
                result["loops"] += loop_rows(isa, kernel, call, machines)
                if SHAPES[kernel].products:
                    result["kernels"].append(kernel_row(isa, kernel, call, machines))
    if not result["cores"]:
        fail("\n".join(result["lacking"]))
    json_wanted = options.o and options.o.suffix == ".json"
    text = json.dumps(result, indent=1) if json_wanted else "\n".join(markdown(result))
    if options.o:
        options.o.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
