"""Made-up files in the layout of SMPL's and SMPL-X's, of their true sizes: random numbers, nobody's body."""

import numpy as np

SMPL_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]


def smplx_parents():
    """A body without hands, jaw and eyes on the head, and five chains of three on either wrist."""
    parents = [*SMPL_PARENTS[:22], 15, 15, 15]
    for wrist in (20, 21):
        for _ in range(5):
            first = len(parents)
            parents += [wrist, first, first + 1]
    return parents


def model_arrays(n_vertices, parents, n_directions, seed):
    rng = np.random.default_rng(seed)
    n_joints = len(parents)
    weights = np.zeros((n_vertices, n_joints), np.float32)
    regressor = np.zeros((n_joints, n_vertices), np.float32)
    for _ in range(3):
        weights[np.arange(n_vertices), rng.integers(0, n_joints, n_vertices)] += rng.random(n_vertices)
        regressor[np.arange(n_joints), rng.integers(0, n_vertices, n_joints)] += rng.random(n_joints)
    # Many numbers are not made one by one: a short block of them is repeated.
    block = rng.normal(size=100_003).astype(np.float32)
    n_pose = 9 * (n_joints - 1)
    return {
        'v_template': rng.normal(size=(n_vertices, 3)).astype(np.float32),
        'f': rng.permuted(np.arange(n_vertices - n_vertices % 3)).reshape(-1, 3).astype(np.uint32),
        'weights': weights / weights.sum(1, keepdims=True),
        'kintree_table': np.stack([np.array(parents), np.arange(n_joints)]).astype(np.uint32),
        'J_regressor': regressor / regressor.sum(1, keepdims=True),
        'shapedirs': 0.05 * np.resize(block, (n_vertices, 3, n_directions)),
        'posedirs': 0.01 * np.resize(block[::-1], (n_vertices, 3, n_pose)),
    }


def smpl_arrays(seed=0):
    return model_arrays(6890, SMPL_PARENTS, 10, seed) | {'bs_style': 'lbs', 'bs_type': 'lrotmin'}


def smplx_arrays(seed=0, n_directions=20):
    rng = np.random.default_rng(seed + 100)
    arrays = model_arrays(10475, smplx_parents(), n_directions, seed)
    barycentric = rng.random((51, 3)).astype(np.float32)
    return arrays | {
        'hands_componentsl': rng.normal(size=(45, 45)).astype(np.float32),
        'hands_componentsr': rng.normal(size=(45, 45)).astype(np.float32),
        'hands_meanl': 0.2 * rng.normal(size=45).astype(np.float32),
        'hands_meanr': 0.2 * rng.normal(size=45).astype(np.float32),
        'lmk_faces_idx': rng.integers(0, len(arrays['f']), 51),
        'lmk_bary_coords': barycentric / barycentric.sum(1, keepdims=True),
        'dynamic_lmk_faces_idx': rng.integers(0, len(arrays['f']), (79, 17)),
        'dynamic_lmk_bary_coords': np.full((79, 17, 3), 1 / 3, np.float32),
        # The published files hold such tables of Python objects; nobody may open them.
        'joint2num': np.array({'Pelvis': 0}, dtype=object),
        'part2num': np.array({'Global': 0}, dtype=object),
    }
