"""Which other board an image may show, where the one that was named is not found."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from smilfit.calibration.boards import Board, BoardDetector

# So many images show what board it is.
MOST_IMAGES = 8
_CHARUCO = ('4X4_1000', '5X5_1000', '6X6_1000', '7X7_1000', 'APRILTAG_36H11')
_TAGS = ('APRILTAG_36H11', 'APRILTAG_25H9', 'APRILTAG_16H5', '4X4_1000', '6X6_1000')


def likely_board(board: Board, images: Iterable[np.ndarray]) -> str | None:
    """Say in words which board images show instead of the one that is named; None where no other is found either.

    Args:
        board: which nobody found.
        images: some that should show it, RGB.
    """
    shown = [image for _, image in zip(range(MOST_IMAGES), images)]
    if any(BoardDetector(board)(image[:, ::-1].copy()) for image in shown):
        return 'The images are mirrored: the board is found in them from left to right.'
    for what, other in _others(board):
        detector = BoardDetector(other)
        if sum(detector(image) is not None for image in shown) > len(shown) // 3:
            return f'They show {what}.'
    return None


def _others(board: Board) -> list[tuple[str, Board]]:
    """List boards that are easily taken for this one, with what to say."""
    found = []
    across = f'{board.rows}x{board.columns}'
    if board.kind == 'charuco':
        found.append(('the layout of OpenCV before 4.6: --legacy', replace(board, legacy=not board.legacy)))
        found.append((f'--squares {across}', replace(board, columns=board.rows, rows=board.columns)))
    names = {'charuco': _CHARUCO, 'apriltag': _TAGS, 'chessboard': ()}[board.kind]
    if board.dictionary is None or board.dictionary_name not in names:
        found += [
            (f'markers of --dictionary {n}', replace(board, dictionary=n))
            for n in names
            if n != board.dictionary_name
        ]
    if board.kind == 'chessboard':
        # Given as inner corners, or one too few.
        for more in (1, -1, 2):
            size = (board.columns + more, board.rows + more)
            if min(size) >= 3:
                found.append(
                    (f'--squares {size[0]}x{size[1]}', replace(board, columns=size[0], rows=size[1]))
                )
        found.append((f'--squares {across}', replace(board, columns=board.rows, rows=board.columns)))
    return found
