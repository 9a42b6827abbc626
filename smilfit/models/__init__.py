"""Neural regressors: backbones, fusion, heads, and the models made of them.

The names below are imported when they are first used: who reads predictions need not wait for all networks.
"""

from smilfit.lazy_names import lazy_names

_PUBLIC = {
    'AnimalSearch': 'several_animals',
    'BodyEstimate': 'heads',
    'BodyRegressor': 'regressors',
    'Boxes': 'boxes',
    'CameraHead': 'heads',
    'Consensus': 'consensus',
    'CropAugment': 'crop_augment',
    'CrossViewFusion': 'fusion',
    'DatasetNames': 'statistics',
    'FeatureCache': 'feature_cache',
    'FoundAnimals': 'several_animals',
    'GivenBoxes': 'boxes',
    'Identities': 'identities',
    'ImageNoise': 'image_noise',
    'KeypointDistances': 'pictorial_structure',
    'KeypointHeatmapHead': 'heads',
    'KeypointRegressor': 'regressors',
    'Limbs': 'limbs',
    'MLPHead': 'heads',
    'MatchedAnimals': 'view_matching',
    'MeetInSpace': 'consensus',
    'MultiViewRegressor': 'regressors',
    'NamedCameraHead': 'heads',
    'OrientationHead': 'heads',
    'OwnBoxes': 'boxes',
    'PictureTargets': 'targets2d',
    'PointCorruption': 'point_corruption',
    'PointEvidence': 'point_evidence',
    'PointLifter': 'heads',
    'Refined': 'refinement',
    'Refinement': 'refinement',
    'RegressorPreprocessor': 'preprocessor',
    'SceneFrame': 'scene',
    'SmallUNet': 'backbones',
    'TimmBackbone': 'backbones',
    'TimmPyramid': 'backbones',
    'Tracker': 'tracking',
    'Tracks': 'tracking',
    'TrainingStatistics': 'statistics',
    'TransformerDecoderHead': 'heads',
    'ViTPyramid': 'backbones',
    'differentiable_points': 'points_of_maps',
    'find_boxes': 'boxes',
    'find_centres': 'view_matching',
    'identify': 'identities',
    'match_views': 'view_matching',
    'part_by_nearest': 'boxes',
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
