"""Neural regressors: backbones, fusion, heads, and the models made of them.

The names below are imported when they are first used: who reads predictions need not wait for all networks.
"""

from smilfit.lazy_names import lazy_names

_PUBLIC = {
    'AnimalSearch': 'several_animals',
    'BodyEstimate': 'heads',
    'BodyRegressor': 'regressors',
    'Boxes': 'animal_boxes',
    'CameraHead': 'heads',
    'Consensus': 'consensus',
    'CropAugment': 'crop_augment',
    'CrossViewFusion': 'fusion',
    'DatasetNames': 'statistics',
    'FeatureCache': 'feature_cache',
    'FoundAnimals': 'several_animals',
    'GivenBoxes': 'animal_boxes',
    'Identities': 'animal_tracks',
    'ImageNoise': 'image_noise',
    'KeypointDistances': 'pictorial_structure',
    'KeypointHeatmapHead': 'heads',
    'KeypointRegressor': 'regressors',
    'Limbs': 'limb_maps',
    'MLPHead': 'heads',
    'MatchedAnimals': 'several_animals',
    'MeetInSpace': 'consensus',
    'MultiViewRegressor': 'regressors',
    'NamedCameraHead': 'heads',
    'OrientationHead': 'heads',
    'OwnBoxes': 'animal_boxes',
    'PictureTargets': 'targets2d',
    'PointCorruption': 'point_corruption',
    'PointEvidence': 'point_evidence',
    'PointLifter': 'heads',
    'Refined': 'refinement',
    'Refinement': 'refinement',
    'RegressorPreprocessor': 'preprocessor',
    'SceneFrame': 'scene_frame',
    'SmallUNet': 'backbones',
    'TimmBackbone': 'backbones',
    'TimmPyramid': 'backbones',
    'Tracker': 'animal_tracks',
    'Tracks': 'animal_tracks',
    'TrainingStatistics': 'statistics',
    'TransformerDecoderHead': 'heads',
    'ViTPyramid': 'backbones',
    'differentiable_points': 'consensus_loss',
    'find_boxes': 'animal_boxes',
    'find_centres': 'several_animals',
    'identify': 'animal_tracks',
    'match_views': 'several_animals',
    'part_by_nearest': 'animal_boxes',
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
