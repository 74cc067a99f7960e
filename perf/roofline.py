#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""roofline.py [--table] RESULTS: draws what bench_kernels --json printed, every kernel as a fraction of its own limit.

Prints an SVG: a group of bars for each kernel, a bar for each instruction set. --table prints the same as Markdown.
"""

import json
import sys
from xml.sax.saxutils import escape

# Measures and peers, not kernels that a model runs.
NO_KERNELS = {"fma_peak", "(recurrence)"}

# The instruction sets in their order, and colours that also differ for colour-blind readers.
COLOURS = {"scalar": "#8a94a3", "avx2": "#e69f00", "avx512": "#0072b2", "avx512bf16": "#009e73",
           "neon": "#0072b2", "neonbf16": "#009e73"}
INK, PALE, GRID = "#1a202c", "#4a5568", "#d5dbe3"
FONT = "ui-monospace, Menlo, Consolas, monospace"

LEFT, SCALE = 150, 470  # SCALE: the length of a bar that reaches its limit
COLUMNS = {"fraction": LEFT + SCALE + 76, "limit": LEFT + SCALE + 90, "time": LEFT + SCALE + 250}
WIDTH, TOP, BAR, GAP = LEFT + SCALE + 262, 66, 12, 10
BOUNDS = {"multiply": "multiply units", "divide": "division units"}


class Refused(Exception):
    """The results do not hold what is to be drawn."""


def read_results(path):
    """The machine, the rates of each instruction set, and {kernel: {instruction set: row}} of one file."""
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)
    machine = next((row for row in rows if row["what"] == "machine"), None)
    rates = {row["isa"]: row for row in rows if row["what"] == "rates"}
    kernels = {}
    for row in rows:
        if row["what"] == "kernel" and "fraction" in row and row["kernel"] not in NO_KERNELS:
            kernels.setdefault(row["kernel"], {})[row["isa"]] = row
    if machine is None or not kernels:
        raise Refused(f"{path}: no machine, or no kernel with a limit")
    unknown = set(rates) - set(COLOURS)
    if unknown:
        raise Refused(f"{path}: no colour for {', '.join(sorted(unknown))}")
    return machine, rates, kernels


def instruction_sets(rates):
    return [isa for isa in COLOURS if isa in rates]


def sorted_kernels(kernels, isas):
    """The nearest to its limit first, on the best instruction set that each was measured on."""
    def nearness(item):
        return -next(item[1][isa]["fraction"] for isa in reversed(isas) if isa in item[1])
    return sorted(kernels.items(), key=nearness)


def duration(row):
    """Time per unit in the unit that leaves one to three digits before the point."""
    value, unit = row["ns_per_unit"], "ns"
    for larger in ("us", "ms"):
        if value >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"


def bound_of(row):
    return BOUNDS.get(row["bound"], "memory" if row["bound"] == "memory" else f"{row['bound']} bandwidth")


def text(x, y, content, size=11, anchor="start", colour=INK):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">'
            f"{escape(content)}</text>")


def legend(isas):
    x = LEFT
    for isa in isas:
        yield f'<rect x="{x}" y="32" width="11" height="11" fill="{COLOURS[isa]}"/>'
        yield text(x + 16, 41.5, isa)
        x += 7 * len(isa) + 44


def grid(bottom):
    for tenth in range(0, 11, 2):
        x, label = LEFT + SCALE * tenth / 10, f"{tenth / 10:g}"
        yield f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{INK if tenth == 10 else GRID}"/>'
        yield text(x, TOP - 6, label, anchor="middle", colour=PALE)
        yield text(x, bottom + 14, label, anchor="middle", colour=PALE)
    for name, x in COLUMNS.items():
        yield text(x, TOP - 6, name, anchor="start" if name == "limit" else "end", colour=PALE)


def bars(kernel, rows, isas, y):
    middle = y + BAR * len(isas) / 2
    yield text(LEFT - 8, middle - 1, kernel, size=12, anchor="end")
    yield text(LEFT - 8, middle + 11, "per " + next(iter(rows.values()))["unit"], size=9, anchor="end", colour=PALE)
    for isa in isas:
        if isa in rows:
            row = rows[isa]
            # A hair above 1 is noise of the measured limit; the number in the column says how much.
            length = SCALE * min(row["fraction"], 1.04)
            yield f'<rect x="{LEFT}" y="{y + 1}" width="{length:.1f}" height="{BAR - 2}" fill="{COLOURS[isa]}"/>'
            yield text(COLUMNS["fraction"], y + BAR - 2, f"{row['fraction']:.2f}", anchor="end")
            yield text(COLUMNS["limit"], y + BAR - 2, bound_of(row), colour=PALE)
            yield text(COLUMNS["time"], y + BAR - 2, duration(row), anchor="end", colour=PALE)
        y += BAR


def caption(machine, rates, isas):
    levels = ", ".join(f"{level['name']} {level['read_gb_per_s']:.0f}" for level in machine["levels"])
    peaks = ", ".join(f"{isa} {rates[isa]['peak_gflops']:.3g}" for isa in isas)
    return [f"{machine['cpu'] or 'unnamed processor'}, one core. Measured beside the kernels:",
            f"multiply units, GFLOP/s of multiply-adds: {peaks}",
            f"reading, GB/s: {levels}"]


def draw(machine, rates, kernels):
    isas = instruction_sets(rates)
    step = BAR * len(isas) + GAP
    bottom = TOP + step * len(kernels) + GAP
    notes = caption(machine, rates, isas)
    height = bottom + 34 + 16 * len(notes)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
           f'height="{height}" font-family="{FONT}">',
           f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
           text(LEFT, 20, "How much of its own limit each kernel reaches", size=14),
           *legend(isas), *grid(bottom)]
    for place, (kernel, rows) in enumerate(sorted_kernels(kernels, isas)):
        out += bars(kernel, rows, isas, TOP + GAP + step * place)
    out += [text(LEFT, bottom + 38 + 16 * line, note, colour=PALE) for line, note in enumerate(notes)]
    return "\n".join(out + ["</svg>"])


def table(_, rates, kernels):
    isas = instruction_sets(rates)
    lines = ["| kernel | per | limit | " + " | ".join(isas) + " |", "|---" * (3 + len(isas)) + "|"]
    for kernel, rows in sorted_kernels(kernels, isas):
        best = next(rows[isa] for isa in reversed(isas) if isa in rows)
        cells = []
        for isa in isas:
            row = rows.get(isa)
            other = row and row["bound"] != best["bound"]
            cells.append(f"{duration(row)}, {row['fraction']:.2f}" + (f" of {bound_of(row)}" if other else "")
                         if row else "")
        lines.append(f"| `{kernel}` | {best['unit']} | {bound_of(best)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(words):
    render = table if words[:1] == ["--table"] else draw
    paths = words[1:] if render is table else words
    if len(paths) != 1:
        sys.exit("usage: roofline.py [--table] RESULTS")
    try:
        print(render(*read_results(paths[0])))
    except (OSError, ValueError, KeyError, Refused) as error:
        sys.exit(f"roofline.py: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
