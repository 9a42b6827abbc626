"""The strongest trivial answer beside each number: a model is worth what it is better than that one."""

from collections.abc import Mapping
from dataclasses import dataclass

from smilfit.evaluation.benchmark_result import (
    BASELINE,
    BASELINE_PLACED,
    MEAN_PLACE,
    MEAN_POSE,
    MEAN_POSE_PLACED,
    MODEL,
)
from smilfit.evaluation.errors import PERCENTILES
from smilfit.evaluation.scalars import INFIX
from smilfit.evaluation.units import length_text

# The labels of a fit by themselves.
TRIANGULATED = 'triangulated'
_INFIX = INFIX | {TRIANGULATED: '_triangulated'}
# What each trivial answer is called in texts.
BASELINE_WORDS = {
    BASELINE: 'mean pose at the mean position',
    BASELINE_PLACED: 'mean pose at the true position',
    MEAN_POSE: 'mean pose, aligned as the prediction is',
    MEAN_POSE_PLACED: 'mean pose at the predicted place',
    MEAN_PLACE: 'mean place in the training images',
    TRIANGULATED: 'labels triangulated without a body',
}
# Beginnings of names, and whether more is better; the longer ones first.
MEASURES = {
    'pck_auc': True,
    'pck': True,
    'median_error': False,
    **{f'mpjpe_p{q}': False for q in PERCENTILES},
    'mpjpe_shared': False,
    'mpjpe': False,
    'pa_mpjpe': False,
}


@dataclass(frozen=True)
class StrongestBaseline:
    """The best of the trivial answers by one measure.

    Args:
        source: which one, of `BenchmarkResult.sources`.
        value: what it reaches, in the metric's unit.
        beaten: whether the model is better; equal is not.
    """

    source: str
    value: float
    beaten: bool

    @property
    def words(self) -> str:
        """Name the answer in words."""
        return BASELINE_WORDS[self.source]

    @property
    def sentence(self) -> str:
        """Say whether the model is better than this answer."""
        return self._sentence(f'{self.value:.4g}')

    def sentence_of_lengths(self, unit: str | None) -> str:
        """Say it of a length in a unit."""
        return self._sentence(length_text(self.value, unit))

    def _sentence(self, value: str) -> str:
        verdict = 'better than' if self.beaten else 'NO BETTER than'
        return f'{verdict} {value} of the {self.words}'


def strongest_baselines(metrics: Mapping[str, int | float]) -> dict[str, StrongestBaseline]:
    """Find the strongest trivial answer to each of the model's numbers.

    Args:
        metrics: from `benchmark_metrics` or `errors_against_truth`; names may have a prefix that ends in `/`.

    Returns:
        By the name of the model's number; one that no trivial answer has is absent.
    """
    found = {}
    for name, value in metrics.items():
        prefix, slash, bare = name.rpartition('/')
        stem = next((s for s in MEASURES if bare.startswith(f'{s}_')), None)
        if stem is None:
            continue
        rest = bare[len(stem) :]
        if any(rest.startswith(f'{infix}_') for source, infix in _INFIX.items() if source != MODEL):
            continue
        of_answer = {s: metrics.get(f'{prefix}{slash}{stem}{infix}{rest}') for s, infix in _INFIX.items()}
        answers = {s: float(v) for s, v in of_answer.items() if s != MODEL and v is not None}
        if answers:
            sign = 1.0 if MEASURES[stem] else -1.0
            best = max(answers, key=lambda s: sign * answers[s])
            found[name] = StrongestBaseline(best, answers[best], sign * value > sign * answers[best])
    return found
