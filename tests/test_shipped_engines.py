"""The second-order stages of the shipped configs run on the fused kernel: the speed that is claimed is the users'."""

from collections import Counter

import pytest

from benchmarks.fitting.shipped_engines import KERNEL_ENGINES, PEOPLE, shipped_configs, tiny_fit

SECOND_ORDER = {
    'multiview_keypoints': (),
    # For what the session shares, then for its poses.
    'multiview_keypoints_lm': ('place', 'skeleton', 'pose') * 2,
    'points3d_lm': ('place', 'skeleton', 'pose') * 2,
    'smalify': ('place', 'pose', 'shape'),
    'smalify_keypoints': ('place', 'pose', 'shape'),
    'smalify_masks': ('place', 'pose', 'shape'),
    'smalify_video': ('place', 'pose', 'shape'),
    'smplify': ('place', 'pose', 'refine'),
    'smplifyx': ('place', 'body', 'hands'),
}


@pytest.fixture(scope='module')
def stages():
    pytest.importorskip('warp')
    return {path.stem: tiny_fit(path).history for path in shipped_configs()}


@pytest.mark.parametrize(('people', 'n_stages', 'least'), [(False, 24, 22), (True, 6, 6)])
def test_nearly_all_stages_run_on_the_kernel(stages, people, n_stages, least):
    histories = [history for config, history in stages.items() if (config in PEOPLE) == people]
    second_order = [
        stage for history in histories for stage in history if stage['solver'] == 'LevenbergMarquardt'
    ]
    engines = Counter(stage['engine'] for stage in second_order)
    assert len(second_order) == n_stages
    assert sum(engines[name] for name in KERNEL_ENGINES) >= least, engines


def test_every_stage_names_its_solver_and_engine(stages):
    assert set(stages) == set(SECOND_ORDER)
    for config, history in stages.items():
        result = tuple(stage['stage'] for stage in history if stage['solver'] == 'LevenbergMarquardt')
        assert result == SECOND_ORDER[config]
        for stage in history:
            second = stage['stage'] in result
            assert stage['engine'] in ((*KERNEL_ENGINES, 'dense', 'banded') if second else ('gradient',))
            # A stage that the kernel does not take says why.
            assert (stage['engine'] in ('dense', 'banded')) == ('no_kernel_because' in stage)
