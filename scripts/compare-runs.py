#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare-runs.py RUN...: what runs of `ldar pretrain` have learned, side by side, as Markdown.

  compare-runs.py learned every4      validations at the steps that all runs have validated at
  compare-runs.py --agree f32 bf16    besides: exit status 1 where the runs' last steps differ by more than the bounds

The first lines say in which options the runs differ, which is what a comparison is worth. `inner tokens` is what the
inner network has computed, nucleotides over compression summed over the steps: where it is equal, so is the arithmetic.

--agree takes means over the --last steps: each run's loss must be within --loss (relative) of the first run's, and its
compression within --compression (nucleotides per token).
"""

import argparse
import json
import sys
from pathlib import Path

NOT_COMPARED = ("--output", "--resume", "--threads", "--device", "--max-memory", "--checkpoint-every")


class Run:
    def __init__(self, path):
        self.name = Path(path).name
        lines = [json.loads(line) for line in (Path(path) / "log.jsonl").read_text().splitlines()]
        self.steps = [line for line in lines if "loss" in line and "skipped" not in line]
        self.reached = max((line["step"] for line in lines if "loss" in line), default=0)
        self.validations = {line["step"]: line for line in lines if "validation_loss" in line}
        arguments = json.loads((Path(path) / "run.json").read_text())["arguments"]
        split = arguments.index("--")
        self.genomes = " ".join(arguments[split + 1:])
        self.options = {}
        for argument in arguments[:split]:
            name, _, value = argument.partition("=")
            self.options[name] = f"{self.options[name]} {value}" if name in self.options else value

    def nucleotides(self, step):
        """Windows are counted whole; intervals shorter than --window make it less."""
        return step * int(self.options["--batch"]) * int(self.options["--accumulate"]) * int(self.options["--window"])

    def inner_tokens(self):
        return self.nucleotides(1) * sum(1 / line["compression"] for line in self.steps)

    def mean(self, key, last):
        return sum(line[key] for line in self.steps[-last:]) / last


def different_options(runs):
    """(option, its value in each run), where they are not all the same."""
    names = dict.fromkeys(name for run in runs for name in run.options if name not in NOT_COMPARED)
    found = [(name, [run.options.get(name, "") for run in runs]) for name in names]
    found.append(("genomes", [run.genomes for run in runs]))
    return [(name, values) for name, values in found if len(set(values)) > 1]


def row(*cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def table(heads, rows):
    return [row(*heads), "|" + "---|" * len(heads), *(row(*cells) for cells in rows), ""]


def whole_runs(runs, last):
    heads = ["run", "steps", "nucleotides, 10^6", "inner tokens, 10^6", f"loss, last {last} steps",
             "masked loss", "compression"]
    return table(heads, [[run.name, run.reached, f"{run.nucleotides(run.reached) / 1e6:.1f}",
                          f"{run.inner_tokens() / 1e6:.2f}", f"{run.mean('loss', last):.4f}",
                          f"{run.mean('mlm', last):.4f}", f"{run.mean('compression', last):.2f}"] for run in runs])


def validations(runs):
    common = sorted(set.intersection(*(set(run.validations) for run in runs)))
    heads = ["step", "nucleotides, 10^6"]
    heads += [f"{what}, {run.name}" for what in ("loss", "accuracy", "compression") for run in runs]
    rows = []
    for step in common:
        at = [run.validations[step] for run in runs]
        cells = [f"{line['validation_loss']:.4f}" for line in at]
        cells += [f"{line['validation_accuracy']:.4f}" for line in at]
        cells += [f"{line['validation_compression']:.2f}" for line in at]
        rows.append([step, f"{runs[0].nucleotides(step) / 1e6:.1f}", *cells])
    return table(heads, rows) if rows else []


def disagreements(runs, options):
    first = runs[0]
    for run in runs[1:]:
        loss = run.mean("loss", options.last) / first.mean("loss", options.last) - 1
        compression = run.mean("compression", options.last) - first.mean("compression", options.last)
        if not abs(loss) <= options.loss:
            yield f"the loss of {run.name} is {100 * loss:+.2f} % off that of {first.name}"
        if not abs(compression) <= options.compression:
            yield f"the compression of {run.name} is {compression:+.3f} off that of {first.name}"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="+", help="the folder of a run")
    parser.add_argument("--last", type=int, default=50, metavar="N", help="last steps of a run, averaged [default 50]")
    parser.add_argument("--agree", action="store_true", help="exit status 1 where runs differ by more than the bounds")
    parser.add_argument("--loss", type=float, default=0.01, metavar="SHARE", help="[default 0.01]")
    parser.add_argument("--compression", type=float, default=0.1, metavar="N", help="[default 0.1]")
    options = parser.parse_args()
    if options.agree and len(options.run) < 2:
        parser.error("--agree takes two runs or more")
    return options


def check_comparable(runs, last):
    """Means need --last steps, and validations must have asked the same."""
    for run in runs:
        if len(run.steps) < last:
            sys.exit(f"compare-runs.py: {run.name} has {len(run.steps)} steps, fewer than --last {last}")
    asked = {line["validation_positions"] for run in runs for line in run.validations.values()}
    if len(asked) > 1:
        sys.exit(f"compare-runs.py: validations of {' and '.join(map(str, sorted(asked)))} positions: not of the same")


def main():
    options = parse_arguments()
    try:
        runs = [Run(path) for path in options.run]
    except (OSError, ValueError, KeyError) as failure:
        sys.exit(f"compare-runs.py: {failure}")
    check_comparable(runs, options.last)
    for name, values in different_options(runs):
        print(f"{name}: {', '.join(value or 'not given' for value in values)}\n")
    print("\n".join(whole_runs(runs, options.last) + validations(runs)))
    if not options.agree:
        return 0
    if len({run.reached for run in runs}) > 1:
        sys.exit("compare-runs.py: the runs have different numbers of steps")
    complaints = list(disagreements(runs, options))
    agreed = f"They agree: loss within {100 * options.loss:g} %, compression within {options.compression:g}."
    print("\n".join(complaints) or agreed)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
