"""Hold a rig that came through Blender against the same rig as its glTF has it."""

import numpy as np

from smilfit.rigs import Clip, Rig
from smilfit.rigs.blender.blender_rig import linear_skin


def dense(rig: Rig) -> np.ndarray:
    """Return weights of joints in the order of their names, summing to one."""
    result = np.zeros(rig.weights.shape)
    np.add.at(result, (rig.weights.rows, rig.weights.cols), rig.weights.values)
    return result[:, np.argsort(rig.joint_names)] / result.sum(1, keepdims=True)


def parents_by_name(rig: Rig) -> dict[str, str | None]:
    return {
        name: None if parent < 0 else rig.joint_names[parent]
        for name, parent in zip(rig.joint_names, rig.parents)
    }


def size_of(rig: Rig) -> float:
    return float(np.ptp(rig.vertices, axis=0).max())


def assert_same_at_rest(rig: Rig, truth: Rig, share: float = 1e-5) -> None:
    """Hold names, tree, joints, vertices, triangles and weights against each other."""
    assert parents_by_name(rig) == parents_by_name(truth)
    size, order, true_order = size_of(truth), np.argsort(rig.joint_names), np.argsort(truth.joint_names)
    assert np.abs(rig.rest[order, :3, 3] - truth.rest[true_order, :3, 3]).max() < share * size
    assert rig.vertices.shape == truth.vertices.shape
    assert np.abs(rig.vertices - truth.vertices).max() < share * size
    assert turned(rig.faces) == turned(truth.faces)
    assert np.abs(dense(rig) - dense(truth)).max() < 1e-6
    assert (rig.unit, rig.up_axis, rig.forward_axis) == (truth.unit, truth.up_axis, truth.forward_axis)


def turned(faces: np.ndarray) -> set[tuple[int, ...]]:
    """Return triangles as they turn, whichever corner comes first."""
    first = faces.argmin(1)
    return {tuple(np.roll(face, -k)) for face, k in zip(faces, first)}


def skinned(rig: Rig, clip: Clip, key: int) -> np.ndarray:
    return linear_skin(rig.vertices, rig.weights, rig.rest, clip.joints[key])


def assert_same_motion(rig: Rig, clip: Clip, truth: Rig, true_clip: Clip, share: float = 1e-5) -> None:
    """Hold the key times and the skin at some keys against each other."""
    times, true_times = clip.times_s - clip.times_s[0], true_clip.times_s - true_clip.times_s[0]
    np.testing.assert_allclose(times, true_times, atol=1e-5)
    for key in {0, len(times) // 3, len(times) - 1}:
        off = np.abs(skinned(rig, clip, key) - skinned(truth, true_clip, key)).max()
        assert off < share * size_of(truth), (clip.name, key, off / size_of(truth))
