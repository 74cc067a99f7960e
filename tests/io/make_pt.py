# SPDX-License-Identifier: Apache-2.0
"""Write checkpoints with PyTorch for the tests of the .pt reader.

  make_pt.py OUT_DIR        exit code 77 where PyTorch is not installed

published.pt  as the authors save it: model, optimiser state, config, step, args
views.pt      a bare state_dict of a wrapped, compiled model: every dtype, transposed, strided and shared storages,
              deflated entries, no config
legacy.pt     the form before zip
reference.safetensors  the same weights, with config

All values are multiples of 1/64 within +-1, so that every dtype holds them exactly.
"""

import argparse
import collections
import io
import json
import struct
import sys
import zipfile

try:
    import torch
except ImportError:
    print("skipped: no PyTorch")
    sys.exit(77)

CONFIG = dict(
    arch_layout=["m1", ["T1"], "t1"],
    d_model=[16, 24],
    d_intermediate=[0, 100],
    vocab_size=7,
    ssm_cfg=dict(chunk_size=256, d_conv=4, d_state=2, expand=4),
    attn_cfg=dict(num_heads=[2, 3], rotary_emb_dim=[4, 8], window_size=[7, -1]),
    tie_embeddings=False,
    mode="mlm",
    pad_token_id=6,
    mask_token_id=5,
    dropout=0.0,
    extra=dict(nested=[1, 2.5, None, dict(deep="text")]),
)


def shapes():
    out = collections.OrderedDict()
    out["embeddings.weight"] = (7, 16)
    out["backbone.encoder.layers.0.norm1.weight"] = (16,)
    for side in ("fwd", "bwd"):
        m = f"backbone.encoder.layers.0.mixer.{side}"
        out[f"{m}.dt_bias"] = out[f"{m}.A_log"] = out[f"{m}.D"] = (1,)
        out[f"{m}.in_proj.weight"] = (2 * 64 + 2 * 2 + 1, 16)
        out[f"{m}.conv1d.weight"] = (64 + 2 * 2, 1, 4)
        out[f"{m}.conv1d.bias"] = (64 + 2 * 2,)
        out[f"{m}.norm.weight"] = (64,)
        out[f"{m}.out_proj.weight"] = (16, 64)
    out["backbone.encoder.rmsnorm.weight"] = (16,)
    for name in ("routing_module.q_proj_layer", "routing_module.k_proj_layer", "residual_proj"):
        out[f"backbone.{name}.weight"] = (16, 16)
    out["backbone.residual_proj.bias"] = (16,)
    main = "backbone.main_network"
    out[f"{main}.pad_dimension"] = (8,)
    block = f"{main}.main_network.layers.0"
    out[f"{block}.norm1.weight"] = out[f"{block}.norm2.weight"] = (24,)
    out[f"{block}.mixer.Wqkv.weight"] = (72, 24)
    out[f"{block}.mixer.out_proj.weight"] = (24, 24)
    out[f"{block}.mlp.fc1.weight"] = (256, 24)
    out[f"{block}.mlp.fc2.weight"] = (24, 128)
    out[f"{main}.main_network.rmsnorm.weight"] = (24,)
    block = "backbone.decoder.layers.0"
    out[f"{block}.norm1.weight"] = (16,)
    out[f"{block}.mixer.Wqkv.weight"] = (48, 16)
    out[f"{block}.mixer.out_proj.weight"] = (16, 16)
    out["backbone.decoder.rmsnorm.weight"] = (16,)
    out["lm_head.weight"] = (7, 16)
    return out


def weights():
    g = torch.Generator().manual_seed(5)
    p = collections.OrderedDict()
    for name, shape in shapes().items():
        twin = name.replace(".bwd.", ".fwd.")
        shared = ".bwd.in_proj" in name or ".bwd.out_proj" in name
        p[name] = p[twin] if shared else torch.randint(-64, 65, shape, generator=g).float() / 64
    return p


def write_reference(path, p):
    header, data = {"__metadata__": {"format": "ldarnet", "config": json.dumps(CONFIG)}}, b""
    for name, t in p.items():
        begin, data = len(data), data + t.contiguous().numpy().tobytes()
        header[name] = dict(dtype="F32", shape=list(t.shape), data_offsets=[begin, len(data)])
    head = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)


def write_published(path, p):
    leaves = [torch.nn.Parameter(p["lm_head.weight"].clone()), torch.nn.Parameter(p["embeddings.weight"].clone())]
    opt = torch.optim.AdamW(leaves, lr=1e-3, betas=(0.9, 0.95))
    sum(x.square().sum() for x in leaves).backward()
    opt.step()
    args = argparse.Namespace(lr=1e-3, steps=10 ** 12, seed=2 ** 70, names={"a", "b"}, size=torch.Size([1, 2]),
                              device=torch.device("cpu"), dtype=torch.bfloat16, note="\u00e9\n")
    model = collections.OrderedDict(p)
    model["embeddings.weight"] = torch.nn.Parameter(p["embeddings.weight"])
    torch.save(dict(model=model, opt=opt.state_dict(), config=CONFIG, step=7, args=args,
                    rng=torch.get_rng_state()[:16], flags=torch.ones(2, dtype=torch.bool)), path)


def deflate(source, path):
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as b:
        for entry in a.namelist():
            b.writestr(entry, a.read(entry))


def write_views(path, p):
    """Neighbours in one storage, a transpose, every second column, a broadcast row, all dtypes."""
    model = collections.OrderedDict()
    dtypes = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
    flat = torch.cat([p[n].reshape(-1) for n in p if n.endswith("rmsnorm.weight")])
    at = 0
    for i, (name, t) in enumerate(p.items()):
        t = t.to(dtypes[i % 4])
        if name.endswith("rmsnorm.weight"):
            t, at = flat[at:at + t.numel()], at + t.numel()
        elif "fc2" in name:
            t = t.t().contiguous().t()
        elif "Wqkv" in name:
            wide = torch.zeros(t.shape[0] + 3, 2 * t.shape[1], dtype=t.dtype)
            wide[3:, ::2] = t
            t = wide[3:, ::2]
        elif "conv1d.weight" in name:
            t = t.permute(2, 1, 0).contiguous().permute(2, 1, 0)
        if ".bwd.in_proj" in name:
            t = model["module._orig_mod." + name.replace(".bwd.", ".fwd.")]
        elif ".bwd.out_proj" in name:
            t = model["module._orig_mod." + name.replace(".bwd.", ".fwd.")].clone()
        model["module._orig_mod." + name] = t
    model._metadata = collections.OrderedDict({"": {"version": 1}})
    stored = io.BytesIO()
    torch.save(model, stored)
    deflate(stored, path)


def main(out):
    p = weights()
    write_reference(f"{out}/reference.safetensors", p)
    write_published(f"{out}/published.pt", p)
    write_views(f"{out}/views.pt", p)
    torch.save(dict(model=dict(x=torch.zeros(1))), f"{out}/legacy.pt", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main(sys.argv[1])
