"""Hints of types are checked under test, whatever calls were right before: the checker is itself right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int, TypeCheckError, jaxtyped
from torch import Tensor

from tests.typechecking import check, once_a_look


def checked_count() -> tuple[Any, list[int]]:
    """Return the decorator, and how often it checked."""
    counts = [0]

    def counting(*, typechecker):
        def decorate(function):
            every = jaxtyped(typechecker=typechecker)(function)

            def call(*args, **kwargs):
                counts[0] += 1
                return every(*args, **kwargs)

            return call

        return decorate

    return once_a_look(counting)(typechecker=check), counts


@pytest.fixture
def checked():
    return checked_count()[0]


def test_calls_that_look_the_same_are_checked_once():
    checked, counts = checked_count()

    @checked
    def double(x: Float[Tensor, 'a b'], name: str = '') -> Float[Tensor, 'a b']:
        return 2 * x

    for _ in range(5):
        double(torch.ones(2, 3))
    # Of the second call alone the answer is looked at by itself.
    assert counts[0] == 2
    double(torch.ones(2, 4))
    double(torch.ones(2, 3), name='other')
    assert counts[0] == 4


def test_wrong_arguments_are_seen_after_right_ones(checked):
    @checked
    def product(x: Float[Tensor, 'a b'], y: Float[Tensor, 'b c']) -> Float[Tensor, 'a c']:
        return x @ y

    good = torch.ones(2, 3), torch.ones(3, 4)
    for _ in range(3):
        product(*good)
    for bad in (
        (torch.ones(2, 3), torch.ones(2, 4)),
        (torch.ones(2, 3), torch.ones(3, 4, dtype=torch.long)),
        (torch.ones(2, 3), torch.ones(4)),
        (torch.ones(2, 3), np.ones((3, 4))),
        (torch.ones(2, 3), None),
    ):
        with pytest.raises(TypeCheckError, match='y'):
            product(*bad)
    with pytest.raises(TypeCheckError, match='y'):
        product(good[0], y=torch.ones(2, 4))


def test_a_wrong_answer_is_seen_after_a_right_one(checked):
    answers = iter([torch.ones(3), torch.ones(3), torch.ones(3), torch.ones(4), torch.ones(3).long()])

    @checked
    def sums(x: Float[Tensor, 'a b']) -> Float[Tensor, ' a']:
        return next(answers)

    for _ in range(3):
        sums(torch.ones(3, 2))
    for _ in range(2):
        with pytest.raises(TypeCheckError, match='return value'):
            sums(torch.ones(3, 2))


def test_what_stands_in_containers_counts_and_values_that_hints_name(checked):
    @checked
    def choose(kind: Literal['a', 'b'], of: Sequence[str], where: dict[str, int]) -> None:
        pass

    for _ in range(2):
        choose('a', ['x', 'y'], {'x': 1})
    for bad in (('c', ['x', 'y'], {'x': 1}), ('a', [1, 2], {'x': 1}), ('a', ['x'], {'x': 'y'})):
        with pytest.raises(TypeCheckError):
            choose(*bad)


def test_methods_and_dataclasses_are_checked(checked):
    @checked
    @dataclass
    class Pair:
        x: Float[Tensor, 'a 2']
        n: Int[np.ndarray, ' a']

        @property
        @checked
        def total(self) -> float:
            return 'no number' if len(self.x) > 3 else 1.0

    for _ in range(2):
        assert Pair(torch.ones(3, 2), np.ones(3, int)).total == 1.0
    with pytest.raises(TypeCheckError):
        Pair(torch.ones(3, 2), np.ones(4, int))
    with pytest.raises(TypeCheckError):
        Pair(torch.ones(4, 2), np.ones(4, int)).total  # noqa: B018


def test_it_is_at_work_in_the_package(request):
    if not request.config.getoption('--jaxtyping-packages'):
        pytest.skip(
            'hints are checked where --jaxtyping-packages asks for it: `make test-slow`, `make test-all`'
        )
    from smilfit.geometry.rotation import axis_angle_to_rotmat

    for _ in range(2):
        axis_angle_to_rotmat(torch.zeros(2, 3))
    with pytest.raises(TypeCheckError):
        axis_angle_to_rotmat(torch.zeros(2, 4))
