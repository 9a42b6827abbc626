"""One camera found anew by boards that the others see at the same time."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from smilfit.cameras import Board
from smilfit.cameras.rig import Rig, angle_between
from smilfit.cli.main import main
from smilfit.io.calibration import read_calibration, write_calibration
from tests.cameras.rendered_boards import Renderer, board_poses
from tests.cameras.rigs import ring, sizes

NAMES = ('left', 'mid', 'right')
BOARD = Board('charuco', 8, 11, 24.0)


@pytest.fixture(scope='module')
def filmed(tmp_path_factory) -> tuple[Path, Rig]:
    """A rig whose camera `mid` has `left`'s calibration, and images of a board; gives the true rig."""
    folder, rig = tmp_path_factory.mktemp('one_camera'), ring(3)
    draw = Renderer(rig, BOARD)
    R, t = board_poses(BOARD, 10)
    for c, name in enumerate(NAMES):
        (folder / 'boards' / name).mkdir(parents=True)
        for i in range(len(R)):
            cv2.imwrite(str(folder / f'boards/{name}/shot_{i:02d}.png'), draw(c, R[i], t[i]))
    write_calibration(folder / 'calibration.toml', rig.put(1, rig.one(0)).cameras(NAMES, sizes(3), 'mm'))
    return folder, rig


def command(folder: Path, out: Path, *more: str, square: str = '24') -> list[str]:
    """Return the words of a command."""
    words = (
        f'calibrate camera {folder} --camera mid --from boards --recordings {folder}/boards --out {out} '
        f'--board charuco --squares 8x11 --square-mm {square}'
    )
    return [*words.split(), *more]


@pytest.mark.parametrize('free', ['all', 'focal'])
def test_the_command_finds_the_camera_and_keeps_the_others(filmed, tmp_path, capsys, free):
    folder, rig = filmed
    assert main(command(folder, tmp_path / 'out', '--free', free)) == 0
    said = capsys.readouterr().out
    assert 'mid: the board in ' in said
    assert 'from the boards that the other cameras place' in said
    old, new = (read_calibration(f / 'calibration.toml') for f in (folder, tmp_path / 'out'))
    for c in (0, 2):
        for name in ('K', 'R', 't', 'dist'):
            assert (getattr(old, name)[c] == getattr(new, name)[c]).all()
    result = Rig.of(new)
    if free == 'all':
        assert np.degrees(angle_between(result.R[1], rig.R[1])) < 0.5
        assert np.linalg.norm(result.centres[1] - rig.centres[1]) < 4
        assert result.focal[1, 0] == pytest.approx(rig.focal[1, 0], rel=0.01)
        assert '95 %' in said
    else:
        # Its lens and principal point stay those it was given.
        np.testing.assert_array_equal(result.dist[1], rig.dist[0])
        np.testing.assert_array_equal(result.centre[1], rig.centre[0])
    assert 'By board' in (tmp_path / 'out/report.html').read_text()


@pytest.mark.parametrize(
    ('more', 'square', 'message'),
    [
        ((), '30', 'edges of the board must be as long as stated, 30 mm; the other cameras measure 2'),
        (('--camera', 'mit'), '24', "no camera 'mit'"),
    ],
)
def test_what_is_wrong_is_told(filmed, tmp_path, capsys, more, square, message):
    assert main(command(filmed[0], tmp_path / 'out', *more, square=square)) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_options_of_boards_are_asked_for(filmed, tmp_path, capsys):
    words = f'calibrate camera {filmed[0]} --camera mid --from boards --out {tmp_path / "out"}'.split()
    with pytest.raises(SystemExit) as code:
        main(words)
    assert code.value.code == 2
    assert '--from boards needs --recordings, --board, --squares, --square-mm' in capsys.readouterr().err


def test_a_calibration_in_metres(filmed, tmp_path, capsys):
    folder, rig = filmed
    metres = replace(rig, t=rig.t / 1000)
    write_calibration(
        tmp_path / 'calibration.toml', metres.put(1, metres.one(0)).cameras(NAMES, sizes(3), 'm')
    )
    words = [str(tmp_path) if w == str(folder) else w for w in command(folder, tmp_path / 'out')]
    assert main(words) == 0
    assert '0.0240' in capsys.readouterr().out
    result = Rig.of(read_calibration(tmp_path / 'out/calibration.toml'))
    assert np.linalg.norm(result.centres[1] - rig.centres[1] / 1000) < 0.004


def test_a_camera_that_stays_wrong_is_not_to_be_trusted(filmed, tmp_path, capsys):
    folder, rig = filmed
    one = rig.one(1)
    wide = rig.put(1, replace(one, focal=0.4 * one.focal))
    write_calibration(tmp_path / 'calibration.toml', wide.cameras(NAMES, sizes(3), 'mm'))
    words = [str(tmp_path) if w == str(folder) else w for w in command(folder, tmp_path / 'out')]
    assert main([*words, '--free', 'pose']) == 3
    assert "not to be trusted: Camera 'mid' still contradicts the others" in capsys.readouterr().out
