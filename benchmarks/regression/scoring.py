"""How far predictions of a made session are from its truth, beside the strongest answer that looks at no limb."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from smilfit.body_models import SMIL
from smilfit.evaluation.keypoint_errors import align_similarity
from smilfit.networks.inference.predictions import read_predictions
from smilfit.structures import BodyParams, FitResult

# A frame that misses by more than this, % of the animal's length, shows another pose or another place.
LOST = 10.0
WHATS = ('points', 'lifted', 'refined')


@dataclass(frozen=True)
class Scores:
    """Errors of T frames of one session; a frame that was not predicted is infinitely wrong.

    Args:
        error: mean distance of the keypoints, % of the animal's length.
        aligned: after the best similarity.
        placed: error of the mean pose that is moved onto the predicted keypoints by the best similarity.
        mean_pose: error of the mean pose moved onto the true keypoints: what an answer without any limb reaches.
        reversed_heading: predicted frames in which the animal faces the other way.
        exchanged: share of the pairs of left and right keypoints in each frame that are nearer to each other's truth.
    """

    error: np.ndarray
    aligned: np.ndarray
    placed: np.ndarray
    mean_pose: np.ndarray
    reversed_heading: np.ndarray
    exchanged: np.ndarray


@dataclass(frozen=True)
class Truth:
    """What is true of a made session: keypoints (T, K, 3) in the order of `names`, and the animal's length (T,)."""

    names: tuple[str, ...]
    points: np.ndarray
    length: np.ndarray

    @classmethod
    def read(cls, session: Path, body: SMIL) -> 'Truth':
        """Read `truth.npz`; the length is the greatest extent of the animal's own skin at rest."""
        truth = np.load(session / 'truth.npz')
        shape = torch.as_tensor(truth['betas'][:1]).float()
        with torch.no_grad():
            skin = body(body.zero_params().replace(betas=shape), need=('vertices',)).vertices[0]
        extent = float((skin.max(0).values - skin.min(0).values).max())
        names = tuple(str(name) for name in truth['keypoint_names'])
        return cls(names, truth['keypoints3d'], truth['scale'].reshape(-1) * extent)


def score_session(folder: Path, session: Path, body: SMIL) -> tuple[dict[str, Scores], str]:
    """Score what `smilfit infer --refine` wrote of a session.

    Returns:
        Scores of the points that the views agree on, of the body lifted from them and of the refined one; and the
        verdict's word, `not predicted` where there is none.
    """
    truth = Truth.read(session, body)
    predictions, _ = read_predictions(folder / 'predictions.npz', body)
    with np.load(folder / 'predictions.npz') as file:
        order = [[str(n) for n in file['keypoints3d_names']].index(name) for name in truth.names]
    answers = {
        'points': predictions.further['points3d'][:, order],
        'lifted': predictions.keypoints3d[:, order],
    }
    refined = folder / 'refined.npz'
    if refined.is_file():
        answers['refined'] = keypoints_of(body, FitResult.load(refined, body).params, truth.names)
    rows, valid = predictions.frames, predictions.valid
    mean = keypoints_of(body, body.zero_params(), truth.names)[0]
    scores = {
        what: compare(np.where(valid[:, None, None], points, np.nan), truth, rows, mean)
        for what, points in answers.items()
    }
    return scores, word_of(folder)


def word_of(folder: Path) -> str:
    """Read the verdict's word; `not predicted` where there is none."""
    verdict = folder / 'verdict.json'
    return str(json.loads(verdict.read_text())['word']) if verdict.is_file() else 'not predicted'


def keypoints_of(body: SMIL, params: BodyParams, names: Sequence[str]) -> np.ndarray:
    """Compute the keypoints (T, K, 3) of bodies."""
    with torch.no_grad():
        return body(params, need=tuple(names)).keypoints.numpy().astype(np.float64)


def compare(predicted: np.ndarray, truth: Truth, rows: np.ndarray, mean: np.ndarray) -> Scores:
    """Compare predicted keypoints of some frames with the truth."""
    true, shares = truth.points[rows], 100 / truth.length[rows]
    known = np.isfinite(predicted).all((1, 2))
    given = np.where(known[:, None, None], predicted, 0.0)
    every = np.ones(true.shape[:2])
    still = np.broadcast_to(mean, true.shape)

    def missed(points: np.ndarray) -> np.ndarray:
        return np.where(known, _mean_distance(points, true) * shares, np.inf)

    return Scores(
        error=missed(given),
        aligned=missed(align_similarity(given, true, every)),
        placed=missed(align_similarity(still, given, every)),
        mean_pose=_mean_distance(align_similarity(still, true, every), true) * shares,
        reversed_heading=known & (_headings(given, mean, true) < 0),
        exchanged=np.where(known, _exchanged(given, true, truth.names), np.nan),
    )


def _mean_distance(points: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - true, axis=-1).mean(1)


def _headings(points: np.ndarray, mean: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Compare directions from one end of the animal to the other: positive where they agree."""
    centred = mean - mean.mean(0)
    weight = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    ends = [np.einsum('k,tkc->tc', weight, x - x.mean(1, keepdims=True)) for x in (points, true)]
    return (ends[0] * ends[1]).sum(1)


def _exchanged(points: np.ndarray, true: np.ndarray, names: Sequence[str]) -> np.ndarray:
    pairs = [(i, names.index(other)) for i, name in enumerate(names) if (other := _right_of(name)) in names]
    if not pairs:
        return np.zeros(len(points))
    left, right = (list(side) for side in zip(*pairs))
    own = [np.linalg.norm(points[:, side] - true[:, side], axis=-1) for side in (left, right)]
    other = [np.linalg.norm(points[:, a] - true[:, b], axis=-1) for a, b in ((left, right), (right, left))]
    return (sum(other) < sum(own)).mean(1)


def _right_of(name: str) -> str:
    for left, right in (('left', 'right'), ('Left', 'Right'), ('_L', '_R'), ('_l', '_r'), ('L_', 'R_')):
        if left in name:
            return name.replace(left, right)
    return ''
