import pytest

from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.io import available_keypoint_maps, check_lookup, load_keypoint_map
from smilfit.io.annotations import AnimalPoseReader, BadjaReader, StanfordExtraReader, animal3d, tigdog
from smilfit.io.annotations import animalkey as grevyzebra
from smilfit.synthetic import make_quadruped_family

# SMAL's joints (Zuffi et al., CVPR 2017; ears as in 2018) and the places on its surface that have names.
SMAL = [
    *(
        'root',
        'pelvis0',
        'spine',
        'spine0',
        'spine1',
        'spine2',
        'spine3',
        'Neck',
        'Head',
        'Mouth',
        'LEar',
        'REar',
    ),
    *(f'{side}Leg{part}' for side in 'LR' for part in ('1', '2', '3', 'Back1', 'Back2', 'Back3')),
    *('LFoot', 'RFoot', 'LFootBack', 'RFootBack', *(f'Tail{i}' for i in range(1, 8))),
    *('nose', 'chin', 'left_ear_tip', 'right_ear_tip', 'left_eye', 'right_eye', 'tail_mid'),
]
FORMATS = {
    'stanfordextra': StanfordExtraReader.keypoint_names,
    'animalpose': AnimalPoseReader.keypoint_names,
    'animal3d': animal3d.KEYPOINTS,
    'grevyzebra': grevyzebra.KEYPOINTS,
    'tigdog': tigdog.LANDMARKS[: tigdog.N_USED] + ('neck',),
    # AP-10K's names, which its COCO file states.
    'ap10k': (
        *('left_eye', 'right_eye', 'nose', 'neck', 'root_of_tail'),
        *(f'{side}_{part}' for side in ('left', 'right') for part in ('shoulder', 'elbow', 'front_paw')),
        *(f'{side}_{part}' for side in ('left', 'right') for part in ('hip', 'knee', 'back_paw')),
    ),
    'horse10': (
        *('Nose', 'Eye', 'Shoulder', 'Midshoulder', 'Elbow', 'Girth', 'Wither', 'Hip', 'Stifle', 'Ischium'),
        *(
            f'{side}{part}'
            for side in ('Near', 'Off')
            for part in ('knee', 'frontfetlock', 'frontfoot', 'hindhock', 'hindfetlock', 'hindfoot')
        ),
    ),
    'badja': BadjaReader.keypoint_names,
}


@pytest.fixture(scope='module')
def models():
    return {'smal': SMAL, 'quadruped': list(keypoint_definitions(make_quadruped_family()))}


@pytest.mark.parametrize('name', available_keypoint_maps())
def test_a_map_names_only_what_format_and_model_have(models, name):
    kind, model = name.split('_to_')
    check_lookup(load_keypoint_map(name), models[model], FORMATS[kind], name)


@pytest.mark.parametrize('name', available_keypoint_maps())
def test_left_is_left(name):
    side = {'left': 'L', 'right': 'R', 'Near': 'L', 'Off': 'R'}
    for model, data in load_keypoint_map(name).items():
        given = next((s for word, s in side.items() if word in data), data[0] if data[1:2] == '_' else None)
        if given is not None:
            plain = model.replace('left', 'L').replace('right', 'R')
            assert plain.startswith(given) or plain.endswith(f'_{given}'), (model, data)


def test_a_map_of_ones_own_and_a_misspelt_one(tmp_path):
    path = tmp_path / 'mine.csv'
    path.write_text('model,data\nnose,snout\n')
    assert load_keypoint_map(path) == {'nose': 'snout'}
    with pytest.raises(KeyError, match=r"no 'badja_to_small'. Did you mean 'badja_to_smal'"):
        load_keypoint_map('badja_to_small')
