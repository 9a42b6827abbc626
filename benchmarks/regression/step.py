"""What does a training step of a multi-view regressor on a frozen ViT cost, beside one of SMILify's architecture?

    python -m benchmarks.regression.step [--batch-sizes 1 8] [--rounds 2] [--backbone NAME] [--dim 768]

One thread, CPU time of the process, the least of some rounds; the steps take turns. A step is forward, losses,
backward, clipped gradients and AdamW; the backbone is frozen, images are 224 px, two views. `seed` is a plain twin
of SMILify's step (`seed_step.py`) in float32. `decoder` is MultiViewRegressor with heads of the same size, its
decoder of six layers reading the patches of all views as the seed's does; `fusion` has two layers of attention
between all patches before it, too. `bf16` runs it in bfloat16, `cached` takes the backbone's maps from a
`FeatureCache`. `backbone` is the frozen ViT alone, which no step without a cache can do without.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from benchmarks.measuring import RESULTS, Row, now, print_rows, save
from benchmarks.regression.seed_step import SeedStep
from smilfit.body_models import SMIL
from smilfit.handlers import Keypoint2dHandler, Keypoint3dHandler
from smilfit.losses import KeypointMSELoss
from smilfit.networks import (
    CameraHead,
    CrossViewFusion,
    FeatureCache,
    MultiViewRegressor,
    OrientationHead,
    TimmBackbone,
    TransformerDecoderHead,
)
from smilfit.structures import BodyParams, Cameras
from smilfit.synthetic import make_quadruped

N_VIEWS = 2
_LAYERS = 6
_CAMERA_DISTANCE, _FOCAL = 4.0, 2.0
_WEIGHTS = {'keypoints2d_mse': 1e-3, 'keypoints3d_mse': 5.0, 'camera': 10.0, 'view_orientation': 1.0}
_WEIGHTS |= dict.fromkeys(('global_orient', 'body_pose', 'transl', 'scale'), 1.0) | {'betas': 0.01}

Batch = Mapping[str, Mapping[str, Any]]
Step = Callable[[], Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 8])
    parser.add_argument('--rounds', type=int, default=2, help='turns after one to warm up')
    parser.add_argument('--backbone', default='vit_base_patch16_224', help='a ViT that SMILify knows')
    parser.add_argument('--dim', type=int, default=768, help='of the heads')
    parser.add_argument('--side', type=int, default=224, help='of images, px')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    parser.add_argument('--without', nargs='*', default=(), help='rows to leave out')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = [row for size in options.batch_sizes for row in rows_of(size, options)]
    print_rows(f'a step: {options.backbone}, {N_VIEWS} views, heads of {options.dim}', rows)
    save('regression_step', rows, options.out, backbone=options.backbone, dim=options.dim)
    return 0


def rows_of(batch_size: int, options: argparse.Namespace) -> list[Row]:
    """Measure all steps with one batch size."""
    body = SMIL(make_quadruped(), joint_scale_mode='inherited')
    batch = made_batch(body, batch_size, options.side)
    with TemporaryDirectory() as folder:
        steps = dict(_steps(body, batch, options, Path(folder)))
        times = turns(list(steps.values()), options.rounds)
    least = dict(zip(steps, times))
    seed = least.get('seed')
    return [
        {'batch': batch_size, 'step': name, 'ms': 1e3 * t, 'times faster': None if seed is None else seed / t}
        for name, t in least.items()
    ]


def turns(steps: Sequence[Step], rounds: int) -> list[float]:
    """Run all in turn, once to warm up; the least time of each, s."""
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(rounds + 1):
        for step, mine in zip(steps, times):
            start = now()
            step()
            if turn:
                mine.append(now() - start)
    return [min(mine) for mine in times]


def _steps(body: SMIL, batch: Batch, options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Step]]:
    kinds = {
        'seed': lambda: (SeedStep(body, N_VIEWS, options.backbone, options.dim), False),
        'decoder': lambda: (regressor(body, options, 0), False),
        'decoder, bf16': lambda: (regressor(body, options, 0), True),
        'decoder, cached': lambda: (regressor(body, options, 0, FeatureCache(folder)), False),
        'decoder, cached, bf16': lambda: (regressor(body, options, 0, FeatureCache(folder)), True),
        'fusion': lambda: (regressor(body, options, 2), False),
        'fusion, bf16': lambda: (regressor(body, options, 2), True),
        'fusion, cached, bf16': lambda: (regressor(body, options, 2, FeatureCache(folder)), True),
    }
    for name, make in kinds.items():
        if name not in options.without:
            yield name, training_step(*make(), batch)
    backbone = TimmBackbone(options.backbone, frozen=True).eval()
    images = batch['inputs']['image'].flatten(0, 1)

    def alone() -> None:
        with torch.no_grad():
            backbone(images)

    yield 'backbone', alone


def training_step(model: nn.Module, half: bool, batch: Batch) -> Step:
    """Make a step: forward, losses, backward, clip, AdamW."""
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16) if half else nullcontext():
            loss = total_loss(model, batch)
        loss.backward()
        clip_grad_norm_(trained, 1.0)
        optimizer.step()

    return step


def total_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Give one number to minimise."""
    if isinstance(model, SeedStep):
        return model(batch['inputs'], batch['data_samples'])
    losses = model(**batch, mode='loss')
    return sum(value for name, value in losses.items() if name.startswith('loss'))


def regressor(
    body: SMIL, options: argparse.Namespace, fusion_layers: int, cache: FeatureCache | None = None
) -> MultiViewRegressor:
    """Make a regressor with heads of the seed's size; it predicts scales and offsets of joints, too."""
    # Weights are drawn; a cache of the same draw is of the same weights.
    torch.manual_seed(0)
    backbone = TimmBackbone(options.backbone, frozen=True, cache=cache)
    dim = options.dim
    heads = dict(dim=dim, n_layers=_LAYERS, n_iters=3, joint_sizes='separate')
    return MultiViewRegressor(
        backbone,
        CrossViewFusion(backbone.dim, dim, fusion_layers, 8),
        TransformerDecoderHead(body.n_joints, body.n_betas, dim, **heads),
        body,
        [Keypoint2dHandler(KeypointMSELoss(sigma=100.0)), Keypoint3dHandler(KeypointMSELoss(sigma=3.0))],
        camera_head=CameraHead(dim, 256),
        orientation_head=OrientationHead(backbone.dim, 256),
        loss_weights=_WEIGHTS,
    )


def made_batch(body: SMIL, n: int, side: int) -> Batch:
    """Make noise for images, bodies in random poses, and two cameras that look at them."""
    generator = torch.Generator().manual_seed(0)
    params = BodyParams(
        global_orient=0.3 * torch.randn(n, 3, generator=generator),
        body_pose=0.2 * torch.randn(n, body.n_joints - 1, 3, generator=generator),
        betas=torch.randn(n, body.n_betas, generator=generator),
        transl=torch.zeros(n, 3),
        scale=torch.ones(n),
    )
    points = body(params, need=('joints',)).joints
    middle = (side - 1) / 2
    K = torch.tensor([[_FOCAL * side, 0, middle], [0, _FOCAL * side, middle], [0, 0, 1.0]])
    # One from the side, one from behind.
    R = torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 1.0, 0], [0, 0, -1], [-1, 0, 0]]])
    cameras = {
        'K': K.expand(n, N_VIEWS, 3, 3),
        'R': R.expand(n, N_VIEWS, 3, 3),
        't': torch.tensor([0.0, 0.0, _CAMERA_DISTANCE]).expand(n, N_VIEWS, 3),
        'size': torch.full((n, N_VIEWS, 2), float(side)),
    }
    px, _, _ = Cameras(names=('a', 'b'), **cameras).project(points)
    seen = torch.ones(n, N_VIEWS, body.n_joints)
    image = torch.rand(n, N_VIEWS, 3, side, side, generator=generator)
    return {
        'inputs': {'image': image, 'view_mask': torch.ones(n, N_VIEWS, dtype=torch.bool), **cameras},
        'data_samples': {
            'keypoints2d': px,
            'confidence2d': seen,
            'keypoints3d': points,
            'confidence3d': seen[:, 0],
            'params': params.as_dict(),
            'has_params': torch.ones(n, dtype=torch.bool),
        },
    }


if __name__ == '__main__':
    raise SystemExit(main())
