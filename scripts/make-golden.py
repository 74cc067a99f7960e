#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write tests/golden/shapes: small models of many shapes, and what the oracle computes with them.

  /usr/bin/python3 scripts/make-golden.py --oracle ../shared/oracle [--out tests/golden/shapes] [NAME...]

NAME.safetensors               weights and configuration; in_proj and out_proj once per layer, as "fwd"
NAME-forward-L<L>.safetensors  ids -> logits, hidden, prob, boundary; up to FULL nucleotides encoder and chunks too

Needs PyTorch. All is computed in float64 from the float32 weights. Decisions of every stage keep MARGIN from 0.5, so
that float32 agrees on them. The same PyTorch writes the same bytes.
"""

import argparse
import json
import os
import sys

import torch

MARGIN = 2e-4
FULL = 600


def config(layout, width, intermediate=0, state=16, conv=4, expand=2, heads=1, rotary=0, window=-1, tie=False):
    """A published configuration; a number stands for every stage."""
    stages = len(width)
    each = lambda value: value if isinstance(value, list) else [value] * stages
    return dict(
        arch_layout=layout, d_model=width, d_intermediate=each(intermediate), vocab_size=7,
        ssm_cfg=dict(chunk_size=256, d_conv=conv, d_state=state, expand=expand),
        attn_cfg=dict(num_heads=each(heads), rotary_emb_dim=each(rotary), window_size=each(window)),
        tie_embeddings=tie)


SHAPES = {
    # two stages, each wider than the one outside; three taps
    "two-stages": (config(["m1", ["t1", ["M1"], "m1"], "m1"], [32, 64, 96], [0, 0, 100], conv=3, heads=[1, 2, 4],
                          rotary=[0, 32, 0], window=7), [1, 2, 3, 129, 1023]),
    # three stages, no change of width
    "three-stages": (config(["m1", ["t1", ["m1", ["T1"], "m1"], "t1"], "m1"], [32, 32, 32, 32], 64, rotary=16,
                            heads=2, window=[3, 1, 7, -1]), [1, 65, 300]),
    # D0 = D1; a layout that opens with attention; attention that sees nothing but itself; no rotation
    "equal-widths": (config(["t1m1", ["T1m1"], "t1"], [64, 64], 128, state=64, heads=2, window=0), [1, 4, 127]),
    # the published state width; partly rotated heads; neighbours only; two taps
    "deep-state": (config(["m1", ["t1M1"], "m1"], [32, 64], 65, state=128, conv=2, heads=[1, 4], rotary=8, window=1),
                   [5, 63, 129]),
    # a state that is no multiple of 16; E = 4 D; heads of 5 and of 20, the latter rotated whole; one tap
    "odd-state": (config(["t1", ["t1m1"], "t1"], [80, 80], state=20, conv=1, expand=4, heads=[16, 4], rotary=[4, 20],
                         window=[7, -1]), [3, 64, 65]),
    # tied embeddings; five times wider inside; E = 320
    "tied": (config(["t1", ["m1"], "T1"], [32, 160], 60, state=32, heads=[2, 4], rotary=[16, 40], window=[7, 1],
                    tie=True), [2, 66, 257]),
    # attention and SwiGLU alone; heads of 48 and of 24
    "no-scan": (config(["T1", ["t1T1"], "t1"], [48, 72], [96, 128], heads=[1, 3], rotary=[16, 24], window=[2, -1]),
                [1, 67, 255]),
    # the published window, crossed several times; the scan over many chunks
    "long-window": (config(["m1t1", ["M1"], "m1"], [32, 32], 64, rotary=32, window=[1023, -1]), [1025, 4097]),
}


def model(golden, cfg, seed):
    """golden.model with bolder routers: behind attention neighbours are alike, and a router near the identity would
    find a single chunk."""
    p = golden.model(cfg, seed)
    g = torch.Generator().manual_seed(seed + 2000)
    for k in p:
        if "k_proj_layer" in k:
            p[k] = (p[k] + 0.5 * torch.randn(p[k].shape, generator=g)).float()
    return p


def clear_sequence(oracle, golden, p, cfg, length, seed):
    """golden.sequence looks at the outermost stage alone: ask again until the inner ones are clear as well."""
    double = {k: v.double() for k, v in p.items()}
    for attempt in range(1000):
        ids = golden.sequence(p, cfg, length, seed + 7919 * attempt)
        out = oracle.forward(double, cfg, ids)
        if all((stage["prob"] - 0.5).abs().min() > MARGIN for stage in out["stages"]):
            return ids, out
    raise SystemExit(f"no clear sequence of length {length}")


def stored(p, cfg):
    """The tensors of a file: what both directions share once; a tied head not at all."""
    shared = (".bwd.in_proj", ".bwd.out_proj")
    return {k: v for k, v in p.items()
            if not any(s in k for s in shared) and not (cfg["tie_embeddings"] and k == "lm_head.weight")}


def write(oracle, golden, out, name, seed):
    cfg, lengths = SHAPES[name]
    p = model(golden, cfg, seed)
    golden.save_safetensors(f"{out}/{name}.safetensors", stored(p, cfg),
                            {"format": "ldarnet", "config": json.dumps(cfg)})
    for length in lengths:
        ids, o = clear_sequence(oracle, golden, p, cfg, length, seed + length)
        names = ["logits", "hidden", "prob"] + (["encoder", "chunks"] if length <= FULL else [])
        golden.save_safetensors(f"{out}/{name}-forward-L{length}.safetensors",
                                dict(ids=ids, boundary=o["boundary"].to(torch.uint8),
                                     **{k: o[k].float() for k in names}))
        rows = [int(stage["boundary"].sum()) for stage in o["stages"]]
        print(f"{name} L {length}: chunks {rows}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", required=True, help="folder of ldarnet_oracle.py and make_golden.py")
    parser.add_argument("--out", default="tests/golden/shapes")
    parser.add_argument("name", nargs="*", help="shapes to write (default: all)")
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    sys.path.insert(0, arguments.oracle)
    import ldarnet_oracle as oracle
    import make_golden as golden

    torch.set_num_threads(1)
    os.makedirs(arguments.out, exist_ok=True)
    for seed, name in enumerate(SHAPES):
        if not arguments.name or name in arguments.name:
            write(oracle, golden, arguments.out, name, 100 * (seed + 1))


if __name__ == "__main__":
    main()
