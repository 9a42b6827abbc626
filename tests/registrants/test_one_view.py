"""One view: kinds of animals, starts kept, frames that show too little, headings recovered."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.believe.one_view import pictures
from smilfit.body_models import SMIL
from smilfit.handlers import ImageFrameInput
from smilfit.registrants.observation_checks import least_places, places_of
from smilfit.registrants.stage import Stage
from smilfit.registrants.views.ambiguity import trunk_direction
from smilfit.registrants.views.placement import mirror_images
from smilfit.registry import build_registrant, read_config
from smilfit.structures import FitResult
from smilfit.synthetic import make_quadruped_family

CONFIGS = Path(__file__).parents[2] / 'configs' / 'fit'


@pytest.fixture(scope='module')
def truly():
    return SMIL(make_quadruped_family()).double()


@pytest.fixture(scope='module')
def fit(truly):
    config = read_config(CONFIGS / 'smalify_keypoints.py').to_dict()
    # No picture has so many keypoints: all are doubted.
    return build_registrant({**config, 'body_model': SMIL(truly.data), 'doubt': dict(least_keypoints=1000)})


@pytest.fixture(scope='module')
def seen(truly):
    return pictures(truly, 6, seed=1).scene


@pytest.fixture(scope='module')
def found(fit, seen):
    """Six pictures, of which one has one keypoint, and one all its keypoints in a point."""
    keypoints = seen.keypoints
    confidence, xy = keypoints.confidence.clone(), keypoints.xy.clone()
    confidence[1, :, 1:] = 0
    xy[4] = 100.0
    poor = replace(keypoints, confidence=confidence, xy=xy)
    return fit([poor, ImageFrameInput(seen.cameras, 6)])


def test_frames_that_show_too_little_are_not_fitted(found):
    assert found.fitted.tolist() == [True, False, True, True, False, True]
    assert bool(found.params.transl[[1, 4]].isnan().all())
    notes = found.report['frames_without_evidence']
    assert notes['count'] == 2
    assert notes['rows'] == [1, 4]
    assert notes['missing'][0].startswith('1 keypoint and no mask')
    assert 'keypoints in 1 place and no mask' in notes['missing'][1]


def test_doubted_frames_are_named_by_their_rows(found):
    assert found.report['frames_doubted']['rows'] == [0, 2, 3, 5]


def test_nothing_is_fitted_where_no_frame_shows_enough(fit, seen):
    confidence = torch.zeros_like(seen.keypoints.confidence)
    confidence[..., :2] = 1
    with pytest.raises(ValueError, match='at least one frame must show enough.*Frame 0 has 2 keypoints'):
        fit([replace(seen.keypoints, confidence=confidence), ImageFrameInput(seen.cameras, 6)])


def test_the_heading_of_an_animal_of_unknown_kind_is_found(truly, seen, found):
    R, rows = seen.cameras.R[:, 0], found.fitted
    true = trunk_direction(truly.data, seen.truth.global_orient.double(), R)
    fitted = trunk_direction(truly.data, found.params.global_orient.double(), R)
    turned = torch.rad2deg(torch.cosine_similarity(fitted.double(), true.double()).clamp(-1, 1).acos())[rows]
    assert turned.median() < 15
    assert turned.max() < 40


def test_what_all_starts_came_to_is_kept(truly, found, tmp_path):
    kinds = len(truly.data.shape_mixture.names)
    losses, orients = found.start_losses, found.start_orients
    assert losses.shape[0] == 6
    assert losses.shape[1] % kinds == 0
    assert orients.shape == (*losses.shape, 3)
    rows = found.fitted
    assert bool(losses[~rows].isnan().all())
    assert bool(orients[~rows].isnan().all())
    assert torch.allclose(losses[rows].amin(1), found.per_frame_loss[rows])
    best = orients[torch.arange(6), losses.nan_to_num(torch.inf).argmin(1)]
    assert torch.equal(best[rows], found.params.global_orient[rows])
    read = FitResult.load(found.save(tmp_path / 'fit.npz'))
    assert torch.equal(read.start_losses.nan_to_num(-1), losses.nan_to_num(-1))
    assert torch.equal(read.start_orients.nan_to_num(-1), orients.nan_to_num(-1))


def test_a_mirrored_start_looks_the_same_from_afar(truly):
    """Of points in a plane the mirror image is exact, under parallel rays."""
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(3, 9, 3, generator=generator).double() * torch.tensor([1.0, 0.0, 0.7]).double()
    rotation = torch.linalg.qr(torch.randn(3, 3, 3, generator=generator).double())[0]
    rotation = rotation * torch.linalg.det(rotation)[:, None, None]
    weight = torch.ones(3, 9).double()
    mirrored = mirror_images(rotation, flat, weight)[:, :3]
    points = flat - flat.mean(1, keepdim=True)
    shown = points @ rotation.mT
    same = (points.unsqueeze(1) @ mirrored.mT - shown.unsqueeze(1))[..., :2].norm(dim=-1).amax(-1)
    assert bool((same.amin(1) < 1e-9).all())
    which = same.argmin(1)
    deep = (points @ mirrored[torch.arange(3), which].mT)[..., 2]
    assert torch.allclose(deep, -shown[..., 2])


def test_places_are_counted_once():
    xy = torch.tensor([[[[0.0, 0.0], [0.3, 0.4], [50.0, 0.0], [90.0, 90.0]]]])
    visible = torch.tensor([[[True, True, True, False]]])
    assert places_of(xy, visible).tolist() == [2]
    # Labels of a point are scattered; so are those of an animal ten times as large.
    assert places_of(0.1 * xy, visible).tolist() == [1]
    assert places_of(10 * xy, visible).tolist() == [2]


def test_a_place_is_asked_for_twice_over():
    still, sized = Stage(fit=('transl', 'betas')), Stage(fit=('scale', 'focal'))
    assert [least_places([(s, {}) for s in stages]) for stages in ([still], [still, sized])] == [6, 8]
