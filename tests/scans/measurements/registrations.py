"""Registrations of specimens drawn from a model with a known shape space, as files."""

from pathlib import Path

import numpy as np

from smilfit.body_models import BodyModelData

N_KNOWN = 3


def write_registrations(
    folder: Path, data: BodyModelData, n: int = 10, noise: float = 0.0, scaled: bool = True, seed: int = 0
) -> dict[str, np.ndarray]:
    """Draw specimens, and write each one's `registration.npz`; gives what they were made of.

    Args:
        folder: for a folder a specimen.
        data: the model; its first three betas vary, and drive scales and offsets of joints.
        n: specimens.
        noise: of vertices, a share of the standard deviation of what betas do.
        scaled: whether joints have scales and offsets.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    betas = rng.normal(size=(n, N_KNOWN))
    shapes = data.shapedirs[:, :, :N_KNOWN]
    scales = scaled * 0.05 * rng.normal(size=(N_KNOWN, data.n_joints, 3))
    scales[:, 0] = 0
    offsets = scaled * 0.003 * data.rest_size * rng.normal(size=(N_KNOWN, data.n_joints, 3))
    offsets[:, 0] = 0
    vertices = data.v_template + np.einsum('vcs,ns->nvc', shapes, betas)
    vertices += noise * np.abs(shapes).mean() * rng.normal(size=vertices.shape)
    sizes = np.exp(0.2 * rng.normal(size=n))
    for i in range(n):
        path = folder / f'specimen_{i:02d}' / 'registration.npz'
        path.parent.mkdir(parents=True)
        np.savez(
            path,
            name=np.array(path.parent.name),
            unit=np.array('cm'),
            model_hash=np.array(data.content_hash()),
            unposed=vertices[i],
            log_joint_scales=np.einsum('s,sjc->jc', betas[i], scales)[None],
            joint_offsets=np.einsum('s,sjc->jc', betas[i], offsets)[None],
            scale=sizes[i : i + 1],
        )
    return {'betas': betas, 'sizes': sizes, 'shapes': shapes, 'scales': scales, 'offsets': offsets}
