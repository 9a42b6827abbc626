"""Weights by the names and shapes of AniMer's network, of any size, with numbers that follow a rule."""

import zlib
from collections.abc import Iterator

import numpy as np
import torch

Shape = tuple[int, ...]
# Widths and counts of the released network, and of the small one whose outputs `animer_outputs.json` has.
RELEASED = {'dim': 1280, 'depth': 32, 'layers': 6, 'inner': 512, 'mlp': 1024}
SMALL = {'dim': 64, 'depth': 3, 'layers': 2, 'inner': 128, 'mlp': 128}


def shapes_of(dim: int, depth: int, layers: int, inner: int, mlp: int) -> Iterator[tuple[str, Shape]]:
    """Give AniMer's names and shapes; its decoder is 1024 wide."""
    yield from (('pos_embed', (1, 193, dim)), ('cls_token', (1, 1, dim)))
    yield from _both('patch_embed.proj', (dim, 3, 16, 16))
    for i in range(depth):
        at = f'blocks.{i}.'
        yield from _both(f'{at}norm1', (dim,))
        yield from _both(f'{at}attn.qkv', (3 * dim, dim))
        yield from _both(f'{at}attn.proj', (dim, dim))
        yield from _both(f'{at}norm2', (dim,))
        yield from _both(f'{at}mlp.fc1', (4 * dim, dim))
        yield from _both(f'{at}mlp.fc2', (dim, 4 * dim))
    yield from _both('last_norm', (dim,))


def head_shapes(dim: int, layers: int, inner: int, mlp: int, **_: int) -> Iterator[tuple[str, Shape]]:
    """Give the names and shapes of AniMer's head."""
    yield from (('init_pose', (1, 210)), ('init_betas', (1, 41)), ('init_cam', (1, 3)))
    yield 'transformer.pos_embedding', (1, 1, 1024)
    yield from _both('transformer.to_token_embedding', (1024, 1))
    for i in range(layers):
        at = f'transformer.transformer.layers.{i}.'
        for part in range(3):
            yield from _both(f'{at}{part}.norm', (1024,))
        yield f'{at}0.fn.to_qkv.weight', (3 * inner, 1024)
        yield f'{at}1.fn.to_kv.weight', (2 * inner, dim)
        yield f'{at}1.fn.to_q.weight', (inner, 1024)
        for part in range(2):
            yield from _both(f'{at}{part}.fn.to_out.0', (1024, inner))
        yield from _both(f'{at}2.fn.net.0', (mlp, 1024))
        yield from _both(f'{at}2.fn.net.3', (1024, mlp))
    for name, n in (('decpose', 210), ('decshape', 41), ('deccam', 3)):
        yield from _both(name, (n, 1024))


def class_token_shapes() -> Iterator[tuple[str, Shape]]:
    """Give the names and shapes of the head that AniMer's training compares classes by."""
    yield from (
        ('head.0.weight', (4096, 1280)),
        ('head.3.weight', (4096, 4096)),
        ('head.6.weight', (256, 4096)),
    )
    for i, n in ((1, 4096), (4, 4096), (7, 256)):
        if n == 4096:
            yield from _both(f'head.{i}', (n,))
        yield from ((f'head.{i}.{what}', (n,)) for what in ('running_mean', 'running_var'))
        yield f'head.{i}.num_batches_tracked', ()


def _both(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield f'{name}.weight', shape
    yield f'{name}.bias', shape[:1]


def network_shapes(sizes: dict[str, int]) -> dict[str, Shape]:
    """Give all names and shapes that the network itself has, without the class token's head."""
    result = {f'backbone.{name}': shape for name, shape in shapes_of(**sizes)}
    return result | {f'smal_head.{name}': shape for name, shape in head_shapes(**sizes)}


def ruled(name: str, shape: Shape) -> torch.Tensor:
    """Return a tensor's numbers: sin(0.7 i + 0.013 (crc32(name) mod 1000)) 1.5 / sqrt(last dimension, or 50)."""
    x = np.sin(0.7 * np.arange(np.prod(shape)) + (zlib.crc32(name.encode()) % 1000) * 0.013)
    if name.endswith(('norm.weight', 'norm1.weight', 'norm2.weight')):
        return torch.tensor((1 + 0.1 * x).reshape(shape), dtype=torch.float32)
    scale = 1.5 / np.sqrt(shape[-1] if len(shape) > 1 else 50)
    return torch.tensor((x * scale).reshape(shape), dtype=torch.float32)


def ruled_state(sizes: dict[str, int] = SMALL) -> dict[str, torch.Tensor]:
    """Return weights by the rule; the head's starts are AniMer's own."""
    state = {name: ruled(name, shape) for name, shape in network_shapes(sizes).items()}
    state['smal_head.init_pose'] = torch.zeros(1, 210)
    state['smal_head.init_betas'] = torch.zeros(1, 41)
    state['smal_head.init_cam'] = torch.tensor([[0.9, 0.0, 0.0]])
    return state


def ruled_image() -> torch.Tensor:
    """Return the image of the reference, as the backbone takes it: normalised already."""
    i = np.arange(3 * 256 * 192)
    return torch.tensor(np.sin(0.05 * i) + 0.5 * np.cos(0.0031 * i), dtype=torch.float32).reshape(
        1, 3, 256, 192
    )
