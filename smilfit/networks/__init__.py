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
    'Consensus': 'keypoints.consensus',
    'CropAugment': 'keypoints.crop_augment',
    'CrossViewFusion': 'attention',
    'DatasetNames': 'training_set',
    'FeatureCache': 'backbones.feature_cache',
    'DetectedAnimals': 'animals.several_animals',
    'FocalHead': 'heads',
    'GivenBoxes': 'animals.animal_boxes',
    'Identities': 'animals.animal_tracks',
    'ImageNoise': 'keypoints.crop_augment',
    'KeypointDistances': 'keypoints.keypoint_distances',
    'KeypointHeatmapHead': 'heads',
    'KeypointRegressor': 'regressors',
    'Limbs': 'keypoints.limb_maps',
    'MLPHead': 'heads',
    'MatchedAnimals': 'animals.several_animals',
    'MeetInSpace': 'keypoints.consensus',
    'MultiViewRegressor': 'regressors',
    'NamedCameraHead': 'heads',
    'OrientationHead': 'heads',
    'OwnBoxes': 'animals.animal_boxes',
    'ImageTargets': 'keypoints.keypoint_targets',
    'PointCorruption': 'lifter.point_evidence',
    'PointEvidence': 'lifter.point_evidence',
    'PointLifter': 'lifter.point_lifter',
    'Refined': 'lifter.lifted_refinement',
    'Refinement': 'lifter.lifted_refinement',
    'RegressorPreprocessor': 'regressors.modal_regressor',
    'SceneFrame': 'scene_frame',
    'SmallUNet': 'backbones',
    'TimmBackbone': 'backbones',
    'TimmPyramid': 'backbones',
    'Tracker': 'animals.animal_tracks',
    'Tracks': 'animals.animal_tracks',
    'TrainingStatistics': 'training_set',
    'TransformerDecoderHead': 'heads',
    'ViTPyramid': 'backbones',
    'boxes_around': 'animals.animal_boxes',
    'differentiable_points': 'keypoints.consensus_loss',
    'find_centres': 'animals.several_animals',
    'identify': 'animals.animal_tracks',
    'match_views': 'animals.several_animals',
    'part_by_nearest': 'animals.animal_boxes',
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
