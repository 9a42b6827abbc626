"""Published evaluation protocols: rules that shift a number by some percent, each as its authors' code has them.

All thresholds are strict: a keypoint at exactly the threshold is missed. Sources: WLDO (Biggs et al. 2020), AniMer
(Lyu et al. 2024), SMALST (Zuffi et al. 2019) and SMAL4V, CC-SSL (Mu et al. 2020) on TigDog, BADJA (Biggs et al.
2018).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.evaluation.image_fit import mask_iou
from smilfit.evaluation.keypoint_errors import pa_distances
from smilfit.registry import UnknownNameError, did_you_mean

# The first of these words in a keypoint's name says its group.
_GROUPS = {
    'tail': ('tail',),
    'ears': ('ear',),
    'legs': ('paw', 'hoof', 'foot', 'elbow', 'knee', 'ankle', 'leg', 'toe', 'fetlock', 'hock'),
    'face': ('nose', 'chin', 'eye', 'muzzle', 'jaw', 'mouth'),
}


@dataclass(frozen=True)
class ImageAnswer:
    """One image and what was predicted of it, px of a square crop of `side` px.

    Args:
        predicted: keypoints; not finite where there is none.
        truth: keypoints.
        weight: of each; 0 where not annotated.
        side: of the crop.
        mask: where the animal is; None where not known.
        silhouette: where the predicted body is.
        inside: where the crop shows the image; everywhere if None.
        predicted3d: points in space.
        truth3d: the same; NaN where not known.
        predicted_skin: vertices.
        truth_skin: the same.
        sequence: which recording and camera it is of.
        frame: its number there.
    """

    predicted: Float[np.ndarray, 'K 2']
    truth: Float[np.ndarray, 'K 2']
    weight: Float[np.ndarray, 'K']
    side: float
    mask: Bool[np.ndarray, 'S S'] | None = None
    silhouette: Bool[np.ndarray, 'S S'] | None = None
    inside: Bool[np.ndarray, 'S S'] | None = None
    predicted3d: Float[np.ndarray, 'P 3'] | None = None
    truth3d: Float[np.ndarray, 'P 3'] | None = None
    predicted_skin: Float[np.ndarray, 'V 3'] | None = None
    truth_skin: Float[np.ndarray, 'V 3'] | None = None
    sequence: int = 0
    frame: int = 0

    def errors(self, side: float) -> Float[np.ndarray, 'K']:
        """Return the distances in px of a crop of another side; inf where nothing is predicted."""
        off = np.linalg.norm(self.predicted - self.truth, axis=-1) * side / self.side
        return np.where(np.isfinite(off), off, np.inf)

    def root_area(self, side: float) -> float:
        """Return the root of the mask's pixels in a crop of another side; NaN without a mask, 0 of an empty one."""
        if self.mask is None:
            return float('nan')
        return float(np.sqrt(self.mask.sum()) * side / self.mask.shape[0])


Answers = Sequence[ImageAnswer]
Figures = dict[str, float]


def weighted_share(within: Bool[np.ndarray, 'K'], weight: Float[np.ndarray, 'K']) -> float:
    """Return the share of an image's keypoints that are met, by weight; NaN where none counts."""
    return float((within * weight).sum() / weight.sum()) if weight.sum() > 0 else float('nan')


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Average what is a number; NaN where nothing is."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float('nan')


def wldo(answers: Answers, names: Sequence[str]) -> Figures:
    """Score as WLDO: px of a crop of 224, PCK at 0.15 of the root of the silhouette's area, by image, then averaged.

    What is predicted outside of the image counts as right in the IoU: nobody knows what is there.
    """
    result, groups = {}, {'': np.ones(len(names), np.bool_), **keypoint_groups(names)}
    for group, chosen in groups.items():
        shares = [
            weighted_share(a.errors(224) / a.root_area(224) < 0.15, a.weight * chosen)
            for a in answers
            if a.mask is not None and a.mask.any()
        ]
        result[f'PCK@.15{f" {group}" if group else ""}'] = _mean(shares)
    result['IoU'] = _mean([_iou(a, True) for a in answers])
    return result


def animer(answers: Answers, names: Sequence[str]) -> Figures:
    """Score as AniMer: px of a crop of 256, the whole crop where no mask is; AUC over 100 thresholds of 0 to 1."""
    share = [
        a.errors(256) / (a.root_area(256) if a.mask is not None and a.mask.any() else 256) for a in answers
    ]
    weights = [a.weight for a in answers]
    thresholds = np.linspace(0, 1, 100)
    curve = [_mean([weighted_share(s < t, w) for s, w in zip(share, weights)]) for t in thresholds]
    result = {
        f'PCK@{t}': _mean([weighted_share(s < t, w) for s, w in zip(share, weights)]) for t in (0.1, 0.15)
    }
    result['AUC'] = float(np.trapezoid(curve, thresholds))
    return result | _in_space(answers, 1000.0)


def smalst(answers: Answers, names: Sequence[str]) -> Figures:
    """Score as SMALST and SMAL4V: predictions cut to whole px of 256, shares of the side, visible keypoints alike.

    `overlap` is the sum of the intersection over the sum of both areas, which is 0.5 for equal silhouettes.
    """
    off, weight = [], []
    for a in answers:
        scale = 256 / a.side
        whole = np.trunc(np.where(np.isfinite(a.predicted), a.predicted, -1e6) * scale)
        off.append(np.linalg.norm(whole - a.truth * scale, axis=-1) / 256)
        weight.append(a.weight > 0)
    every, visible = np.concatenate(off), np.concatenate(weight)
    result = {f'PCK@{t}': _mean(every[visible] < t) for t in (0.01, 0.02, 0.05, 0.1, 0.15)}
    both = [(a.mask, a.silhouette) for a in answers if a.mask is not None and a.silhouette is not None]
    areas = [(int((m & s).sum()), int(m.sum()) + int(s.sum())) for m, s in both]
    result['overlap'] = _mean([shared / total if total else float('nan') for shared, total in areas])
    result['IoU'] = _mean([_iou(a, False) for a in answers])
    return result


def tigdog(answers: Answers, names: Sequence[str], batch_size: int = 32) -> Figures:
    """Score as CC-SSL on TigDog: cells of a map of 64, within 3.2 of them, by joint, over joints, batch by batch."""
    batches = []
    for first in range(0, len(answers), batch_size):
        part = answers[first : first + batch_size]
        cells = [_cells(a.predicted, a.side) for a in part], [_cells(a.truth, a.side) for a in part]
        predicted, truth = (np.stack(x) for x in cells)
        # Places on the first row or column count as not visible.
        valid = (np.stack([a.weight for a in part]) > 0) & (truth > 1).all(-1)
        near = np.linalg.norm(predicted - truth, axis=-1) < 3.2
        joints = [near[valid[:, k], k].mean() for k in range(len(names)) if valid[:, k].any()]
        batches.append(_mean(joints))
    return {'PCK@.05': _mean(batches)}


def badja(answers: Answers, names: Sequence[str]) -> Figures:
    """Score as BADJA: within 0.2 of the root of the silhouette's area, all visible keypoints alike."""
    known = [a for a in answers if a.mask is not None and a.mask.any()]
    near = [(a.errors(a.side) < 0.2 * a.root_area(a.side))[a.weight > 0] for a in known]
    return {'PCK@.2': _mean(np.concatenate(near) if near else [])}


def space(answers: Answers, names: Sequence[str]) -> Figures:
    """Score points and vertices in space after the best rotation, translation and scale of each image, no mirror."""
    return _in_space(answers, 1.0)


def motion(answers: Answers, names: Sequence[str]) -> Figures:
    """Score motion in the images, px of the crop a frame squared: errors of accelerations, and their own size.

    Frames count that follow one another. A line between the first and the last frame of a run stands beside them: an
    answer that sees nothing has the least jitter.
    """
    errors: list[np.ndarray] = []
    own: list[np.ndarray] = []
    lines: list[np.ndarray] = []
    for run in _runs(answers):
        predicted, truth = (np.stack([getattr(a, n) for a in run]) for n in ('predicted', 'truth'))
        visible = np.stack([a.weight for a in run]) > 0
        three = visible[:-2] & visible[1:-1] & visible[2:]
        size = [np.linalg.norm(np.diff(x, 2, axis=0), axis=-1) for x in (predicted - truth, predicted, truth)]
        for values, kept in zip(size, (errors, own, lines)):
            kept.append(values[three & np.isfinite(values)])
    if not errors:
        return dict.fromkeys(('acceleration error', 'jitter', 'acceleration error of a line'), float('nan'))
    means = [_mean(np.concatenate(x)) for x in (errors, own, lines)]
    return dict(zip(('acceleration error', 'jitter', 'acceleration error of a line'), means))


@dataclass(frozen=True)
class Protocol:
    """A published protocol: whose, and its figures of images."""

    about: str
    figures: Callable[[Answers, Sequence[str]], Figures]


PROTOCOLS: Mapping[str, Protocol] = {
    'wldo': Protocol('WLDO on StanfordExtra', wldo),
    'animer': Protocol('AniMer on Animal3D', animer),
    'smalst': Protocol('SMALST and SMAL4V', smalst),
    'tigdog': Protocol('CC-SSL on TigDog', tigdog),
    'badja': Protocol('BADJA', badja),
    'space': Protocol('PA-MPJPE and PA-MPVPE', space),
    'motion': Protocol('accelerations over time', motion),
}


def evaluate(protocol: str, answers: Answers, names: Sequence[str]) -> Figures:
    """Return a protocol's figures; NaN of those for which something is missing, such as masks.

    Args:
        protocol: one of `PROTOCOLS`.
        answers: images.
        names: of the keypoints.

    Raises:
        UnknownNameError: no such protocol, with the near names.
        ValueError: no image.
    """
    if protocol not in PROTOCOLS:
        raise UnknownNameError(f'--protocol: no protocol {protocol!r}. {did_you_mean(protocol, PROTOCOLS)}')
    if not answers:
        raise ValueError(f'--protocol {protocol}: there must be an image to score; got none.')
    return PROTOCOLS[protocol].figures(answers, names)


def protocol_lines(protocol: str, figures: Figures) -> list[str]:
    """Return a small table; what could not be computed says so."""
    width = max(map(len, figures))
    lines = [f'protocol {protocol} ({PROTOCOLS[protocol].about})']
    for name, value in figures.items():
        shown = 'not known: no image has what it needs' if np.isnan(value) else f'{value:.4g}'
        lines.append(f'  {name:<{width}}  {shown}')
    return lines


def keypoint_groups(names: Sequence[str]) -> dict[str, Bool[np.ndarray, 'K']]:
    """Group keypoints by words in their names: legs, tail, ears, face; groups without a keypoint are left out."""
    groups = [
        next((g for g, words in _GROUPS.items() if any(word in name.lower() for word in words)), '')
        for name in names
    ]
    masks = {group: np.array([g == group for g in groups]) for group in _GROUPS}
    return {group: mask for group, mask in masks.items() if mask.any()}


def _iou(answer: ImageAnswer, forgive_outside: bool) -> float:
    if answer.mask is None or answer.silhouette is None or not answer.mask.any():
        return float('nan')
    mask = answer.mask
    if forgive_outside and answer.inside is not None:
        mask = np.where(answer.inside, mask, answer.silhouette)
    return mask_iou(answer.silhouette, mask)


def _cells(px: Float[np.ndarray, 'K 2'], side: float) -> Int[np.ndarray, 'K 2']:
    """Return the cells of a map of 64 that points lie in."""
    cells = np.floor((px + 0.5) * 64 / side)
    return np.where(np.isfinite(cells), cells, -1e6).astype(np.int64)


def _in_space(answers: Answers, factor: float) -> Figures:
    result = {}
    for name, own, true in (
        ('PA-MPJPE', 'predicted3d', 'truth3d'),
        ('PA-MPVPE', 'predicted_skin', 'truth_skin'),
    ):
        errors = []
        for a in answers:
            predicted, truth = getattr(a, own), getattr(a, true)
            if predicted is None or truth is None:
                continue
            known = np.isfinite(truth).all(-1)
            off = pa_distances(predicted[None], np.nan_to_num(truth)[None], known[None])[0]
            errors.append(_mean(off))
        result[name] = factor * _mean(errors)
    return result


def _runs(answers: Answers) -> list[list[ImageAnswer]]:
    """Return runs of at least three frames that follow one another."""
    ordered = sorted(answers, key=lambda a: (a.sequence, a.frame))
    runs: list[list[ImageAnswer]] = []
    for answer in ordered:
        last = runs[-1][-1] if runs else None
        follows = last is not None and (answer.sequence, answer.frame) == (last.sequence, last.frame + 1)
        if follows:
            runs[-1].append(answer)
        else:
            runs.append([answer])
    return [run for run in runs if len(run) >= 3]
