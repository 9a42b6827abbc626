"""Rendered boards give back the cameras that saw them; what is wrong is told."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from smilfit.cameras import Board, BoardDetector, calibrate_rig
from smilfit.cameras.board_recordings import BoardViews, read_board_views
from smilfit.cameras.rig import Rig, angle_between, project
from smilfit.cameras.summary import rig_objections
from smilfit.cli.main import main
from smilfit.io import triangulate_keypoints
from smilfit.io.calibration import read_calibration, write_calibration
from smilfit.structures import Keypoints2d
from tests.cameras.rendered_boards import Renderer, board_poses
from tests.cameras.rigs import ring, sizes

NAMES = ('left', 'mid', 'right')
BOARDS = {
    'charuco': Board('charuco', 8, 11, 24.0),
    'chessboard': Board('chessboard', 8, 11, 24.0),
    'apriltag': Board('apriltag', 6, 8, 32.0),
}


def recorded(folder: Path, board: Board, count: int) -> Rig:
    """Write images of three cameras; gives these."""
    rig = ring(3)
    draw = Renderer(rig, board)
    R, t = board_poses(board, count)
    for c, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(folder / name / f'shot_{i:02d}.png'), draw(c, R[i], t[i]))
    return rig


@pytest.fixture(scope='module')
def charuco(tmp_path_factory) -> tuple[Path, Rig]:
    folder = tmp_path_factory.mktemp('boards') / 'charuco'
    return folder, recorded(folder, BOARDS['charuco'], 14)


@pytest.fixture(scope='module')
def views(charuco) -> BoardViews:
    return read_board_views(charuco[0], BOARDS['charuco'])


def command(folder: Path, out: Path, *more: str, squares: str = '8x11') -> list[str]:
    """Return the words of a command."""
    words = f'calibrate boards {folder} --out {out} --board charuco --squares {squares} --square-mm 24'
    return [*words.split(), *more]


@pytest.mark.parametrize('kind', BOARDS)
def test_corners_lie_where_the_camera_sees_them(kind):
    rig, board = ring(3), BOARDS[kind]
    draw, detect = Renderer(rig, board), BoardDetector(board)
    R, t = board_poses(board, 5)
    observed = {i: d for i in range(5) if (d := detect(draw(1, R[i], t[i]))) is not None}
    assert len(observed) >= 3
    errors = []
    for i, result in observed.items():
        true = project(rig, np.full(len(result.ids), 1), board.points[result.ids] @ R[i].T + t[i])[0]
        errors.append(np.linalg.norm(result.xy - true, axis=-1))
    # A corner by its wrong number would miss by a square.
    assert np.median(np.concatenate(errors)) < 0.25
    assert np.percentile(np.concatenate(errors), 95) < 1.5


@pytest.mark.parametrize('kind', ['chessboard', 'apriltag'])
def test_other_boards_find_the_rig(kind):
    rig, board = ring(3), BOARDS[kind]
    draw, detect = Renderer(rig, board), BoardDetector(board)
    R, t = board_poses(board, 8)
    observed = tuple(
        {i: d for i in range(8) if (d := detect(draw(c, R[i], t[i]))) is not None} for c in range(3)
    )
    result = calibrate_rig(BoardViews(NAMES, sizes(3), observed, (8, 8, 8)), board, floor_frame=0)
    assert np.median(result.error_px) < 0.2
    assert result.rig.focal[:, 0] == pytest.approx(rig.focal[:, 0], rel=0.01)
    assert float(np.median(result.edges_mm)) == pytest.approx(board.edge_mm, rel=0.006)


def test_the_command_gives_back_rig_and_floor(charuco, tmp_path, capsys):
    folder, rig = charuco
    assert main(command(folder, tmp_path / 'out', '--floor-frame', '0')) == 0
    said = capsys.readouterr().out
    assert 'left: the board in ' in said
    assert 'of the stated 24' in said
    result = Rig.of(read_calibration(tmp_path / 'out/calibration.toml'))
    assert read_calibration(tmp_path / 'out/calibration.toml').unit == 'mm'
    assert result.focal[:, 0] == pytest.approx(rig.focal[:, 0], rel=0.01)
    # The board lay in the middle, x along the world's x: its corner is the new origin.
    corner = board_poses(BOARDS['charuco'], 1)[1][0]
    np.testing.assert_allclose(result.centres, rig.centres - corner, atol=8.0)
    assert np.degrees(angle_between(result.R, rig.R)).max() < 1.0
    page = (tmp_path / 'out/report.html').read_text()
    assert 'What of the images saw the board' in page
    before = (tmp_path / 'out/calibration.toml').read_bytes()
    assert main(command(folder, tmp_path / 'out')) == 1
    assert 'is there already and is not replaced' in capsys.readouterr().err
    assert (tmp_path / 'out/calibration.toml').read_bytes() == before


def test_what_is_written_reads_back(views):
    result = calibrate_rig(views, BOARDS['charuco'])
    back = Rig.of(result.cameras)
    for name in ('K', 'R', 't', 'dist'):
        np.testing.assert_allclose(getattr(back, name), getattr(result.rig, name), atol=1e-9)
    # Without a floor the first camera is the world.
    np.testing.assert_allclose(result.rig.R[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(result.rig.t[0], 0, atol=1e-12)


def test_another_size_of_squares_shows_against_another_calibration(charuco, views, tmp_path, capsys):
    folder, _ = charuco
    write_calibration(tmp_path / 'other.toml', calibrate_rig(views, BOARDS['charuco']).cameras)
    words = command(folder, tmp_path / 'out', '--against', str(tmp_path / 'other.toml'))
    words[words.index('--square-mm') + 1] = '2.4'
    assert main(words) == 3
    said = capsys.readouterr().out
    assert 'not to be trusted: Distances' in said
    assert 'are 0.1 times those of the other calibration' in said
    assert 'check --square-mm' in said


@pytest.mark.parametrize(
    ('squares', 'more', 'message'),
    [
        ('11x8', (), 'They show --squares 8x11'),
        ('8x11', ('--dictionary', '5X5_100'), 'They show markers of --dictionary 4X4_1000'),
        ('8x11', ('--dictionary', '4X4_5'), "no dictionary '4X4_5'"),
        ('8x11', ('--floor-frame', '99'), 'must be seen in --floor-frame 99'),
        ('8x11', ('--marker-mm', '25'), 'marker_mm must be above 0 and below square_mm'),
    ],
)
def test_a_wrong_board_is_told(charuco, tmp_path, capsys, squares, more, message):
    folder, _ = charuco
    assert main(command(folder, tmp_path / 'out', *more, squares=squares)) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def copied(source: Path, target: Path, keep: dict[str, range]) -> Path:
    """Copy some images of each camera."""
    for name, numbers in keep.items():
        (target / name).mkdir(parents=True)
        for i in numbers:
            shutil.copy(source / name / f'shot_{i:02d}.png', target / name)
    return target


def test_blind_cameras_few_frames_and_apart_groups_are_named(charuco, tmp_path, capsys):
    folder, _ = charuco
    few = copied(folder, tmp_path / 'few', dict.fromkeys(NAMES, range(3)))
    assert main(command(few, tmp_path / 'out')) == 1
    assert "camera 'left' must see the board in 4 frames at least" in capsys.readouterr().err
    blind = copied(folder, tmp_path / 'blind', dict.fromkeys(NAMES, range(6)))
    for path in (blind / 'mid').iterdir():
        cv2.imwrite(str(path), np.full((512, 640), 128, np.uint8))
    assert main(command(blind, tmp_path / 'out')) == 1
    assert "it was found in no image of 'mid' (of 6 images)" in capsys.readouterr().err
    apart = copied(folder, tmp_path / 'apart', dict.fromkeys(NAMES, range(14)))
    for path in sorted((apart / 'right').iterdir()):
        path.rename(path.with_name(f'shot_{int(path.stem[-2:]) + 50}.png'))
    assert main(command(apart, tmp_path / 'out')) == 1
    assert 'groups that never see it together: left, mid and right' in capsys.readouterr().err


def test_mirrored_images_are_told(charuco, tmp_path, capsys):
    folder, _ = charuco
    mirrored = copied(folder, tmp_path / 'mirrored', dict.fromkeys(NAMES, range(6)))
    for path in (mirrored / 'right').iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path))[:, ::-1])
    assert main(command(mirrored, tmp_path / 'out')) == 1
    assert 'The images are mirrored' in capsys.readouterr().err


def test_folders_that_are_none(tmp_path):
    board = BOARDS['charuco']
    with pytest.raises(FileNotFoundError, match='there is no such folder'):
        read_board_views(tmp_path / 'none', board)
    with pytest.raises(FileNotFoundError, match='a subfolder for each camera'):
        read_board_views(tmp_path, board)
    (tmp_path / 'left').mkdir()
    with pytest.raises(ValueError, match='one video or images of the board; got 0 videos and 0 images'):
        read_board_views(tmp_path, board)
    cv2.imwrite(str(tmp_path / 'left/board.png'), np.zeros((20, 20), np.uint8))
    with pytest.raises(ValueError, match='must hold the number of the moment'):
        read_board_views(tmp_path, board)


@pytest.mark.parametrize(
    ('made', 'message'),
    [
        (dict(kind='charucco'), 'kind must be one of'),
        (dict(columns=2), 'squares must be 3x3 at least'),
        (dict(square_mm=0.0), 'square_mm must be a length in mm'),
        (dict(kind='chessboard', rows=10), 'looks the same upside down'),
    ],
)
def test_boards_that_are_none(made, message):
    with pytest.raises(ValueError, match=message):
        Board(**(dict(kind='charuco', columns=8, rows=11, square_mm=24.0) | made))


def test_a_video_a_camera(charuco, views, tmp_path):
    folder, _ = charuco
    for name in NAMES[:2]:
        (tmp_path / name).mkdir()
        writer = cv2.VideoWriter(
            str(tmp_path / name / 'v.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 25, (640, 512)
        )
        for i in range(6):
            writer.write(cv2.imread(str(folder / name / f'shot_{i:02d}.png')))
        writer.release()
    filmed = read_board_views(tmp_path, BOARDS['charuco'], most_frames=3)
    assert filmed.searched == (3, 3)
    assert filmed.names == NAMES[:2]
    for video, still in zip(filmed.views, views.views):
        assert set(video) == {f for f in still if f in (0, 2, 4)}


def test_the_floor_is_at_zero_and_up_is_up(charuco, views):
    """Points of the true floor and above it, as the true cameras see them, placed by the calibrated ones."""
    _, rig = charuco
    board = BOARDS['charuco']
    result = calibrate_rig(views, board, floor_frame=0)
    side = np.linspace(-60, 60, 4)
    floor = np.stack(np.meshgrid(side, side, [0.0, 50.0]), -1).reshape(-1, 3)
    camera, number = np.repeat(np.arange(3), len(floor)), np.tile(np.arange(len(floor)), 3)
    xy = project(rig, camera, floor[number])[0]
    pixels = torch.from_numpy(xy.reshape(3, -1, 2)[None])
    observed = Keypoints2d(
        pixels,
        torch.ones(1, 3, len(floor)).double(),
        tuple(str(i) for i in range(len(floor))),
        result.cameras,
    )
    placed = triangulate_keypoints(observed).xyz[0].numpy()
    np.testing.assert_allclose(placed[:, 2], floor[:, 2], atol=1.5)
    # The board's x and y are those of its print: along its columns, and, seen from above, to their left.
    corner = board_poses(board, 1)[1][0]
    np.testing.assert_allclose(placed, floor - corner, atol=3.0)
    assert (result.rig.centres[:, 2] > 200).all()


def test_a_print_that_was_stretched_is_told():
    """As by a printer that fits pages: the cameras measure both directions."""
    board = BOARDS['charuco']
    draw, detect = Renderer(ring(3), board, stretch=1.03), BoardDetector(board)
    R, t = board_poses(board, 12)
    observed = tuple(
        {i: d for i in range(12) if (d := detect(draw(c, R[i], t[i]))) is not None} for c in range(3)
    )
    result = calibrate_rig(BoardViews(NAMES, sizes(3), observed, (12,) * 3), board)
    (said,) = rig_objections(result, board)
    along, down = (float(x) for x in re.search(r'are (\S+) mm along and (\S+) mm down', said).groups())
    # The cameras give way to some of it.
    assert 1.01 < along / down < 1.03
