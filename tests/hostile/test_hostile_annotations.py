"""Hostile annotations, images and videos: refused by a sentence that names the file, or left out entry by entry."""

from pathlib import Path

from tests.hostile.hostile_annotations import hostile_annotations, write_orders
from tests.hostile.judges import judge_annotation
from tests.hostile.sandbox import run_cases


def test_hostile_annotations_are_refused_or_left_out(tmp_path: Path):
    given = hostile_annotations(tmp_path)
    assert len(given) >= 200
    assert {'coco', 'sleap', 'dlc', 'lightningpose', 'anipose', 'stanfordextra', 'animalpose', 'badja', 'replicant',
            'animal3d', 'animalkey', 'tigdog', 'grevyzebra', 'calibration', 'lookup', 'betas', 'points3d', 'video',
            'session', 'labels'} == {case.format for case in given.values()}  # fmt: skip
    result = run_cases('tests.hostile.annotation_calls:read_case', write_orders(given, tmp_path / 'orders'))
    wrong = {name: judge_annotation(case, given[name]) for name, case in result.items()}
    assert {name: fault for name, fault in wrong.items() if fault} == {}
    assert result.keys() == given.keys()
    # What was refused was refused before it was believed: no reader ran into the limit first.
    full = {
        name
        for name, case in result.items()
        if 'MemoryError' in case.causes or 'fit into memory' in str(case.value)
    }
    assert full == set()
