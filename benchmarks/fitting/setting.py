"""What a run of the tables is made with."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from benchmarks.fitting.methods import Method
from benchmarks.fitting.peers import Fitted
from benchmarks.fitting.problems import Problem
from benchmarks.measuring import Row, seconds_of
from smilfit.body_models import BodyModelData

T = TypeVar('T')
NOT_INSTALLED = 'not installed'


@dataclass(frozen=True)
class Setting:
    """The body, and whether this is only a trial of the code: a few frames, few steps."""

    data: BodyModelData
    quick: bool = False

    def size(self, full: T, quick: T) -> T:
        """Choose between the sizes of a real run and of a trial."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Measured:
    """A method on some problems of one kind: seconds and results by problem."""

    seconds: tuple[float, ...]
    fits: tuple[Fitted, ...]

    @property
    def median_s(self) -> float:
        """Median of the problems' seconds."""
        return float(np.median(self.seconds))

    @property
    def evaluations(self) -> int:
        """Median count of evaluations."""
        return int(np.median([fit.evaluations for fit in self.fits]))

    def mean_error(self, problems: list[Problem]) -> float:
        """Give the mean distance of the fitted from the true joints."""
        errors = [p.error(f.params).mean() for p, f in zip(problems, self.fits)]
        return float(torch.stack(errors).mean())


def take_turns(
    methods: dict[str, Method | None], problems: list[Problem], warm_up: tuple[str, ...] = ()
) -> dict[str, Measured | None]:
    """Run every method on every problem, problem by problem; those named are called once before."""
    there = {name: method for name, method in methods.items() if method is not None}
    for name in warm_up:
        if name in there:
            there[name](problems[0])
    done: dict[str, list[tuple[float, Fitted]]] = {name: [] for name in there}
    for problem in problems:
        for name, method in there.items():
            done[name].append(seconds_of(lambda m=method, p=problem: m(p)))
    measured = {name: Measured(*map(tuple, zip(*runs))) for name, runs in done.items()}
    return {name: measured.get(name) for name in methods}


def absent(row: Row, names: tuple[str, ...]) -> Row:
    """Fill a row of a method that is not here."""
    return {**row, **dict.fromkeys(names), 'note': NOT_INSTALLED}
