"""A benchmark with a known answer."""

import numpy as np
import pytest

from smilfit.evaluation import BenchmarkResult, trivial_baseline


def make_result(unit: str | None = 'mm', with_3d: bool = True) -> BenchmarkResult:
    rng = np.random.default_rng(0)
    n, c, k = 8, 2, 4
    truth3d = rng.normal(size=(n, k, 3)) * 10
    truth2d = rng.uniform(0, 100, (n, c, k, 2))
    baseline = trivial_baseline(truth3d)
    affine = np.zeros((n, c, 2, 3))
    affine[..., 0, 0] = affine[..., 1, 1] = 2.0
    seen2d = rng.uniform(size=(n, c, k)) > 0.2
    seen3d = np.full((n, k), with_3d)
    seen3d[0, 0] = False
    return BenchmarkResult(
        ('nose', '<script>alert(1)</script>', 'ta$il', 'paw & toe'),
        ('left "A"', 'right'),
        unit,
        truth2d + rng.normal(size=truth2d.shape) * 3,
        truth2d,
        seen2d,
        affine,
        truth3d + rng.normal(size=truth3d.shape),
        truth3d,
        seen3d,
        np.zeros(n, np.int64),
        np.arange(n),
        truth2d + 30.0,
        baseline,
        baseline,
    )


@pytest.fixture
def result() -> BenchmarkResult:
    return make_result()
