#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check-objects.py: the laws that can only be read off what the compiler made.

An ISA object defines one global symbol, its table. The library exports what its headers declare and nothing else, and
all its global symbols begin with ldar_. No instruction above the x86-64 baseline stands outside the ISA objects; the
scalar object has no packed arithmetic, and each other one uses the registers it is there for.
Prints a line for each breach; exit status 1 when there is one.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

# VEX and EVEX mnemonics begin with v (verr and verw are older), mask operations with k; then BMI, POPCNT and LZCNT.
# tzcnt is left out: without BMI it is written as a prefixed bsf, which every processor runs.
ABOVE_BASELINE = re.compile(r"^(v(?!err$|erw$)|k(mov|and|or|xor|xnor|not|test|shift|unpck|add)"
                            r"|(andn|bextr|bls(i|r|msk)|bzhi|pdep|pext|mulx|rorx|sarx|shlx|shrx|popcnt|lzcnt)[lq]?$)")
PACKED = re.compile(r"^(mul|add|sub|div|sqrt|max|min)p[sd]$")
REGISTERS = {"avx2": "%ymm", "avx512": "%zmm", "avx512bf16": "%zmm"}
# Symbols that sanitizers add.
FOREIGN = re.compile(r"^(__odr_asan|__asan|__ubsan|__tsan|__sancov|__start_|__stop_|_init$|_fini$|\.L)")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def defined(nm, file, *options):
    names = {line.split()[-1] for line in run(nm, "-g", "--defined-only", *options, file).splitlines() if " " in line}
    return {name for name in names if not FOREIGN.match(name)}


def instructions(objdump, file):
    """(function, mnemonic, operands) of the whole object."""
    function = "?"
    for line in run(objdump, "-d", "--no-show-raw-insn", file).splitlines():
        if line.endswith(">:"):
            function = line.split("<")[1][:-2]
        parts = line.split("\t")
        if len(parts) >= 2:
            mnemonic, _, operands = parts[1].partition(" ")
            yield function, mnemonic, operands


def declared(headers):
    text = "".join(file.read_text() for file in sorted(Path(headers).rglob("*.h")))
    return set(re.findall(r"LDAR_API\b[^;]*?\b(ldar_\w+)\s*\(", text))


def isa_breaches(tools, name, file):
    symbols = defined(tools.nm, file)
    if symbols != {f"ldar_kernels_{name}"}:
        yield f"isa_{name}: defines {sorted(symbols)}, not ldar_kernels_{name} alone"
    if not tools.x86:
        return
    code = list(instructions(tools.objdump, file))
    if name == "scalar":
        packed = sorted({function for function, mnemonic, _ in code if PACKED.match(mnemonic)})
        if packed:
            yield f"isa_scalar: packed arithmetic in {packed}"
    elif not any(REGISTERS[name] in operands for _, _, operands in code):
        yield f"isa_{name}: no instruction uses {REGISTERS[name]}"


def baseline_breaches(tools, file):
    above = sorted({(function, mnemonic) for function, mnemonic, _ in instructions(tools.objdump, file)
                    if ABOVE_BASELINE.match(mnemonic)})
    for function, mnemonic in above:
        yield f"{file}: {function} uses {mnemonic}, which is above the baseline"


def breaches(tools):
    isas = dict(item.split("=", 1) for item in tools.isa)
    for name, file in isas.items():
        yield from isa_breaches(tools, name, file)
    if tools.x86:
        for file in [*tools.baseline, isas["scalar"]]:
            yield from baseline_breaches(tools, file)
    for name in sorted(defined(tools.nm, tools.static)):
        if not name.startswith("ldar_"):
            yield f"{tools.static}: the global symbol {name} has no prefix ldar_"
    exported, promised = defined(tools.nm, tools.shared, "-D"), declared(tools.headers)
    for name in sorted(exported - promised):
        yield f"{tools.shared}: exports {name}, which no header declares"
    for name in sorted(promised - exported):
        yield f"{tools.shared}: does not export {name}, which a header declares"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--objdump", default="objdump")
    parser.add_argument("--x86", action="store_true")
    parser.add_argument("--headers", required=True)
    parser.add_argument("--shared", required=True)
    parser.add_argument("--static", required=True)
    parser.add_argument("--isa", action="append", default=[], metavar="NAME=OBJECT")
    parser.add_argument("--baseline", nargs="*", default=[], metavar="OBJECT")
    found = list(breaches(parser.parse_args()))
    print("\n".join(found) or "no breach")
    sys.exit(bool(found))
