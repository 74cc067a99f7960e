#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write tests/golden/shapes: small models of many shapes, and what the oracle computes with them.

  /usr/bin/python3 scripts/make-golden.py --oracle ../shared/oracle [--out tests/golden/shapes] [NAME...]

NAME.safetensors               weights and configuration; in_proj and out_proj once per layer, as "fwd"
NAME-forward-L<L>.safetensors  ids -> logits, hidden, prob, boundary; up to FULL nucleotides encoder and chunks too
NAME-train.safetensors         a batch of ids and labels -> losses, every gradient, the weights after two AdamW steps

and tests/golden/heads:

three.safetensors              a model with a head of three classes
three-examples.safetensors     a batch of ids with classes and values -> of its head, and of one of a value, scores,
                               losses and gradients; of its head, the weights after two AdamW steps

Needs PyTorch. All is computed in float64 from the float32 weights. Decisions of every stage keep MARGIN from 0.5, in
both steps of training where both are kept, so that float32 agrees on them; gradients are such that PyTorch's own
float32 finds them to STEADY. The same PyTorch writes the same bytes.
"""

import argparse
import json
import os
import sys

import torch

MARGIN = 2e-4
FULL = 600
STEADY = 2.5e-5
RATE = 1e-3
LABELLED = 0.3


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

# Lengths of a training batch. The shortest sequences have no neighbour to route by; 1,100 nucleotides are more than the
# published window and than the scan goes without keeping its state. A negative length: no position is labelled.
BATCHES = {
    "two-stages": [129, 1, 64, 2, 40],
    "three-stages": [-33, 3, 129, 40, 1],
    "equal-widths": [127, 4, 64, 1],
    "deep-state": [200, 1, 63],
    "odd-state": [64, 3, 65, -2],
    "tied": [2, 257, 66],
    "no-scan": [67, 1, 130, 3],
    "long-window": [1100, 2, 130],
}
# Without the weights after two steps. equal-widths: where nothing but itself is seen, queries and keys have no
# gradient; what float32 finds there are roundings, and AdamW makes steps of them. long-window: too many decisions to
# keep all clear of 0.5 twice.
GRADIENTS_ONLY = ("equal-widths", "long-window")
# A model with a head, small since its files hold it four times over; a batch of examples with a class and a value each.
HEADED = config(["t1", ["m1"], "m1"], [16, 16], state=4, conv=2, expand=4, heads=2, rotary=4, window=5)
CLASSES = ["none", "TATA", "non-TATA"]
EXAMPLES = [(40, 2, 0.5), (1, 0, -1.25), (65, 1, 2.0), (7, 1, 0.0), (130, 0, -0.375), (2, 2, 1.5)]
# Of the head of a value, no more than these gradients are kept.
VALUE_GRADIENTS = ("classifier.", "embeddings.", "rmsnorm", "residual_proj", "routing_module")

# The attempt that found such a batch, where there are too many before it to try them again.
FOUND = {"long-window": 168}


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


def write_forward(oracle, golden, out, name, p, seed):
    cfg, lengths = SHAPES[name]
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


def masked(ids, labelled, g):
    """Labels of a share of the positions."""
    chosen = torch.rand(len(ids), generator=g) < (LABELLED if labelled else 0)
    return torch.where(chosen, torch.randint(0, 4, (len(ids),), generator=g), torch.tensor(-100))


def shared(p):
    """What both directions share under both names."""
    return {**{k.replace(".fwd.", ".bwd."): v for k, v in p.items() if k.endswith("_proj.weight")}, **p}


def margin(oracle, p, cfg, ids):
    """The least distance of a decision from 0.5."""
    stages = [stage for x in ids for stage in oracle.forward(shared(p), cfg, x)["stages"]]
    return float(min((stage["prob"] - 0.5).abs().min() for stage in stages))


def steady(loss, p, exact, g):
    """Whether float32 finds every tensor's gradient of a loss of leaves, from weights that are off by a rounding. Those
    of one number (D of a single head) are sums that may cancel: then no float32 code does."""
    def errors():
        leaves = {k: (p[k] * (1 + 2.0**-23 * torch.randn(p[k].shape, generator=g))).requires_grad_() for k in exact}
        loss(leaves).backward()
        return (float((leaves[k].grad - v).norm() / v.norm()) for k, v in exact.items())

    return all(error < STEADY for _ in range(3) for error in errors())


def trained(oracle, golden, p, name, seed):
    """A batch that float32 can follow, and what two steps give."""
    cfg, batch = SHAPES[name][0], BATCHES[name]
    for attempt in range(FOUND.get(name, 0), 500):
        g = torch.Generator().manual_seed(seed + 7 + attempt)
        ids = [clear_sequence(oracle, golden, p, cfg, abs(n), seed + 31 * abs(n) + 104729 * attempt)[0] for n in batch]
        labels = [masked(x, n > 0, g) for x, n in zip(ids, batch)]
        (_, _, _, gradients), once = golden.adamw_steps(p, cfg, ids, labels, RATE, 1)
        loss = lambda leaves: oracle.pretraining_loss(shared(leaves), cfg, ids, labels)[0]
        if not steady(loss, p, gradients, g):
            continue
        if name in GRADIENTS_ONLY or margin(oracle, once, cfg, ids) > MARGIN:
            return ids, labels, golden.adamw_steps(p, cfg, ids, labels, RATE, 2)
    raise SystemExit(f"no batch of lengths {batch} that float32 can follow")


def write_training(oracle, golden, out, name, p, seed):
    cfg = SHAPES[name][0]
    if cfg["tie_embeddings"]:
        p = {k: v for k, v in p.items() if k != "lm_head.weight"}
    ids, labels, ((loss, mlm, ratio, gradients), stepped) = trained(oracle, golden, p, name, seed)
    t = {f"ids.{i}": x for i, x in enumerate(ids)}
    t.update({f"labels.{i}": x for i, x in enumerate(labels)})
    t.update({k: v.detach().float()[None] for k, v in dict(loss=loss, mlm=mlm, ratio=ratio).items()})
    t.update({f"grad.{k}": v.float() for k, v in gradients.items()})
    if name not in GRADIENTS_ONLY:
        t.update({f"adamw2.{k}": v.float() for k, v in stepped.items()})
    golden.save_safetensors(f"{out}/{name}-train.safetensors", t)
    print(f"{name} batch {[len(x) for x in ids]}: loss {float(loss):.6f}", flush=True)


def with_head(p, outputs, g):
    """The model with a head that tells its batch apart."""
    shapes = {"classifier.weight": (outputs, p["embeddings.weight"].shape[1]), "classifier.bias": (outputs,)}
    return {**p, **{k: 0.5 * torch.randn(shape, generator=g) for k, shape in shapes.items()}}


def example_loss(oracle, p, cfg, ids, targets, alpha):
    """Mean cross-entropy (targets are integers) or half the mean squared error, and alpha times the ratio loss."""
    outs = [oracle.forward(p, cfg, x) for x in ids]
    mean = torch.stack([o["hidden"].mean(0) for o in outs])
    scores = mean @ p["classifier.weight"].t() + p["classifier.bias"]
    loss = (torch.nn.functional.cross_entropy(scores, targets) if targets.dtype == torch.int64
            else (scores[:, 0] - targets).square().mean() / 2)
    ratio = oracle.ratio_loss(outs, 4.0)
    return loss + alpha * ratio, loss, ratio, scores


def example_steps(oracle, golden, p, cfg, ids, targets, alpha, steps):
    """Steps of AdamW as published, the head at the base rate; what has no gradient, the head of pretraining, stays."""
    outer = 4.0**0.5 * cfg["d_model"][1] / cfg["d_model"][0]
    leaves = {k: p[k].double().clone().requires_grad_() for k in stored(p, cfg)}
    groups = [dict(params=[v], lr=RATE * (1.0 if ".main_network." in k or "classifier" in k else outer),
                   weight_decay=0.0 if golden.no_decay(k) else 0.01) for k, v in leaves.items()]
    optimizer, first = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8), None
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        total, *found = example_loss(oracle, shared(leaves), cfg, ids, targets, alpha)
        total.backward()
        moved = {k: v for k, v in leaves.items() if v.grad is not None}
        first = first or (found, {k: v.grad.clone() for k, v in moved.items()})
        torch.nn.utils.clip_grad_norm_(list(moved.values()), 1.0)
        optimizer.step()
    return first, {k: v.detach() for k, v in leaves.items()}


def write_examples(oracle, golden, out, seed):
    cfg, p = HEADED, model(golden, HEADED, seed)
    g = torch.Generator().manual_seed(seed + 3000)
    heads = [with_head(p, len(CLASSES), g), with_head(p, 1, g)]
    targets = [torch.tensor([e[1] for e in EXAMPLES]), torch.tensor([e[2] for e in EXAMPLES], dtype=torch.float64)]
    for attempt in range(500):
        ids = [clear_sequence(oracle, golden, p, cfg, e[0], seed + 31 * e[0] + 104729 * attempt)[0] for e in EXAMPLES]
        (_, exact), once = example_steps(oracle, golden, heads[0], cfg, ids, targets[0], 0.03, 1)
        rest = stored(heads[0], cfg)
        loss = lambda leaves: example_loss(oracle, shared({**rest, **leaves}), cfg, ids, targets[0], 0.03)[0]
        if steady(loss, heads[0], exact, g) and margin(oracle, once, cfg, ids) > MARGIN:
            break
    else:
        raise SystemExit("no batch of examples that float32 can follow")
    golden.save_safetensors(f"{out}/three.safetensors", stored(heads[0], cfg),
                            {"format": "ldarnet", "config": json.dumps(cfg), "classes": json.dumps(CLASSES)})
    t = {f"ids.{i}": x for i, x in enumerate(ids)}
    for kind, head, target, alpha in zip(("class", "value"), heads, targets, (0.03, 0.0)):
        (found, gradients), stepped = example_steps(oracle, golden, head, cfg, ids, target, alpha, 2)
        t[f"{kind}.targets"] = target.float()
        for name, value in zip(("loss", "ratio", "scores"), found):
            t[f"{kind}.{name}"] = value.detach().float().reshape(1 if name != "scores" else value.shape)
        whole = kind == "class"
        t.update({f"{kind}.grad.{k}": v.float() for k, v in gradients.items()
                  if whole or any(part in k for part in VALUE_GRADIENTS)})
        if whole:
            t.update({f"{kind}.adamw2.{k}": v.float() for k, v in stepped.items()})
        else:
            t.update({k.replace("classifier", "value"): head[k] for k in head if k.startswith("classifier")})
        print(f"three after {attempt}, {kind}: loss {float(found[0].detach()):.6f}", flush=True)
    golden.save_safetensors(f"{out}/three-examples.safetensors", t)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", required=True, help="folder of ldarnet_oracle.py and make_golden.py")
    parser.add_argument("--out", default="tests/golden/shapes")
    parser.add_argument("--heads", default="tests/golden/heads")
    parser.add_argument("--what", choices=("forward", "train", "examples"), action="append",
                        help="files to write (default: all)")
    parser.add_argument("name", nargs="*", help="shapes to write (default: all)")
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    sys.path.insert(0, arguments.oracle)
    import ldarnet_oracle as oracle
    import make_golden as golden

    torch.set_num_threads(1)
    os.makedirs(arguments.out, exist_ok=True)
    os.makedirs(arguments.heads, exist_ok=True)
    for i, name in enumerate(SHAPES):
        if arguments.name and name not in arguments.name:
            continue
        seed = 100 * (i + 1)
        p = model(golden, SHAPES[name][0], seed)
        for what, write in (("forward", write_forward), ("train", write_training)):
            if what in (arguments.what or ("forward", "train")):
                write(oracle, golden, arguments.out, name, p, seed)
    if "examples" in (arguments.what or ["examples"]) and not arguments.name:
        write_examples(oracle, golden, arguments.heads, 5000)


if __name__ == "__main__":
    main()
