# SPDX-License-Identifier: Apache-2.0
"""LDARNet's forward pass in PyTorch, as fast as its operators allow on a CPU: the peer of compare.py.

Letters: B sequences, L nucleotides, M chunks, D width, E inner width, H heads, P head width, N state width, T rows of
a tile of the scan, K tiles of all sequences.
"""

import ctypes
import dataclasses
import functools
import json
import struct
import time

import torch
import torch.nn.functional as F

HEAD_WIDTH = 64
NORM_EPS = 1e-5
DECHUNK_CLAMP = 1e-4
DECHUNK_TILE = 64
QUERY_BLOCK = 256
STORED = {"F32": torch.float32, "BF16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class Style:
    """How the network is written; what it computes is the same.

    dtype   of the matrices and of the rows that they multiply; the residual stream, the statistics of norms, decays,
            router, dechunker and head stay float32
    plain   as a reader of the papers writes it: conv1d over transposed rows, the scan as products over all heads at
            once, attention under one mask. Else: depthwise conv2d over the rows where they lie, the scan head by head,
            so that its tiles stay in the cache, attention by blocks of queries
    onednn  float32 products by oneDNN instead of MKL, whose code for CPUs of other makers is AVX2
    fused   elementwise arithmetic between products by torch.compile
    """

    dtype: torch.dtype = torch.float32
    tile: int = 64
    plain: bool = False
    onednn: bool = False
    fused: bool = False

    def fuse(self, function):
        return compiled(FUSED[function]) if self.fused else function


def compiled(function):
    """For each shape on its own. The usual limit, 8 shapes, would go back to the interpreter in silence."""
    torch._dynamo.config.recompile_limit = 256
    return torch.compile(function, dynamic=False)


def keep_memory():
    """Lets the C library keep what is freed: large tensors are otherwise mapped and zeroed anew by the kernel, which
    takes a fifth of the time. Before anything is computed."""
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    try:
        library = ctypes.CDLL(None)
        for option, value in ((trim_threshold, 2**31 - 1), (top_pad, 1 << 28), (mmap_max, 0)):
            library.mallopt(option, value)
    except (OSError, AttributeError):
        pass


def read_model(path):
    """(configuration, name -> float32 tensor) of a safetensors file that ldar wrote."""
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
    config = json.loads(header.pop("__metadata__")["config"])
    tensors = {name: data[slice(*entry["data_offsets"])].view(STORED[entry["dtype"]]).view(entry["shape"]).float()
               for name, entry in header.items()}
    return config, tensors


def layers_of(layout):
    """'m3t1' -> 'mmmt'."""
    kinds, i = "", 0
    while i < len(layout):
        end = i + 1
        while end < len(layout) and layout[end].isdigit():
            end += 1
        kinds, i = kinds + layout[i] * int(layout[i + 1:end]), end
    return kinds


# ---- elementwise arithmetic: in place for the interpreter, which writes each result to memory; and to be compiled ----

def weights_within(decay, source, mask, scores, d):
    """(K, T, T): the weight of each row's input in each row's output, within the tiles of one head."""
    m = (decay[:, :, None] + mask).add_(source[:, None]).exp_()
    m = m.mul_(scores) if scores.dtype == torch.float32 else m.to(scores.dtype).mul_(scores)
    m.diagonal(dim1=1, dim2=2).add_(d)
    return m


def weights_within_fused(decay, source, mask, scores, d):
    row = torch.arange(mask.shape[0])
    skip = torch.where(row[:, None] == row, d, 0.0)
    return (torch.exp(decay[:, :, None] + mask + source[:, None]) * scores + skip).to(scores.dtype)


def gated_norms(forward, backward, z, forward_norm, backward_norm):
    """Sum over the directions of rmsnorm(y silu(z)); the caller's out_proj holds the half of their mean."""
    gate = F.silu(z, inplace=True)
    norm = lambda y, weight: F.rms_norm(y.mul_(gate), weight.shape, weight.to(y.dtype), NORM_EPS)
    return norm(forward, forward_norm).add_(norm(backward, backward_norm))


def gated_norms_fused(forward, backward, z, forward_norm, backward_norm):
    gate = F.silu(z.float())
    norm = lambda y, weight: F.rms_norm(y * gate, weight.shape, weight, NORM_EPS)
    return (norm(forward, forward_norm) + norm(backward, backward_norm)).to(z.dtype)


def swiglu(gate, up):
    return F.silu(gate, inplace=True).mul_(up)


def swiglu_fused(gate, up):
    return F.silu(gate) * up


def add_norm(residual, update, weight, dtype):
    """In place: residual += update. Returns its norm."""
    residual.add_(update)
    return F.rms_norm(residual, weight.shape, weight, NORM_EPS).to(dtype)


FUSED = {weights_within: weights_within_fused, gated_norms: gated_norms_fused, swiglu: swiglu_fused, add_norm: add_norm}


# ---- products ----

def fastest_onednn():
    """Whether oneDNN multiplies float32 matrices faster than what F.linear calls."""
    x, weight = torch.randn(1024, 768), torch.randn(3072, 768)
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    seconds = []
    for multiply in (lambda: F.linear(x, weight), lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none",
                                                                                             [], "")):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            multiply()
            times.append(time.perf_counter() - start)
        seconds.append(min(times))
    return seconds[1] < seconds[0]


class Layer(torch.nn.Module):
    def keep(self, name, tensor):
        self.register_buffer(name, tensor.contiguous())


class Linear(Layer):
    def __init__(self, weight, style, dtype=None):
        super().__init__()
        self.onednn = style.onednn
        weight = weight.to(dtype or style.dtype).contiguous()
        if self.onednn:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self.weight = weight

    def forward(self, x):
        if self.onednn:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, None, "none", [], "")
        return F.linear(x, self.weight)


# ---- BiMamba-2 ----

def unseen(rows, side, itself):
    """-inf where the scan has not yet come by, else 0: (rows, rows). itself: whether a row sees its own input."""
    mask = torch.full((rows, rows), -torch.inf)
    return mask.triu(1 if itself else 0) if side == 0 else mask.tril(-1 if itself else 0)


kept_unseen = functools.lru_cache(maxsize=8)(unseen)


def sums_from(side, x):
    """Running sums along the last dimension, in the direction of the scan."""
    return x.cumsum(-1) if side == 0 else x.flip(-1).cumsum(-1).flip(-1)


class Direction(Layer):
    """Convolution and scan from left to right (side 0) or from right to left (side 1): the taps are reversed, not the
    rows. (B, L, E + 2 N), (B, L, H) -> (B, L, E)."""

    def __init__(self, tensors, prefix, side, width, style):
        super().__init__()
        own = lambda name: tensors[f"{prefix}.{name}"]
        self.style, self.side, self.width = style, side, width
        taps = own("conv1d.weight").to(style.dtype)
        self.history = taps.shape[2] - 1
        self.state = (taps.shape[0] - width) // 2
        taps = taps.flip(2) if side else taps
        if style.plain:
            self.keep("taps", taps)
        else:
            self.register_buffer("taps", taps[:, :, None].contiguous(memory_format=torch.channels_last))
        self.keep("conv_bias", own("conv1d.bias").to(style.dtype))
        self.keep("dt_bias", own("dt_bias"))
        self.keep("a", -torch.exp(own("A_log")))
        self.keep("d", own("D"))
        self.keep("norm", own("norm.weight"))
        self.weigh = style.fuse(weights_within)

    def convolve(self, xbc):
        length, channels = xbc.shape[1:]
        if self.style.plain:
            y = F.conv1d(xbc.transpose(1, 2), self.taps, self.conv_bias, padding=self.history, groups=channels)
        else:
            y = F.conv2d(xbc[:, None].permute(0, 3, 1, 2), self.taps, self.conv_bias, padding=(0, self.history),
                         groups=channels)[:, :, 0]
        y = y[:, :, :length] if self.side == 0 else y[:, :, self.history:]
        return F.silu(y.transpose(1, 2), inplace=True)

    def forward(self, xbc, dt):
        batch, length, _ = xbc.shape
        rows = self.style.tile
        xbc = self.convolve(xbc)
        step = F.softplus(dt + self.dt_bias)
        short = -length % rows
        if short:
            xbc, step = F.pad(xbc, (0, 0, 0, short)), F.pad(step, (0, 0, 0, short))
        tiles, heads = (length + short) // rows, step.shape[2]
        xbc = xbc.reshape(batch * tiles, rows, -1)
        step = step.reshape(batch * tiles, rows, heads).permute(0, 2, 1)
        scan = self.scan_at_once if self.style.plain else self.scan_by_heads
        return scan(batch, xbc, step).reshape(batch, length + short, self.width)[:, :length]

    def decays(self, step):
        """Logarithms. (K, H, T): the decay from where the scan enters a tile to each row, and the weight there of a
        row's input; (K, H): the decay across the tile."""
        decay = sums_from(self.side, step * self.a[:, None])
        return decay, step.log() - decay, decay[:, :, -1 if self.side == 0 else 0]

    def scan_at_once(self, batch, xbc, step):
        """(K, T, E + 2 N), (K, H, T) -> (K, T, H, P): state-space duality (Dao and Gu 2024)."""
        x, b, c = xbc.split([self.width, self.state, self.state], 2)
        dtype = x.dtype
        heads, rows = step.shape[1:]
        x = x.reshape(-1, rows, heads, HEAD_WIDTH).transpose(1, 2)
        decay, source, total = self.decays(step)
        m = torch.exp(decay[..., None] + source[:, :, None] + unseen(rows, self.side, True))
        m = m * torch.matmul(c, b.transpose(1, 2))[:, None] + torch.eye(rows) * self.d[:, None, None]
        y = torch.matmul(m.to(dtype), x)
        if x.shape[0] > batch:
            arrive = torch.exp(source + total[..., None]).to(dtype)[..., None]
            added = torch.matmul((x * arrive).transpose(2, 3), b[:, None])
            states = self.carry_at_once(batch, added, total)
            y = y + torch.matmul(c[:, None], states.transpose(2, 3)) * torch.exp(decay).to(dtype)[..., None]
        return y.transpose(1, 2)

    def carry_at_once(self, batch, added, total):
        """(K, H, P, N), (K, H): what each tile adds to the state -> the state that each tile starts from."""
        tiles, heads = added.shape[0] // batch, added.shape[1]
        total = total.view(batch, tiles, heads).transpose(1, 2).double()
        sums = sums_from(self.side, total)
        weight = torch.exp((sums - total)[..., None] - sums[..., None, :] + unseen(tiles, self.side, False))
        states = added.view(batch, tiles, heads, -1).transpose(1, 2)
        states = torch.matmul(weight.to(added.dtype), states)
        return states.transpose(1, 2).reshape(added.shape)

    def scan_by_heads(self, batch, xbc, step):
        x, b, c = xbc.split([self.width, self.state, self.state], 2)
        b, c, dtype = b.contiguous(), c.contiguous(), x.dtype
        heads, rows = step.shape[1:]
        x = x.view(-1, rows, heads, HEAD_WIDTH)
        decay, source, total = (t.transpose(0, 1).contiguous() for t in self.decays(step))
        mask, scores = kept_unseen(rows, self.side, True), torch.bmm(c, b.transpose(1, 2))
        several = x.shape[0] > batch
        if several:
            arrive, leave = (t.exp().to(dtype)[..., None] for t in (source + total[..., None], decay))
            states, transposed = x.new_empty(heads, x.shape[0], self.state, HEAD_WIDTH), b.transpose(1, 2).contiguous()
            for head in range(heads):
                torch.bmm(transposed, x[:, :, head] * arrive[head], out=states[head])
            self.carry(states.view(heads, batch, -1, self.state * HEAD_WIDTH),
                       total.exp().to(dtype).view(heads, batch, -1, 1))
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        for head in range(heads):
            m = self.weigh(decay[head], source[head], mask, scores, self.d[head])
            within = torch.bmm(m, x[:, :, head])
            if several:
                torch.addcmul(within, torch.bmm(c, states[head]), leave[head], out=y[:, :, head])
            else:
                y[:, :, head] = within
        return y

    def carry(self, states, total):
        """In place, (H, B, tiles, N P) and (H, B, tiles, 1): as carry_at_once."""
        running = torch.zeros_like(states[:, :, 0])
        tiles = range(states.shape[2])
        for tile in tiles if self.side == 0 else reversed(tiles):
            following = torch.addcmul(states[:, :, tile], running, total[:, :, tile])
            states[:, :, tile] = running
            running = following


class BiMamba(Layer):
    def __init__(self, tensors, prefix, config, style):
        super().__init__()
        inputs, outputs = (tensors[f"{prefix}.fwd.{name}_proj.weight"] for name in ("in", "out"))
        width, state = outputs.shape[1], config["ssm_cfg"]["d_state"]
        parts = inputs.split([width, width + 2 * state, width // HEAD_WIDTH])
        self.gate_proj, self.xbc_proj, self.dt_proj = (Linear(weight, style) for weight in parts)
        self.out_proj = Linear(outputs / 2, style)
        self.fwd = Direction(tensors, f"{prefix}.fwd", 0, width, style)
        self.bwd = Direction(tensors, f"{prefix}.bwd", 1, width, style)
        self.join = style.fuse(gated_norms)

    def forward(self, u):
        xbc, dt = self.xbc_proj(u), self.dt_proj(u).float()
        forward, backward = self.fwd(xbc, dt), self.bwd(xbc, dt)
        return self.out_proj(self.join(forward, backward, self.gate_proj(u), self.fwd.norm, self.bwd.norm))


# ---- attention and SwiGLU ----

@torch.compiler.disable
@functools.lru_cache(maxsize=8)
def rotation(length, width, dtype):
    """cos and sin, (L, 1, 1, width / 2)."""
    rate = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * rate
    return tuple(t[:, None, None].to(dtype) for t in (angle.cos(), angle.sin()))


@torch.compiler.disable
@functools.lru_cache(maxsize=64)
def window_mask(queries, before, keys, window, dtype):
    """0 or -inf, (queries, keys); the first query stands `before` keys after the first key."""
    distance = torch.arange(queries)[:, None] + before - torch.arange(keys)
    return torch.zeros(queries, keys, dtype=dtype).masked_fill_(distance.abs() > window, -torch.inf)


def attend(q, k, v, mask):
    """(B, H, queries, P). In bfloat16 plain products are faster than scaled_dot_product_attention, in float32 not."""
    if q.dtype == torch.float32:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    weights = torch.matmul(q * q.shape[3] ** -0.5, k.transpose(2, 3)).add_(mask).softmax(3)
    return torch.matmul(weights, v)


def windowed(q, k, v, window):
    """Attention over |i - j| <= window by blocks of queries: keys out of reach of a whole block are not read."""
    length = q.shape[2]
    blocks = []
    for start in range(0, length, QUERY_BLOCK):
        end = min(start + QUERY_BLOCK, length)
        low, high = max(0, start - window), min(length, end + window)
        mask = window_mask(end - start, start - low, high - low, window, q.dtype)
        blocks.append(attend(q[:, :, start:end], k[:, :, low:high], v[:, :, low:high], mask))
    return torch.cat(blocks, 2)


class Attention(Layer):
    def __init__(self, tensors, prefix, config, stage, style):
        super().__init__()
        attention = config["attn_cfg"]
        self.heads, self.rotary, self.window = (attention[key][stage] for key in
                                                ("num_heads", "rotary_emb_dim", "window_size"))
        self.plain = style.plain
        self.qkv = Linear(tensors[f"{prefix}.Wqkv.weight"], style)
        self.out_proj = Linear(tensors[f"{prefix}.out_proj.weight"], style)

    def forward(self, u):
        batch, length, width = u.shape
        qkv = self.qkv(u).view(batch, length, 3, self.heads, width // self.heads)
        turned = qkv[:, :, :2]
        if self.rotary:
            cos, sin = rotation(length, self.rotary, u.dtype)
            half = self.rotary // 2
            first, second, rest = turned[..., :half], turned[..., half:self.rotary], turned[..., self.rotary:]
            turned = torch.cat([first * cos - second * sin, first * sin + second * cos, rest], -1)
        q, k, v = (t.transpose(1, 2) for t in (turned[:, :, 0], turned[:, :, 1], qkv[:, :, 2]))
        if self.window < 0 or length <= self.window + 1:
            out = F.scaled_dot_product_attention(q, k, v)
        elif self.plain:
            mask = window_mask(length, 0, length, self.window, q.dtype)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            out = windowed(q, k, v, self.window)
        return self.out_proj(out.transpose(1, 2).reshape(batch, length, width))


class SwiGLU(Layer):
    def __init__(self, tensors, prefix, style):
        super().__init__()
        up, gate = tensors[f"{prefix}.fc1.weight"].chunk(2)
        self.up, self.gate = Linear(up, style), Linear(gate, style)
        self.join = style.fuse(swiglu)
        self.down = Linear(tensors[f"{prefix}.fc2.weight"], style)

    def forward(self, x):
        return self.down(self.join(self.gate(x), self.up(x)))


# ---- the network ----

class Step(Layer):
    """In place: residual += update, of the step before. Returns mixer(norm(residual))."""

    def __init__(self, norm, mixer, style):
        super().__init__()
        self.keep("norm", norm)
        self.mixer, self.dtype, self.join = mixer, style.dtype, style.fuse(add_norm)

    def forward(self, residual, update):
        return self.mixer(self.join(residual, update, self.norm, self.dtype))


class Stack(Layer):
    def __init__(self, tensors, prefix, layout, stage, config, style):
        super().__init__()
        self.steps = torch.nn.ModuleList()
        for i, kind in enumerate(layers_of(layout)):
            block = f"{prefix}.layers.{i}"
            mixer = (BiMamba(tensors, f"{block}.mixer", config, style) if kind in "mM" else
                     Attention(tensors, f"{block}.mixer", config, stage, style))
            self.steps.append(Step(tensors[f"{block}.norm1.weight"], mixer, style))
            if kind in "MT":
                self.steps.append(Step(tensors[f"{block}.norm2.weight"], SwiGLU(tensors, f"{block}.mlp", style), style))
        self.steps.append(Step(tensors[f"{prefix}.rmsnorm.weight"], torch.nn.Identity(),
                               dataclasses.replace(style, dtype=torch.float32)))

    def forward(self, update):
        residual = torch.zeros_like(update)
        for step in self.steps:
            update = step(residual, update)
        return update


class Router(Layer):
    """(B, L, D) -> probability of a boundary, (B, L)."""

    def __init__(self, tensors, prefix, style):
        super().__init__()
        self.q_proj, self.k_proj = (Linear(tensors[f"{prefix}.{name}_proj_layer.weight"], style, torch.float32)
                                    for name in "qk")

    def forward(self, x):
        q, k = self.q_proj(x), self.k_proj(x)
        q_norm, k_norm = (torch.linalg.vector_norm(t, dim=2).clamp_min(1e-12) for t in (q, k))
        forward = (q[:, :-1] * k[:, 1:]).sum(2) / (q_norm[:, :-1] * k_norm[:, 1:])
        backward = (q[:, 1:] * k[:, :-1]).sum(2) / (q_norm[:, 1:] * k_norm[:, :-1])
        return F.pad(((1 - 0.5 * (forward + backward)) / 2).clamp(0, 1), (1, 0), value=1.0)


def dechunk(z, prob):
    """Mean of the moving averages over z (B, M, D) from either end, as triangular products over tiles."""
    batch, count, width = z.shape
    short = -count % DECHUNK_TILE
    tiles = (count + short) // DECHUNK_TILE
    p = F.pad(prob.clamp(DECHUNK_CLAMP, 1 - DECHUNK_CLAMP), (0, short)).view(batch * tiles, 1, DECHUNK_TILE)
    rows = F.pad(z, (0, 0, 0, short)).view(batch * tiles, DECHUNK_TILE, width)
    total = 0
    for side in (0, 1):
        decay = sums_from(side, torch.log1p(-p[:, 0].double()))
        m = ((decay[:, :, None] - decay[:, None]).float() + unseen(DECHUNK_TILE, side, True)).exp() * p
        y = torch.bmm(m, rows).view(batch, tiles, DECHUNK_TILE, width)
        leave = decay.exp().float().view(batch, tiles, DECHUNK_TILE, 1)
        for tile in range(1, tiles) if side == 0 else range(tiles - 2, -1, -1):
            before = y[:, tile - 1, -1:] if side == 0 else y[:, tile + 1, :1]
            y[:, tile].addcmul_(leave[:, tile], before)
        total = total + y
    return (total / 2).view(batch, -1, width)[:, :count]


@dataclasses.dataclass
class Routing:
    """every: a boundary at each such position of each stage; 0: where the router says. gather: rows are picked by a
    list of boundaries, as it must be where the router decides, which takes one sequence at a time. Collects
    the probabilities (B, L) of each stage."""

    every: int = 4
    gather: bool = False
    probabilities: list = dataclasses.field(default_factory=list)


class Level(Layer):
    """A stage and all that lies inside it: (B, L, D) -> (B, L, D), float32."""

    def __init__(self, tensors, prefix, layout, stage, config, style):
        super().__init__()
        self.extra = tensors.get(f"{prefix}.pad_dimension")
        self.inner = None
        if len(layout) == 1:
            self.stack = Stack(tensors, f"{prefix}.main_network", layout[0], stage, config, style)
            return
        outer, inner, tail = layout
        self.encoder = Stack(tensors, f"{prefix}.encoder", outer, stage, config, style)
        self.router = Router(tensors, f"{prefix}.routing_module", style)
        self.residual_proj = Linear(tensors[f"{prefix}.residual_proj.weight"], style, torch.float32)
        self.keep("residual_bias", tensors[f"{prefix}.residual_proj.bias"])
        self.inner = Level(tensors, f"{prefix}.main_network", inner, stage + 1, config, style)
        self.decoder = Stack(tensors, f"{prefix}.decoder", tail, stage, config, style)

    def forward(self, x, routing):
        width = x.shape[2]
        if self.extra is not None:
            x = torch.cat([x, self.extra.expand(*x.shape[:2], -1)], 2)
        if self.inner is None:
            return self.stack(x)[..., :width]
        x = self.encoder(x)
        prob = self.router(x)
        routing.probabilities.append(prob)
        residual = self.residual_proj(x).add_(self.residual_bias)
        if routing.every and not routing.gather:
            chunks = dechunk(self.inner(x[:, ::routing.every], routing), prob[:, ::routing.every])
            spread = chunks.repeat_interleave(routing.every, 1)[:, :x.shape[1]]
        else:
            boundary = torch.arange(x.shape[1]) % routing.every == 0 if routing.every else prob[0] > 0.5
            chunks = dechunk(self.inner(x[:, boundary], routing), prob[:, boundary])
            spread = chunks[:, boundary.cumsum(0) - 1]
        return self.decoder(residual.add_(spread))[..., :width]


class Network(Layer):
    """ids (B, L) -> logits (B, L, 7)."""

    def __init__(self, config, tensors, style):
        super().__init__()
        self.keep("embeddings", tensors["embeddings.weight"])
        self.level = Level(tensors, "backbone", config["arch_layout"], 0, config, style)
        self.keep("head", tensors["embeddings.weight" if config["tie_embeddings"] else "lm_head.weight"])

    def forward(self, ids, routing=None):
        hidden = self.level(F.embedding(ids, self.embeddings), routing or Routing())
        return F.linear(hidden, self.head)

    def compile_steps(self):
        """Each step a graph of torch.compile; steps of one kind and shape share its code."""
        for module in self.modules():
            if isinstance(module, (Step, Router)):
                module.forward = compiled(module.forward)
        return self
