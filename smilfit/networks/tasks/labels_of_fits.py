"""Results of fits as labels of the next training: each judged, and what is refused counted by its reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from smilfit.apis.fitting.fit_session import FIT
from smilfit.apis.fitting.verdict_file import VERDICT, read_verdict
from smilfit.apis.infer_options import REFINED
from smilfit.datasets.pseudo_labels import PseudoLabels
from smilfit.datasets.store.store_layout import PARAM_NAMES
from smilfit.evaluation.verdict import GOOD, NOT_BELIEVABLE, NOT_FITTED, Verdict
from smilfit.files import BadFileError
from smilfit.structures import FitResult


@dataclass(frozen=True)
class LabelSources:
    """What results give: labels (None where no frame is good), and how many frames were refused, by reason."""

    labels: PseudoLabels | None
    refused: Mapping[str, int] = field(default_factory=dict)

    def told(self) -> str:
        """Report in words how many frames are taken, and why others are not."""
        taken = 0 if self.labels is None else len(self.labels)
        lines = [f'pseudo-labels: {taken} frames taken, {sum(self.refused.values())} refused']
        return '\n'.join(lines + [f'  - {count}: {reason}' for reason, count in self.refused.items()])


def read_pseudo_labels(paths: Sequence[str | Path]) -> LabelSources:
    """Read labels, and results of fits whose good frames become labels.

    A frame is taken where its fit was judged `good`. Where the whole recording is `not believable`, none of
    its frames is, whatever each looks like by itself.

    Args:
        paths: files of `make_pseudo_labels`; folders of `infer --refine` or `fit`, of a recording or of several.

    Raises:
        FileNotFoundError: nothing there, or a folder without a refined result.
        BadFileError: something else, or a result that was not judged.
        ValueError: labels of several body models, or a folder with several results of one recording.
    """
    parts: list[PseudoLabels] = []
    refused: Counter[str] = Counter()
    for path in map(Path, paths):
        if path.is_file():
            parts.append(PseudoLabels.load(path))
            continue
        of: dict[str, Path] = {}
        for result in results_in(path):
            labels, reasons = _judged(result)
            (name,) = labels.sessions
            if name in of:
                raise ValueError(
                    f'{path}: results must be of different recordings; {of[name]} and {result} are both of {name!r}, '
                    'as those of several animals are, and nobody says which one is meant. Give one of their folders.'
                )
            of[name] = result
            parts.append(labels)
            refused.update(reasons)
    parts = [part for part in parts if len(part)]
    return LabelSources(PseudoLabels.cat(parts) if parts else None, dict(refused.most_common()))


def results_in(folder: Path, names: Sequence[str] = (REFINED, FIT)) -> list[Path]:
    """Find results in a folder, or in those in it.

    Raises:
        FileNotFoundError: none is there.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{folder}: must be a file of pseudo-labels, or a folder of infer --refine or fit; there is none.'
        )
    for places in ([folder], sorted(f for f in folder.iterdir() if f.is_dir())):
        result = [p / name for p in places for name in names if (p / name).is_file()]
        if result:
            return result
    raise FileNotFoundError(
        f'{folder}: must hold {" or ".join(names)}, or folders that do; none does. Make it by smilfit fit'
        f'{" or smilfit infer --refine" if REFINED in names else ""}.'
    )


def _judged(path: Path) -> tuple[PseudoLabels, Counter[str]]:
    """Return a result's good frames, and the reasons why others are refused."""
    result = FitResult.load(path)
    if not (path.parent / VERDICT).is_file():
        raise BadFileError(
            f'{path}: a fit must be judged before it teaches; there is no {VERDICT} beside it. Refine by a network '
            'that gives keypoints of its own (KeypointRegressor), or fit without --no-verdict.'
        )
    verdict, _ = read_verdict(path.parent)
    labels, _, _ = fitted_labels(path, result)
    if len(verdict.frame_words) != len(labels):
        raise BadFileError(
            f'{path}: {VERDICT} must judge each of its {len(labels)} frames; got {len(verdict.frame_words)}. Make it '
            'again.'
        )
    (name,) = labels.sessions
    refused = _refused(verdict)
    good = np.array([not reason for reason in refused], np.bool_)
    return labels[good], Counter(f'{name}: {reason}' for reason in refused if reason)


def fitted_labels(path: Path, result: FitResult) -> tuple[PseudoLabels, Sequence[str], Sequence[str]]:
    """Return all frames of a result as labels, each of weight 1, with the words and reasons of its verdict.

    Raises:
        BadFileError: a file that does not name its body model, keypoints and frames.
    """
    if result.model is None or result.keypoints3d is None or result.frames is None:
        raise BadFileError(
            f'{path}: must name its body model, keypoints and frames; it does not. Make it again.'
        )
    frames = result.frames.cpu().numpy()
    # Predictions keep their recording's name; a fit lies in the folder of its session, as older ones do not say.
    name = str(result.report.get('recording', result.session or path.parent.name))
    params = {n: v.cpu().numpy() for n, v in result.params.as_dict().items() if n in PARAM_NAMES}
    points = result.keypoints3d
    labels = PseudoLabels(
        params=params,
        session=np.zeros(len(frames), np.int64),
        frame=np.asarray(frames, np.int64),
        weight=np.ones(len(frames)),
        sessions=(name,),
        body_model_hash=result.model.content_hash,
        keypoints3d=points.xyz.cpu().numpy(),
        keypoint_names=tuple(points.names),
        unit=points.unit,
    )
    if result.verdict is not None:
        return labels, result.verdict.frame_words, result.verdict.frame_reasons
    fitted = result.fitted.cpu().tolist()
    return labels, ['' if valid else NOT_FITTED for valid in fitted], [''] * len(frames)


def _refused(verdict: Verdict) -> list[str]:
    """Return why each frame is refused; empty of those that are taken."""
    if verdict.word == NOT_BELIEVABLE:
        why = verdict.reasons[0] if verdict.reasons else 'no reason is given'
        return [f'the whole fit is {NOT_BELIEVABLE}: {why}'] * len(verdict.frame_words)
    return [
        '' if word == GOOD else 'not fitted' if word == NOT_FITTED else f'{word}: {plain_reason(reason)}'
        for word, reason in zip(verdict.frame_words, verdict.frame_reasons)
    ]


def plain_reason(reason: str) -> str:
    """Leave the numbers out of a reason: they differ from frame to frame, its words tell what is common."""
    return ' '.join('…' if any(c.isdigit() for c in word) else word for word in reason.split())
