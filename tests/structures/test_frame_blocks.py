import torch

from smilfit.structures.body import by_blocks


def test_blocks_are_the_whole():
    values, asked = torch.arange(10.0).reshape(5, 2), []

    def doubled(rows: slice) -> torch.Tensor:
        asked.append((rows.start, rows.stop))
        return 2 * values[rows]

    assert torch.equal(by_blocks(5, doubled, size=2), 2 * values)
    assert asked == [(0, 2), (2, 4), (4, 5)]
    assert by_blocks(0, lambda rows: values[rows]).shape == (0, 2)
