"""Command lines that cannot work: fitting."""

from tests.hostile.bad_configs import BAD_CONFIGS
from tests.hostile.command_runs import USAGE, Case, input_errors, usage_errors

_FIT = 'fit fit/multiview_keypoints.py --data {data} --out {out} --no-video'
_IMAGES = 'fit_images coco {coco} {out} --body-model {body} --unit mm --quiet --no-video'


def _fit(
    config: str = 'fit/multiview_keypoints.py', data: str = '{data}', more: str = '', out: str = '{out}'
) -> str:
    return f'fit {config} --data {data} --out {out} --no-video {more}'


FIT = [
    *usage_errors(
        'fit',
        _FIT,
        ('--meshes stl', 'invalid choice'),
        ('--launcher mpi', 'invalid choice'),
        ('--threads x', 'x'),
    ),
    Case('fit without data', 'fit fit/multiview_keypoints.py --out {out}', USAGE, '--data'),
    Case('fit without out', 'fit fit/multiview_keypoints.py --data {data}', USAGE, '--out'),
    *input_errors('fit, config', *((name, _fit(config), message) for name, config, message in BAD_CONFIGS)),
    *input_errors(
        'fit',
        ('data that are not there', _fit(data='{root}/none.h5'), r'none\.h5'),
        ('data that are text', _fit(data='{text_h5}'), r'text\.h5'),
        ('data cut short', _fit(data='{cut_data}'), r'cut\.h5'),
        ('an unknown session', _fit(more='--sessions mouse'), r"no session 'mouse'.*session_000"),
        ('a body that is not there', _fit(more='--body-model {root}/none.pkl'), r'none\.pkl'),
        ('a body of another animal', _fit(more='--body-model {other}'), r'body model|hash'),
        ('a body that is text', _fit(more='--body-model {text_model}'), r'text\.smil\.json'),
        (
            'a launcher that started nothing',
            _fit(more='--launcher pytorch'),
            r'--launcher pytorch: RANK must be set',
        ),
        ('a negative number of steps', _fit(more='--cfg-options stages.0.n_iter=-1'), r'n_iter'),
        ('an unknown stage key', _fit(more='--cfg-options stages.0.n_iters=5'), r'n_iter'),
    ),
    Case('fit_images without annotations', 'fit_images coco', USAGE, 'IN'),
    *usage_errors(
        'fit_images',
        _IMAGES,
        ('--focal-px -1', 'above 0'),
        ('--target-resolution 0', 'from 16'),
        ('--crop-mode x', 'invalid'),
    ),
    *input_errors(
        'fit_images',
        (
            'annotations that are text',
            'fit_images coco {text_coco} {out} --body-model {body} --quiet',
            r'text_coco\.json',
        ),
        (
            'OUT is a file',
            'fit_images coco {coco} {file} --body-model {body} --quiet',
            r'OUT must be a folder',
        ),
        ('an unknown category', f'{_IMAGES} --category cat', r'coco\.json: category'),
        (
            'a body that is text',
            'fit_images coco {coco} {out} --body-model {text_model} --quiet',
            r'text\.smil\.json',
        ),
    ),
]

# The fit commands' own options.
FIT += [
    *usage_errors(
        'fit',
        _FIT,
        ('--threads 0', '(at least|from) 1'),
        ('--threads -1', '(at least|from) 1'),
        ('--window-px 0', 'at least|from'),
        ('--window-px -3', 'at least|from'),
        ('--device gpu', 'must be cpu, cuda'),
        ('--cfg-options stages', 'KEY=VALUE'),
        ('--cfg-options "a=[1"', 'brackets'),
    ),
    *usage_errors(
        'fit_images',
        _IMAGES,
        ('--threads 0', '(at least|from) 1'),
        ('--window-px 0', 'at least|from'),
        ('--device gpu', 'must be cpu, cuda'),
        ('--cfg-options stages', 'KEY=VALUE'),
    ),
    *input_errors(
        'fit',
        ('a folder as data', _fit(data='{root}'), r'good.*(folder|directory)'),
        ('CUDA where there is none', _fit(more='--device cuda:0'), r'--device'),
        ('--out is a file', _fit(out='{file}'), r'--out: must be a folder'),
        ('--out lies in a file', _fit(out='{file}/x'), r'--out: .*is a file'),
        ('an unknown config key', _fit(more='--cfg-options stagse=3'), r'stages'),
        ('a stage that is not there', _fit(more='--cfg-options stages.99.n_iter=1'), r'list of'),
        ('a config of nothing', _fit('{no_config}'), r'no_config\.py'),
        ('a config of a training', _fit('{train}'), r'train\.py|type'),
    ),
]
