"""Several animals of one recording: which track is which animal, in every camera and frame."""

import itertools
import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from smilfit.geometry.identity_paths import MOST_ANIMALS, TrackCosts, find_identities
from smilfit.geometry.side_swaps import IdealViews, PairGeometry, SidePairs, find_swaps
from smilfit.io.recordings.recorded_session import RecordedSession

logger = logging.getLogger('smilfit')

# The keypoints that both animals show most often tell them apart; more are no surer.
_N_KEYPOINTS = 8
# Frames all over a recording that say which tracks of two cameras are one animal.
_N_FRAMES = 200
# Tracks of two cameras are one animal if the next best way of matching them misses by so many times as much.
_CLEARLY = 1.5
# Labels miss by this much for reasons of their own, px: below it nothing is compared.
_LEAST_PX = 2.0


def same_animals(animals: Sequence[RecordedSession]) -> list[RecordedSession]:
    """Return tracks of all cameras to the animal that they are of, where cameras have names of their own for them.

    The first camera's order stays. Each further camera's tracks go to the animals that their rays meet best, in the
    median over frames and keypoints and in the mean over the cameras that are matched already.

    Args:
        animals: sessions of one recording, one a track; a camera's labels of an animal may be those of another.

    Raises:
        ValueError: the labels do not tell which are the same.
    """
    xy, visible, views = _labels(animals)
    n_animals, n_views = len(animals), xy.shape[2]
    order = torch.arange(n_animals).repeat(n_views, 1)
    rows = torch.linspace(0, xy.shape[1] - 1, min(_N_FRAMES, xy.shape[1])).long()
    for c in range(1, n_views):
        miss = torch.zeros(n_animals, n_animals)
        for a, b in itertools.product(range(n_animals), range(n_animals)):
            misses = []
            for d in range(c):
                two = torch.tensor([int(order[d, a]), b])
                misses.append(_miss_px(views, (d, c), xy[two][:, rows], visible[two][:, rows]))
            known = [value for value in misses if value == value]
            miss[a, b] = sum(known) / len(known) if known else np.nan
        order[c] = _matched(miss, animals[0], c)
    chosen = order.t()
    return [
        _of(session, [animals[int(i)] for i in row], row.tolist()) for session, row in zip(animals, chosen)
    ]


def untangled(animals: Sequence[RecordedSession]) -> list[RecordedSession]:
    """Exchange the labels of animals back where a tracker took one for another, by views and by motion.

    Of up to five animals all orders are tried (`find_identities`). Then every two animals are held against each
    other (`find_swaps`), until nothing changes. `report['identities']` of
    each session says in how many frames of which camera its labels were another track's.
    """
    xy, visible, views = _labels(animals)
    taken = torch.arange(len(animals)).reshape(-1, 1, 1).repeat(1, *visible.shape[1:3])
    if len(animals) <= MOST_ANIMALS:
        taken = _ordered(xy, visible, views)
        frames, cameras = torch.arange(xy.shape[1])[:, None], torch.arange(xy.shape[2])
        xy, visible = xy[taken, frames, cameras], visible[taken, frames, cameras]
    for _ in range(len(animals)):
        changed = False
        for a, b in itertools.combinations(range(len(animals)), 2):
            mask = _exchanged(xy[[a, b]], visible[[a, b]], views)
            if not bool(mask.any()):
                continue
            changed = True
            for values in (xy, visible, taken):
                flip = mask.reshape(*mask.shape, *[1] * (values.ndim - 3))
                values[[a, b]] = torch.where(flip, values[[b, a]], values[[a, b]])
        if not changed:
            break
    result = []
    for a, session in enumerate(animals):
        count = (taken[a] != a).sum(0)
        if not int(count.sum()):
            result.append(session)
            continue
        index = taken[a].numpy()
        notes = {name: int(n) for name, n in zip(session.camera_names, count) if n}
        logger.warning(
            '%s: the tracks of animals were exchanged: labels of another track are taken in %s.',
            session.name,
            ', '.join(f'{n} of {len(index)} frames of camera {name}' for name, n in notes.items()),
        )
        result.append(_chosen(session, animals, index, {'frames_of_other_tracks': notes}))
    return result


def _labels(animals: Sequence[RecordedSession]) -> tuple[Tensor, Tensor, IdealViews]:
    """Return px of ideal lenses (A, B, C, K, 2), where there are labels (A, B, C, K), and the cameras."""
    rig = animals[0].cameras
    if rig is None:
        raise ValueError(
            f'{animals[0].folder}: several animals must be seen by calibrated cameras; got none.'
        )
    rig = rig.to(torch.float64)
    observed = [session.keypoints2d() for session in animals]
    result = [rig.undistort(labels.xy.double()) for labels in observed]
    valid = torch.stack([labels.visible & inside for labels, (_, inside) in zip(observed, result)])
    return torch.stack([xy for xy, _ in result]), valid, IdealViews(rig.K, rig.R, rig.t)


def _ordered(xy: Tensor, visible: Tensor, views: IdealViews) -> Tensor:
    """Return whose labels each animal has in every frame and view, (A, B, C), of all animals at once."""
    best = visible.sum((1, 2)).amin(0).argsort(descending=True, stable=True)[:_N_KEYPOINTS]
    costs = TrackCosts.of(views, xy[:, :, :, best], visible[:, :, :, best])
    return find_identities(costs, visible.sum((0, 1, 3))).permute(2, 1, 0)


def _exchanged(xy: Tensor, visible: Tensor, views: IdealViews) -> Tensor:
    """Return where two animals (2, B, C, K, ...) are exchanged, (B, C)."""
    best = visible.sum((1, 2)).amin(0).argsort(descending=True, stable=True)[:_N_KEYPOINTS]
    n_keypoints = len(best)
    points, valid = (
        torch.cat((xy[0][:, :, best], xy[1][:, :, best]), 2),
        torch.cat((visible[0][:, :, best], visible[1][:, :, best]), 2),
    )
    number = torch.arange(n_keypoints)
    pairs = SidePairs.of(points, valid, number, number + n_keypoints, views)
    whole = torch.zeros(n_keypoints, dtype=torch.long)
    return find_swaps(pairs, [whole]).any(-1)


def _miss_px(views: IdealViews, cameras: tuple[int, int], xy: Tensor, visible: Tensor) -> float:
    """Return the median px by which two cameras' tracks (the first and the second of `xy`) miss common points."""
    c, d = cameras
    pick = [c, d]
    two = IdealViews(views.K[pick], views.R[pick], views.t[pick])
    both = torch.stack((xy[0][:, c], xy[1][:, d]), 2).flatten(0, 1)
    valid = torch.stack((visible[0][:, c], visible[1][:, d]), 2).flatten(0, 1)
    geometry = PairGeometry(
        two.double(), both.unsqueeze(2).repeat(1, 1, 2, 1), valid.unsqueeze(2).repeat(1, 1, 2)
    )
    far, known, _ = geometry.distances()
    miss = torch.where(known[:, 0, 0, 0], far[:, 0, 0, 0, :, 0].sum(-1), torch.nan)
    # Labels whose rays meet behind a camera, or nowhere, are of two animals.
    behind = valid.all(-1) & ~known[:, 0, 0, 0]
    return float(torch.where(behind, torch.inf, miss).nanmedian())


def _matched(miss: Tensor, session: RecordedSession, camera: int) -> Tensor:
    """Match a camera's tracks to animals; refuse where another way is nearly as good."""
    cost = miss.clamp_min(_LEAST_PX).clamp_max(1e6).nan_to_num(1e6).numpy()
    # Imported late: it takes a third of a second.
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost)
    best = cost[rows, columns]
    for r, c in zip(rows, columns):
        others = np.delete(cost[r], c)
        if len(others) and not others.min() > _CLEARLY * best[r]:
            raise ValueError(
                f'{session.folder}: tracks must have one name in all cameras, or labels that tell which are the same '
                f'animal; track {r} of camera {session.camera_names[0]!r} fits two tracks of camera '
                f'{session.camera_names[camera]!r} alike ({best[r]:.1f} and {others.min():.1f} px). '
                'Give them the same names.'
            )
    return torch.from_numpy(columns)


def _of(
    session: RecordedSession, by_camera: Sequence[RecordedSession], row: Sequence[int]
) -> RecordedSession:
    """Take each camera's labels from the session of its track."""
    own = dict.fromkeys(by_camera)
    index = np.array([list(own).index(other) for other in by_camera])
    return _chosen(
        session,
        list(own),
        np.broadcast_to(index, (session.n_frames, len(index))),
        {'tracks': {n: other.track_in(n) for n, other in zip(session.camera_names, by_camera)}},
    )


def _chosen(
    session: RecordedSession, among: Sequence[RecordedSession], index: np.ndarray, notes: dict[str, object]
) -> RecordedSession:
    """Return the session with labels of others: `index` (frames, cameras) says whose."""
    identities = {**session.report.get('identities', {}), **notes}
    return session.with_labels_of(among, index, {'identities': identities})
