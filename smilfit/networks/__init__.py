"""Neural regressors: backbones, fusion, heads, and the models made of them.

The names below are imported when they are first used: who reads predictions need not wait for all networks.
"""

from smilfit.lazy_names import lazy_names

_PUBLIC = {
    'AnimalSearch': 'animals.several_animals',
    'BodyEstimate': 'heads',
    'BodyRegressor': 'regressors',
    'Boxes': 'animals.animal_boxes',
    'CameraHead': 'heads',
    'Consensus': 'consensus',
    'CropAugment': 'crop_augment',
    'CrossViewFusion': 'fusion',
    'DatasetNames': 'statistics',
    'FeatureCache': 'feature_cache',
    'FoundAnimals': 'animals.several_animals',
    'GivenBoxes': 'animals.animal_boxes',
    'Identities': 'animals.animal_tracks',
    'ImageNoise': 'image_noise',
    'KeypointDistances': 'animals.pictorial_structure',
    'KeypointHeatmapHead': 'heads',
    'KeypointRegressor': 'regressors',
    'Limbs': 'animals.limb_maps',
    'MLPHead': 'heads',
    'MatchedAnimals': 'animals.several_animals',
    'MeetInSpace': 'consensus',
    'MultiViewRegressor': 'regressors',
    'NamedCameraHead': 'heads',
    'OrientationHead': 'heads',
    'OwnBoxes': 'animals.animal_boxes',
    'PictureTargets': 'targets2d',
    'PointCorruption': 'point_corruption',
    'PointEvidence': 'point_evidence',
    'PointLifter': 'heads',
    'Refined': 'refinement',
    'Refinement': 'refinement',
    'RegressorPreprocessor': 'preprocessor',
    'SceneFrame': 'animals.scene_frame',
    'SmallUNet': 'backbones',
    'TimmBackbone': 'backbones',
    'TimmPyramid': 'backbones',
    'Tracker': 'animals.animal_tracks',
    'Tracks': 'animals.animal_tracks',
    'TrainingStatistics': 'statistics',
    'TransformerDecoderHead': 'heads',
    'ViTPyramid': 'backbones',
    'differentiable_points': 'consensus_loss',
    'find_boxes': 'animals.animal_boxes',
    'find_centres': 'animals.several_animals',
    'identify': 'animals.animal_tracks',
    'match_views': 'animals.several_animals',
    'part_by_nearest': 'animals.animal_boxes',
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
