"""Trains one of the two demo models from scratch on the CPU and writes its weights as a safetensors file.

The network is the one llama.cpp runs for the architecture `llama`: RMSNorm, rotary positions on neighbouring pairs, SwiGLU,
untied output; with experts, Mixtral style (softmax over all experts, the best two renormalised). Tensor names are those of GGUF.
"""

import argparse
import json
import os
import struct
import time
from dataclasses import asdict, dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import corpus

VOCABULARY_SIZE = 288
ALLOWED_IDS = [0x0A, *range(0x20, 0x7F), corpus.END_OF_TEXT, corpus.TURN_END]
# Hidden dimension 0 is a constant no block writes; it pushes the logit of every id the model must never say far below the rest.
CONSTANT = 4.0
FORBIDDEN_WEIGHT = -2000.0
EPSILON = 1e-5
BALANCE_WEIGHT = 0.05


@dataclass(frozen=True)
class Shape:
    embedding: int
    layers: int
    heads: int
    feed_forward: int
    experts: int = 0
    experts_used: int = 0
    rope_base: float = 1000.0
    context: int = 2048


SHAPES = {
    "dense": Shape(embedding=128, layers=4, heads=4, feed_forward=384),
    "moe": Shape(embedding=128, layers=3, heads=4, feed_forward=64, experts=8, experts_used=2),
}


def initial_weights(shape: Shape, seed: int) -> dict[str, np.ndarray]:
    """Weights under their GGUF names, each matrix as (rows = outputs, columns = inputs), experts as (expert, outputs, inputs)."""
    rng = np.random.default_rng(seed)
    width = shape.embedding

    def matrix(*dims: int) -> np.ndarray:
        return rng.normal(0, dims[-1] ** -0.5, dims).astype(np.float32)

    weights = {
        "token_embd.weight": rng.normal(0, 0.5, (VOCABULARY_SIZE, width)).astype(np.float32),
        "output_norm.weight": np.ones(width, np.float32),
        "output.weight": 0.1 * matrix(VOCABULARY_SIZE, width),
    }
    expert_dims = (shape.experts,) if shape.experts else ()
    suffix = "_exps.weight" if shape.experts else ".weight"
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        weights[block + "attn_norm.weight"] = np.ones(width, np.float32)
        weights[block + "ffn_norm.weight"] = np.ones(width, np.float32)
        for name in ("attn_q", "attn_k", "attn_v"):
            weights[f"{block}{name}.weight"] = matrix(width, width)
        weights[block + "attn_output.weight"] = 0.2 * matrix(width, width)
        weights[f"{block}ffn_gate{suffix}"] = matrix(*expert_dims, shape.feed_forward, width)
        weights[f"{block}ffn_up{suffix}"] = matrix(*expert_dims, shape.feed_forward, width)
        weights[f"{block}ffn_down{suffix}"] = 0.2 * matrix(*expert_dims, width, shape.feed_forward)
        if shape.experts:
            weights[block + "ffn_gate_inp.weight"] = matrix(shape.experts, width)
    look_back(weights, shape)
    return constrain(weights)


def look_back(weights, shape: Shape) -> None:
    """Makes the heads of the first two layers begin by looking a given distance back, each its own.

    In the first layer those are the last few ids, so that groups of letters are seen from the start; in the second they are wide
    windows that cover a whole question. Query and key read only the constant there, which leaves rotary position as all that
    decides. Training is free to change it; without it the model takes long to find out that the question matters.
    """
    size = shape.embedding // shape.heads
    frequencies = shape.rope_base ** (-np.arange(0, size, 2) / size)
    for layer, distances in enumerate([(1, 2, 3, 4), (16, 24, 34, 48)]):
        query, key = (weights[f"blk.{layer}.attn_{name}.weight"] for name in "qk")
        for head, distance in enumerate(distances):
            rows = slice(head * size, (head + 1) * size)
            angles = frequencies * distance
            # Only turns slower than the distance: faster ones would see a pattern of stripes instead of one window.
            slow = np.repeat(np.where(angles < 4, 1.0, 0.0), 2)
            query[rows] *= 0.3
            key[rows] *= 0.3
            query[rows, 0] = slow * np.stack([np.cos(angles), -np.sin(angles)], axis=-1).reshape(-1)
            key[rows, 0] = slow * np.tile([1.0, 0.0], size // 2)


def constrain(weights):
    """Keeps the reserved dimension: a constant that enters with the embedding, that no block writes and only forbidden rows of the output read."""
    allowed = np.zeros(VOCABULARY_SIZE, bool)
    allowed[ALLOWED_IDS] = True
    fixed = dict(weights)
    for name, value in weights.items():
        value = jnp.asarray(value)
        if name == "token_embd.weight":
            value = value.at[:, 0].set(CONSTANT)
        elif name == "output_norm.weight":
            value = value.at[0].set(1.0)
        elif name == "output.weight":
            value = jnp.where(allowed[:, None], value, 0).at[:, 0].set(np.where(allowed, 0, FORBIDDEN_WEIGHT))
        elif "attn_output" in name or "ffn_down" in name:
            value = value.at[..., 0, :].set(0)
        fixed[name] = value
    return fixed


def rms_norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + EPSILON) * weight


def rotate(x, cosine, sine):
    """Rotates neighbouring pairs (2i, 2i+1) of x, shaped (batch, time, heads, size)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return jnp.stack([even * cosine - odd * sine, even * sine + odd * cosine], axis=-1).reshape(x.shape)


def attention(weights, block, x, cosine, sine, heads):
    batch, time_steps, width = x.shape
    query, key, value = (
        (x @ weights[f"{block}attn_{name}.weight"].T).reshape(batch, time_steps, heads, width // heads) for name in "qkv"
    )
    query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * (width // heads) ** -0.5
    causal = jnp.tril(jnp.ones((time_steps, time_steps), bool))
    shares = jax.nn.softmax(jnp.where(causal, scores, -1e30), axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", shares, value).reshape(batch, time_steps, width)
    return mixed @ weights[block + "attn_output.weight"].T


def feed_forward(weights, block, x):
    gate = jax.nn.silu(x @ weights[block + "ffn_gate.weight"].T)
    return (gate * (x @ weights[block + "ffn_up.weight"].T)) @ weights[block + "ffn_down.weight"].T


def mixture(weights, block, x, shape: Shape):
    """Runs every expert (they are tiny) and weighs the best two; returns the output and the load-balancing loss."""
    shares = jax.nn.softmax(x @ weights[block + "ffn_gate_inp.weight"].T, axis=-1)
    best = jax.lax.top_k(shares, shape.experts_used)[0]
    chosen = shares >= best[..., -1:]
    portions = jnp.where(chosen, shares, 0) / jnp.sum(best, axis=-1, keepdims=True)
    # All experts side by side are one wide feed-forward layer whose hidden units are scaled by their expert's portion.
    width = x.shape[-1]
    gate = jax.nn.silu(x @ weights[block + "ffn_gate_exps.weight"].reshape(-1, width).T)
    hidden = gate * (x @ weights[block + "ffn_up_exps.weight"].reshape(-1, width).T)
    hidden = hidden * jnp.repeat(portions, shape.feed_forward, axis=-1)
    down = weights[block + "ffn_down_exps.weight"].transpose(1, 0, 2).reshape(width, -1)
    load = jnp.mean(chosen, axis=(0, 1)) / shape.experts_used
    return hidden @ down.T, shape.experts * jnp.sum(load * jnp.mean(shares, axis=(0, 1)))


def logits_of(weights, ids, positions, shape: Shape):
    """Logits (batch, time, vocabulary) for ids and their positions (batch, time), and the load-balancing loss."""
    size = shape.embedding // shape.heads
    frequencies = shape.rope_base ** (-jnp.arange(0, size, 2) / size)
    angles = positions[..., None, None] * frequencies
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    x = weights["token_embd.weight"][ids]
    balance = 0.0
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        x = x + attention(weights, block, rms_norm(x, weights[block + "attn_norm.weight"]), cosine, sine, shape.heads)
        normed = rms_norm(x, weights[block + "ffn_norm.weight"])
        if shape.experts:
            update, layer_balance = mixture(weights, block, normed, shape)
            balance += layer_balance / shape.layers
        else:
            update = feed_forward(weights, block, normed)
        x = x + update
    return rms_norm(x, weights["output_norm.weight"]) @ weights["output.weight"].T, balance


def loss_of(weights, batch, shape: Shape):
    ids, targets, positions, importance = batch
    logits, balance = logits_of(weights, ids, positions, shape)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - chosen
    answered = jnp.where(importance >= 1, losses, 0).sum() / jnp.maximum((importance >= 1).sum(), 1)
    return (losses * importance).sum() / importance.sum() + BALANCE_WEIGHT * balance, (answered, balance)


def orthogonalise(update):
    """Newton-Schulz iteration of the Muon optimiser: the nearest matrix with all singular values about one."""
    wide = update if update.shape[-2] <= update.shape[-1] else jnp.swapaxes(update, -1, -2)
    x = wide / (jnp.linalg.norm(wide, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(5):
        square = x @ jnp.swapaxes(x, -1, -2)
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x if update.shape[-2] <= update.shape[-1] else jnp.swapaxes(x, -1, -2)


def uses_muon(name: str) -> bool:
    return name.startswith("blk.") and "norm" not in name and "gate_inp" not in name


@partial(jax.jit, static_argnames="shape", donate_argnums=(0, 1))
def train_step(weights, state, batch, rate, step, shape: Shape):
    """One step: Muon for the matrices of the blocks, Adam for embedding, output, norms and router."""
    (_, (answered, balance)), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, batch, shape)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients.values()))
    clip = jnp.minimum(1.0, 1.0 / (norm + 1e-6))
    moved, moments = {}, {}
    for name, weight in weights.items():
        gradient = gradients[name] * clip
        first, second = state[name]
        if uses_muon(name):
            first = 0.95 * first + gradient
            direction = orthogonalise(gradient + 0.95 * first)
            # The decay keeps the matrices of the feed-forward layers small; left to grow, they make training unstable.
            pace = 0.01 * rate
            moved[name] = weight * (1 - 0.5 * pace) - pace * direction
        else:
            first = 0.9 * first + 0.1 * gradient
            second = 0.99 * second + 0.01 * gradient * gradient
            direction = first / (1 - 0.9**step) / (jnp.sqrt(second / (1 - 0.99**step)) + 1e-8)
            # A router that moves fast gives all to a few experts before the others have learned anything.
            pace = rate * (0.001 if "gate_inp" in name else 0.003)
            moved[name] = weight - pace * direction
        moments[name] = (first, second)
    return constrain(moved), moments, answered, balance


def rate_at(step: int, steps: int) -> float:
    """Share of the full learning rate: a short warm-up, then a cosine down to 2 %."""
    warm_up = min(50, steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * progress))


def write_safetensors(path: str, weights, shape: Shape) -> None:
    """Writes float32 tensors with the shape of the network in the metadata."""
    header, offset = {"__metadata__": {"shape": json.dumps(asdict(shape))}}, 0
    arrays = {name: np.ascontiguousarray(np.asarray(value), "<f4") for name, value in sorted(weights.items())}
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path + ".part", "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for array in arrays.values():
            file.write(array.tobytes())
    os.replace(path + ".part", path)


def read_safetensors(path: str):
    """Returns the weights and the shape written by write_safetensors."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    shape = Shape(**json.loads(header.pop("__metadata__")["shape"]))
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"]) for name, entry in header.items()
    }, shape


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--out", required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=9, help="rows of a step")
    parser.add_argument("--length", type=int, default=384, help="ids of a row")
    parser.add_argument("--long-share", type=float, default=0.02, help="share of steps on rows of the whole context")
    parser.add_argument("--rate", type=float, default=1.0, help="factor on all learning rates")
    parser.add_argument("--resume", help="safetensors file to go on from, instead of random weights")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    shape = SHAPES[arguments.shape]
    if arguments.resume:
        weights = constrain(read_safetensors(arguments.resume)[0])
    else:
        weights = initial_weights(shape, arguments.seed)
    print(f"{sum(w.size for w in weights.values())} parameters", flush=True)
    state = {name: (jnp.zeros_like(w), jnp.zeros_like(w)) for name, w in weights.items()}
    rows = corpus.Rows(arguments.seed)
    started, recent = time.monotonic(), []
    for step in range(arguments.steps):
        # Long rows come evenly spread, so that far distances stay trained.
        is_long = int((step + 1) * arguments.long_share) > int(step * arguments.long_share)
        # First many short rows, mostly one question each, until the model has learned to read the question at all.
        is_early = not arguments.resume and step < arguments.steps * 0.6
        if is_long:
            batch = rows.batch(1, shape.context)
        elif is_early:
            batch = rows.batch(arguments.batch * 3, arguments.length // 3)
        else:
            batch = rows.batch(arguments.batch, arguments.length)
        rate = arguments.rate * rate_at(step, arguments.steps)
        weights, state, answered, balance = train_step(weights, state, batch, rate, step + 1.0, shape)
        if not is_long:
            recent.append(float(answered))
        if (step + 1) % 50 == 0:
            seconds = time.monotonic() - started
            print(f"step {step + 1} loss {np.mean(recent):.4f} balance {float(balance):.3f} {seconds:.0f} s", flush=True)
            recent = []
        if (step + 1) % 250 == 0 or step + 1 == arguments.steps:
            write_safetensors(arguments.out, weights, shape)


if __name__ == "__main__":
    main()
