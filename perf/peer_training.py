# SPDX-License-Identifier: Apache-2.0
"""A step of LDARNet's training in PyTorch, forward, backward, clipping and AdamW: the peer of compare.py --what train.

The model as a reader of the papers writes it: the scan as products over all heads at once, attention under one mask.
Letters as in peer_torch.py.
"""

import torch
import torch.nn.functional as F

import peer_torch as peer

TILE = 64
ALPHA = 0.03
CLIP = 1.0
MASKED = 0.15
MASK = 5
UNLABELLED = -100
NO_DECAY = ("A_log", "D", "dt_bias")


def parameters(tensors, dtype):
    return {name: tensor.to(dtype).clone().requires_grad_() for name, tensor in tensors.items()}


def norm(x, weight):
    return F.rms_norm(x, weight.shape, weight, peer.NORM_EPS)


# ---- layers: parameters come by name, as `own`, without the layer's prefix ----

def convolve(xbc, weight, bias, side):
    """As products of shifted rows: what autograd makes of a depthwise conv1d is many times slower."""
    length, taps = xbc.shape[1], weight.shape[2]
    rows = F.pad(xbc, (0, 0, taps - 1, 0) if side == 0 else (0, 0, 0, taps - 1))
    order = range(taps) if side == 0 else range(taps - 1, -1, -1)
    return F.silu(sum((rows[:, i:i + length] * weight[:, 0, k] for i, k in enumerate(order)), bias))


def carry(added, total, side):
    """(B, K, H, P, N), (B, K, H): what each tile adds to the state -> the state that each tile starts from."""
    total = total.permute(0, 2, 1).double()
    sums = peer.sums_from(side, total)
    weight = torch.exp((sums - total)[..., None] - sums[..., None, :] + peer.unseen(total.shape[2], side, False))
    return torch.einsum("bhkj,bjhpn->bkhpn", weight.to(added.dtype), added)


def scan(x, b, c, step, a, d, side):
    """x (B, L, H, P), b and c (B, L, N), step (B, L, H): state-space duality (Dao and Gu 2024) -> (B, L, H, P)."""
    batch, length = x.shape[:2]
    short = -length % TILE
    if short:
        x, b, c = F.pad(x, (0, 0, 0, 0, 0, short)), F.pad(b, (0, 0, 0, short)), F.pad(c, (0, 0, 0, short))
        step = F.pad(step, (0, 0, 0, short))
    tiled = lambda t: t.reshape(batch, -1, TILE, *t.shape[2:])
    x, b, c, step = tiled(x).transpose(2, 3), tiled(b), tiled(c), tiled(step).transpose(2, 3)
    decay = peer.sums_from(side, step * a[:, None])
    total = decay[..., -1 if side == 0 else 0]
    within = torch.exp(decay[..., None] - decay[..., None, :] + peer.unseen(TILE, side, True).to(decay.dtype))
    scores = torch.matmul(c, b.transpose(2, 3))
    inputs = x * step[..., None].to(x.dtype)
    y = torch.matmul((within * scores[:, :, None]).to(x.dtype), inputs) + d.to(x.dtype)[:, None, None] * x
    if x.shape[1] > 1:
        arrive = torch.exp(total[..., None] - decay).to(x.dtype)[..., None]
        added = torch.matmul((inputs * arrive).transpose(3, 4), b[:, :, None])
        states = carry(added, total, side)
        y = y + torch.matmul(c[:, :, None], states.transpose(3, 4)) * torch.exp(decay).to(x.dtype)[..., None]
    return y.transpose(2, 3).reshape(batch, length + short, *x.shape[2:3], x.shape[4])[:, :length]


def bimamba(u, own, state):
    width = own("fwd.out_proj.weight").shape[1]
    z, xbc, dt = F.linear(u, own("fwd.in_proj.weight")).split([width, width + 2 * state, width // peer.HEAD_WIDTH], 2)
    gate, total = F.silu(z.float() if z.dtype == torch.bfloat16 else z), 0
    for side, name in enumerate(("fwd", "bwd")):
        mine = lambda what: own(f"{name}.{what}")
        x, b, c = convolve(xbc, mine("conv1d.weight"), mine("conv1d.bias"), side).split([width, state, state], 2)
        step = F.softplus(dt.to(mine("dt_bias").dtype) + mine("dt_bias"))
        x = x.unflatten(2, (-1, peer.HEAD_WIDTH))
        y = scan(x, b, c, step, -torch.exp(mine("A_log")), mine("D"), side)
        total = total + norm(y.flatten(2) * gate, mine("norm.weight"))
    return F.linear(total / 2, own("fwd.out_proj.weight"))


def attention(u, own, heads, rotary, window):
    batch, length, width = u.shape
    qkv = F.linear(u, own("Wqkv.weight")).view(batch, length, 3, heads, width // heads)
    turned = qkv[:, :, :2]
    if rotary:
        cos, sin = peer.rotation(length, rotary, qkv.dtype)
        half = rotary // 2
        first, second, rest = turned[..., :half], turned[..., half:rotary], turned[..., rotary:]
        turned = torch.cat([first * cos - second * sin, first * sin + second * cos, rest], -1)
    q, k, v = (t.transpose(1, 2) for t in (turned[:, :, 0], turned[:, :, 1], qkv[:, :, 2]))
    seen = window < 0 or length <= window + 1
    mask = None if seen else peer.window_mask(length, 0, length, window, q.dtype)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return F.linear(out.transpose(1, 2).reshape(batch, length, width), own("out_proj.weight"))


def swiglu(u, own):
    up, gate = F.linear(u, own("fc1.weight")).chunk(2, 2)
    return F.linear(F.silu(gate) * up, own("fc2.weight"))


def block(kind, residual, weights, shape):
    """A pre-norm layer: kinds m, t and s. The residual stream, with the layer's output added."""
    u = norm(residual, weights["norm"])
    own = weights.__getitem__
    out = bimamba(u, own, *shape) if kind == "m" else attention(u, own, *shape) if kind == "t" else swiglu(u, own)
    return residual + out


# ---- the network ----

class Network:
    """ids (B, L) -> logits (B, L, 7), and what each router found. With `every` boundaries stand at each such position
    of each stage, as they do when time is measured; without, the router decides, one sequence at a time."""

    def __init__(self, config, tensors, dtype=torch.float32, compiled=False):
        self.config = config
        self.parameters = parameters(tensors, dtype)
        self.block = peer.compiled(block) if compiled else block

    def stack(self, x, prefix, layout, stage):
        attn = [self.config["attn_cfg"][key][stage] for key in ("num_heads", "rotary_emb_dim", "window_size")]
        shapes = {"m": [self.config["ssm_cfg"]["d_state"]], "t": attn, "s": []}
        for i, kind in enumerate(peer.layers_of(layout)):
            parts = [(kind.lower(), "mixer", "norm1")] + ([("s", "mlp", "norm2")] if kind in "MT" else [])
            for part, name, before in parts:
                start = f"{prefix}.layers.{i}."
                own = {key[len(start + name) + 1:]: value for key, value in self.parameters.items()
                       if key.startswith(f"{start}{name}.")}
                own["norm"] = self.parameters[f"{start}{before}.weight"]
                x = self.block(part, x, own, shapes[part])
        return norm(x, self.parameters[f"{prefix}.rmsnorm.weight"])

    def level(self, x, prefix, layout, stage, every, routed):
        p, width = self.parameters, x.shape[2]
        if f"{prefix}.pad_dimension" in p:
            x = torch.cat([x, p[f"{prefix}.pad_dimension"].expand(*x.shape[:2], -1)], 2)
        if len(layout) == 1:
            return self.stack(x, f"{prefix}.main_network", layout[0], stage)[..., :width]
        outer, inner, tail = layout
        x = self.stack(x, f"{prefix}.encoder", outer, stage)
        prob = self.route(x, prefix)
        position = torch.arange(x.shape[1])
        boundary = position % every == 0 if every else prob[0] > 0.5
        routed.append((prob, boundary))
        residual = F.linear(x, p[f"{prefix}.residual_proj.weight"], p[f"{prefix}.residual_proj.bias"])
        chunks = self.level(x[:, boundary], f"{prefix}.main_network", inner, stage + 1, every, routed)
        spread = dechunk(chunks, prob[:, boundary])[:, boundary.cumsum(0) - 1]
        chosen = torch.where(boundary, prob, 1 - prob)
        gate = chosen + (1 - chosen).detach()
        return self.stack(spread * gate[..., None] + residual, f"{prefix}.decoder", tail, stage)[..., :width]

    def route(self, x, prefix):
        with torch.autocast("cpu", enabled=False):
            q, k = (F.normalize(F.linear(x, self.parameters[f"{prefix}.routing_module.{name}_proj_layer.weight"]),
                                dim=2) for name in "qk")
            cosine = ((q[:, :-1] * k[:, 1:]).sum(2) + (q[:, 1:] * k[:, :-1]).sum(2)) / 2
            return F.pad(((1 - cosine) / 2).clamp(0, 1), (1, 0), value=1.0)

    def __call__(self, ids, every):
        routed = []
        x = self.level(F.embedding(ids, self.parameters["embeddings.weight"]), "backbone", self.config["arch_layout"],
                       0, every, routed)
        head = "embeddings.weight" if self.config["tie_embeddings"] else "lm_head.weight"
        return F.linear(x, self.parameters[head]), routed


def dechunk(z, prob):
    """Mean of the moving averages over z (B, M, D) from either end, as one triangular product each. float32."""
    with torch.autocast("cpu", enabled=False):
        p = prob.clamp(peer.DECHUNK_CLAMP, 1 - peer.DECHUNK_CLAMP)
        total = 0
        for side in (0, 1):
            decay = peer.sums_from(side, torch.log1p(-p.double()))
            weight = torch.exp(decay[:, :, None] - decay[:, None] + peer.unseen(p.shape[1], side, True)) * p[:, None]
            total = total + torch.bmm(weight.to(prob.dtype), z.to(prob.dtype))
        return total / 2


# ---- training ----

def masked(ids, seed):
    """ids and labels of masked language modelling; every chosen position becomes [MASK]."""
    chosen = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)) < MASKED
    return torch.where(chosen, MASK, ids), torch.where(chosen, ids, UNLABELLED)


def loss_of(outputs, labels, n):
    """(loss, mlm, ratio) over sequences (logits (B, L, 7), what each router found) and their labels (B, L)."""
    logits = torch.cat([logits.flatten(0, 1) for logits, _ in outputs])
    mlm = F.cross_entropy(logits.float() if logits.dtype == torch.bfloat16 else logits,
                          torch.cat([row.flatten() for row in labels]), ignore_index=UNLABELLED)
    ratio = 0
    for stage in zip(*(routed for _, routed in outputs)):
        prob = torch.cat([prob.flatten() for prob, _ in stage])
        g = prob.mean()
        f = torch.cat([boundary.expand_as(prob).flatten() for prob, boundary in stage]).to(prob.dtype).mean()
        ratio = ratio + ((1 - f) * (1 - g) + (n - 1) * f * g) * n / (n - 1)
    return mlm + ALPHA * ratio, mlm, ratio


def gradients(network, ids, labels, every, n=4.0, autocast=False):
    """Losses, and the gradients of all parameters by name. ids: sequences (B, L)."""
    for p in network.parameters.values():
        p.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        losses = loss_of([network(rows, every) for rows in ids], labels, n)
    losses[0].backward()
    return losses


def optimizer_of(network, outer):
    """AdamW with the published groups, at the rate 0: the same work, and each step starts from the same weights."""
    kind = lambda name: (".main_network." in name,
                         not (name.endswith(".bias") or "norm" in name or name.rsplit(".", 1)[-1] in NO_DECAY))
    groups = [dict(params=[p for name, p in network.parameters.items() if kind(name) == (inner, decays)],
                   lr=0.0 * (1 if inner else outer), weight_decay=0.01 if decays else 0.0)
              for inner in (False, True) for decays in (False, True)]
    return torch.optim.AdamW([group for group in groups if group["params"]], betas=(0.9, 0.95), fused=True)


class Trainer:
    def __init__(self, network, autocast):
        widths = network.config["d_model"]
        self.network, self.autocast = network, autocast
        self.optimizer = optimizer_of(network, 2 * widths[1] / widths[0])

    def step(self, ids, labels, every):
        losses = gradients(self.network, [ids], [labels], every, autocast=self.autocast)
        torch.nn.utils.clip_grad_norm_(list(self.network.parameters.values()), CLIP)
        self.optimizer.step()
        return losses
