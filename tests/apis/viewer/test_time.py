"""The strip of verdicts, and who draws when."""

import threading
import time

import numpy as np

from smilfit.apis.viewer.scene_page import Player
from smilfit.apis.viewer.time_line import COLOURS, time_line, with_cursor
from smilfit.evaluation.verdict import DOUBTFUL, GOOD, NOT_BELIEVABLE


def test_of_frames_that_share_a_column_the_worst_is_seen():
    words = [GOOD] * 1000
    words[500], words[501] = NOT_BELIEVABLE, DOUBTFUL
    strip = time_line(words, width=100)
    assert tuple(strip[0, 50]) == COLOURS[NOT_BELIEVABLE]
    assert {tuple(c) for c in np.delete(strip[0], 50, 0)} == {COLOURS[GOOD]}


def test_few_frames_fill_the_strip():
    strip = time_line([GOOD, DOUBTFUL], width=10)
    assert [tuple(c) for c in strip[0]] == [COLOURS[GOOD]] * 5 + [COLOURS[DOUBTFUL]] * 5
    assert (with_cursor(strip, 1, 2)[:, 7] == 255).all()


def test_only_the_newest_wish_is_drawn():
    drawn, first, go = [], threading.Event(), threading.Event()

    def draw(row: int) -> None:
        drawn.append(row)
        first.set()
        go.wait(5)

    player = Player(draw, 100, 25.0)
    player.show(1)
    assert first.wait(5)
    for row in range(2, 50):
        player.show(row)
    go.set()
    wait_for(lambda: player.row == 49)
    player.close()
    assert drawn == [1, 49]


def test_playing_goes_round_and_stops():
    drawn = []
    player = Player(drawn.append, 3, 200.0)
    player.play(True)
    wait_for(lambda: len(drawn) >= 7)
    player.play(False)
    time.sleep(0.05)
    count = len(drawn)
    time.sleep(0.05)
    assert len(drawn) == count
    assert drawn[:7] == [1, 2, 0, 1, 2, 0, 1]
    player.close()


def wait_for(ready) -> None:
    end = time.monotonic() + 5
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.005)
