"""Command lines that cannot work: preprocessing."""

from tests.hostile.command_runs import USAGE, Case, input_errors, usage_errors

_RIG = 'preprocess sleap {sessions} {out}/o.h5 --body-model {body} --joint-lookup {lookup} --unit mm --quiet'
_COCO = 'preprocess coco {coco} {out}/o.h5 --body-model {body} --unit mm --quiet'

_PREPROCESS_OPTIONS = usage_errors(
    'preprocess',
    _RIG,
    ('--frame-skip 0', 'at least 1'),
    ('--frame-skip -3', 'at least 1'),
    ('--frame-skip two', 'at least 1'),
    ('--target-resolution 0', 'from 16 to 8192'),
    ('--target-resolution 1000000', 'from 16 to 8192'),
    ('--target-resolution 22.5', 'whole number'),
    ('--jpeg-quality 0', 'from 1 to 100'),
    ('--jpeg-quality 101', 'from 1 to 100'),
    ('--confidence-threshold -0.1', 'from 0 to 1'),
    ('--confidence-threshold 1.5', 'from 0 to 1'),
    ('--confidence-threshold nan', 'from 0 to 1'),
    ('--bbox-margin 0', 'from 1 to 100'),
    ('--bbox-margin nan', 'from 1 to 100'),
    ('--bbox-margin inf', 'from 1 to 100'),
    ('--bbox-margin -2', 'from 1 to 100'),
    ('--num-workers -1', 'from 0 to 256'),
    ('--num-workers 9999', 'from 0 to 256'),
    ('--min-views 0', 'at least 1'),
    ('--min-views -1', 'at least 1'),
    ('--min-views 1.5', 'at least 1'),
    ('--max-frames-per-session 0', 'at least 1'),
    ('--max-frames-per-session -5', 'at least 1'),
    ('--crop-mode square', 'invalid choice'),
    ('--exclude-cameras', 'expected at least one'),
)
_IMAGE_OPTIONS = usage_errors(
    'preprocess coco',
    _COCO,
    ('--focal-px -1', 'above 0'),
    ('--focal-px nan', 'above 0'),
    ('--focal-px 0', 'above 0'),
    ('--focal-px inf', 'above 0'),
    ('--target-resolution 1', 'from 16 to 8192'),
)
_USAGE = [
    Case('preprocess without a format', 'preprocess', USAGE, 'FORMAT'),
    Case('preprocess of an unknown format', 'preprocess cocoa a b', USAGE, 'invalid choice'),
    Case('preprocess without a body', 'preprocess sleap {sessions} {out}/o.h5', USAGE, '--body-model'),
    Case('preprocess with an unknown option', f'{_RIG} --resolution 3', USAGE, 'unrecognized.*--resolution'),
]


def _rig(sessions: str = '{sessions}', out: str = '{out}/o.h5', body: str = '{body}', more: str = '') -> str:
    lookup = '' if '--joint-lookup' in more else '--joint-lookup {lookup}'
    return f'preprocess sleap {sessions} {out} --body-model {body} {lookup} --unit mm --quiet {more}'


_PREPROCESS = input_errors(
    'preprocess',
    ('sessions that are not there', _rig('{root}/none'), r'none: sessions must be in a folder'),
    ('an empty folder', _rig('{empty_folder}'), r'nothing: a session must be'),
    ('a file as sessions', _rig('{text}'), r'notes\.txt'),
    ('a body that is not there', _rig(body='{root}/none.pkl'), r'none\.pkl'),
    ('a folder as body', _rig(body='{root}'), r'good'),
    ('a body that is text', _rig(body='{text_model}'), r'text\.smil\.json.*JSON'),
    ('a body that is a list', _rig(body='{list_model}'), r'list\.smil\.json'),
    ('a pickle that is text', _rig(body='{text_pkl}'), r'text\.pkl'),
    ('a lookup that is not there', _rig(more='--joint-lookup {root}/none.csv'), r'none\.csv'),
    ('an empty lookup', _rig(more='--joint-lookup {empty_csv}'), r'empty\.csv'),
    ('a lookup without its columns', _rig(more='--joint-lookup {wrong_csv}'), r'wrong\.csv.*model'),
    ('a lookup of unknown joints', _rig(more='--joint-lookup {unknown_csv}'), r'unknown\.csv.*no_such_joint'),
    ('betas that are not there', _rig(more='--shape-betas {root}/none.csv'), r'none\.csv'),
    ('betas without columns', _rig(more='--shape-betas {wrong_csv}'), r'wrong\.csv'),
    ('OUT is a folder', _rig(out='{empty_folder}'), r'OUT: must be a file'),
    ('OUT lies in a file', _rig(out='{file}/o.h5'), r'OUT: .*a_file is a file'),
    ('OUT is the body', _rig(out='{body}', more='--overwrite'), r'OUT: must not be one of the inputs'),
    ('OUT is the lookup', _rig(out='{lookup}', more='--overwrite'), r'OUT: must not be one of the inputs'),
    (
        'OUT is the calibration',
        _rig(out='{session}/calibration.toml', more='--overwrite'),
        r'OUT: must not be one',
    ),
    ('OUT is in a camera', _rig(out='{session}/{camera}/o.h5'), r'OUT: must not lie inside the inputs'),
    ('OUT is no dataset', _rig(out='{text_h5}'), r'text\.h5'),
    ('OUT is of other inputs', _rig(out='{data}'), r'data\.h5: the dataset must not exist yet.*--overwrite'),
    (
        'an unknown camera',
        _rig(more='--exclude-cameras cam_x'),
        r"--exclude-cameras: no camera 'cam_x'.*cam_",
    ),
    ('no camera left', _rig(more='--exclude-cameras cam_0 cam_1 cam_2'), r'camera'),
    ('an unknown inconsistent camera', _rig(more='--allow-inconsistent-cameras cam_x'), r'cam_x'),
    ('more views than cameras', _rig(more='--min-views 9'), r'min_views|views'),
    ('3D made and not kept', _rig(more='--no-3d-data --retriangulate'), r'contradicts'),
    ('no calibration', _rig('{no_calibration}'), r'calibration'),
    ('a calibration that is no TOML', _rig('{text_calibration}'), r'calibration\.toml'),
    ('a video cut short', _rig('{cut_video}'), r'sessions_cut_video.*(video|frame|decode|open)'),
    ('no video', _rig('{no_video}'), r'video'),
    ('points that are no HDF5', _rig('{text_points}'), r'points3d\.h5'),
)


def _coco(annotations: str = '{coco}', more: str = '', body: str = '{body}', out: str = '{out}/o.h5') -> str:
    return f'preprocess coco {annotations} {out} --body-model {body} --unit mm --quiet {more}'


_IMAGES = input_errors(
    'preprocess coco',
    ('annotations that are not there', _coco('{root}/none.json'), r'none\.json'),
    ('annotations that are text', _coco('{text_coco}'), r'text_coco\.json'),
    ('annotations that are a list', _coco('{list_coco}'), r'list_coco\.json'),
    ('no annotation', _coco('{empty_coco}'), r'empty_coco\.json'),
    ('a folder of images that is not there', _coco(more='--images {root}/none'), r'none'),
    ('an empty folder of images', _coco(more='--images {empty_folder}'), r'left out'),
    ('an unknown category', _coco(more='--category cat'), r"coco\.json: category .*'cat'.*animal"),
    (
        'an unknown way with hidden points',
        _coco(more='--occluded maybe'),
        r"occluded must be 'keep' or 'drop'",
    ),
    ('an unknown map', _coco(more='--keypoint-map nowhere'), r'nowhere'),
    (
        'OUT is the annotations',
        _coco(out='{coco}', more='--overwrite'),
        r'OUT: must not be one of the inputs',
    ),
    ('OUT is a folder', _coco(out='{root}'), r'OUT: must be a file'),
    ('a body that is a config', _coco(body='{train}'), r'train\.py'),
)


_OTHER_TOOLS = input_errors(
    'preprocess',
    ('a lookup in another encoding', _rig(more='--joint-lookup {binary_csv}'), r'latin\.csv'),
)

PREPROCESS = (*_USAGE, *_PREPROCESS_OPTIONS, *_IMAGE_OPTIONS, *_PREPROCESS, *_IMAGES, *_OTHER_TOOLS)
