"""One camera found anew by what the animal's labels show."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smilfit.cameras import repair_by_labels
from smilfit.cameras.rig import Rig, angle_between, rotation_of
from smilfit.cli.main import main
from smilfit.io import triangulate_keypoints
from smilfit.io.calibration import read_calibration
from smilfit.registry import UnknownNameError
from smilfit.structures import Cameras, Keypoints2d
from tests.cameras.rigs import ring, sizes

NAMES = ('front', 'left', 'back', 'right')


def labels(
    rig: Rig, cameras: Cameras, spread: float, noise: float = 1.0, n_frames: int = 30, names=NAMES
) -> Keypoints2d:
    """Label eight points of an animal that walks about within `spread` mm."""
    torch.manual_seed(0)
    shape = 30 * torch.randn(8, 3, dtype=torch.float64)
    points = shape + spread * torch.randn(n_frames, 1, 3, dtype=torch.float64)
    true = rig.cameras(names, sizes(len(names)), 'mm')
    xy = torch.stack([true.project(p)[0] for p in points])
    xy = xy + noise * torch.randn_like(xy)
    return Keypoints2d(xy, torch.ones(xy.shape[:-1], dtype=torch.float64), tuple('abcdefgh'), cameras)


def wrong(rig: Rig, camera: int, source: int) -> Cameras:
    """Return a camera another one's calibration."""
    return rig.put(camera, rig.one(source)).cameras(NAMES, sizes(4), 'mm')


@pytest.mark.parametrize(('free', 'degrees', 'mm'), [('focal', 0.3, 5.0), ('lens', 0.4, 6.0)])
def test_a_camera_with_another_ones_calibration_is_found(free, degrees, mm):
    rig = ring()
    result = repair_by_labels(labels(rig, wrong(rig, 2, 1), 120.0), 'back', free)
    assert np.median(result.before) > 50
    assert np.median(result.after) < 2
    assert np.nanmedian(result.held_out_frames) < 2
    assert np.degrees(angle_between(result.rig.R[2], rig.R[2])) < degrees
    assert np.linalg.norm(result.rig.centres[2] - rig.centres[2]) < mm
    assert result.rig.focal[2, 0] == pytest.approx(rig.focal[2, 0], rel=0.02)
    assert not result.uncertainty.ambiguous
    assert 0.2 < result.uncertainty.place_sd[0] < mm


def test_an_animal_in_one_place_leaves_focal_length_and_distance_open():
    rig = ring()
    observed = labels(rig, wrong(rig, 2, 1), 1.0, noise=3.0, n_frames=12)
    alone = repair_by_labels(observed, 'back', 'focal', like_mates=False)
    assert alone.uncertainty.ambiguous
    assert alone.uncertainty.along_view > 0.95
    helped = repair_by_labels(observed, 'back', 'focal')
    assert helped.uncertainty.focal_sd_share < alone.uncertainty.focal_sd_share
    assert helped.uncertainty.share_of_labels < 0.9


def test_given_points_of_the_right_names_and_unknown_cameras():
    rig = ring()
    observed = labels(rig, wrong(rig, 2, 1), 120.0)
    with pytest.raises(UnknownNameError, match="no camera 'bakc'"):
        repair_by_labels(observed, 'bakc')
    two = Keypoints2d(
        observed.xy[:, :2], observed.confidence[:, :2], observed.names, observed.rig.select(NAMES[:2])
    )
    with pytest.raises(ValueError, match='two other cameras must place the points'):
        repair_by_labels(two, 'left')
    with pytest.raises(ValueError, match='must have 30 labels of points'):
        repair_by_labels(observed[:3], 'back')


def test_what_nothing_should_be_calibrated_against_is_refused():
    rig = ring(5)
    names = (*NAMES, 'top')
    two = rig.put(2, rig.one(1)).put(3, rig.one(0)).cameras(names, sizes(5), 'mm')
    observed = labels(rig, two, 120.0, names=names)
    with pytest.raises(
        ValueError, match="the other cameras must agree.*'right' contradicts.*--exclude-cameras right"
    ):
        repair_by_labels(observed, 'back')
    good = labels(rig, rig.cameras(names, sizes(5), 'mm'), 120.0, names=names)
    points = triangulate_keypoints(good)
    with pytest.raises(
        ValueError, match='3D points must have the unit of the calibration.*1000 times as large'
    ):
        repair_by_labels(good, 'back', points=replace(points, xyz=1000 * points.xyz))


def test_mirrored_images_are_told():
    rig = ring()
    observed = labels(rig, wrong(rig, 2, 1), 120.0)
    xy = observed.xy.clone()
    xy[:, 2, :, 0] = sizes(4)[2, 0] - 1 - xy[:, 2, :, 0]
    with pytest.raises(ValueError, match='images must not be mirrored; labels miss by .* px as they are'):
        repair_by_labels(replace(observed, xy=xy), 'back')


@pytest.mark.real
def test_side_of_the_mouse_is_found_from_its_labels(real_data: Path, tmp_path: Path, capsys):
    session = real_data / 'mouse_sessions/minimal_session'
    out = tmp_path / 'new'
    arguments = f'calibrate camera {session} --camera side --unit mm --out {out}'.split()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    result = re.search(r'before (\S+) px .* after (\S+) px .* held out (\S+) px', said)
    before, after, held = (float(x) for x in result.groups())
    assert before > 70
    assert after < 15
    assert held < 20
    assert 'hard to tell apart' in said
    assert len(re.findall('Frame [0-9]+ of side', (out / 'report.html').read_text())) >= 3
    old, new = (read_calibration(f / 'calibration.toml') for f in (session, out))
    for c, name in enumerate(old.names):
        same = [torch.equal(getattr(old, n)[c], getattr(new, n)[c]) for n in ('K', 'R', 't', 'dist')]
        # Its lens is held.
        assert all(same) == (name != 'side')
    rig = Rig.of(new)
    truth = rotation_of(np.array([0.1016, 1.8262, 1.6532]))
    place = -truth.T @ np.array([-174.8, -451.3, 260.4])
    assert np.degrees(angle_between(rig.R[2], truth)) < 6
    assert np.linalg.norm(rig.centres[2] - place) < 45
    assert rig.focal[2, 0] == pytest.approx(751.4, rel=0.1)
    assert main(arguments) == 1
    assert 'is there already and is not replaced' in capsys.readouterr().err
