"""Dataset files: preprocessing from sessions, the HDF5 store, samples, splits and transforms."""

from smilfit.datasets.boxes import BoxFile, BoxFinder, LabelBoxes
from smilfit.datasets.crops import CROP_MODES, Crop, UndistortedCut, cut, find_crop
from smilfit.datasets.frame_plan import plan_session
from smilfit.datasets.image_plan import plan_images
from smilfit.datasets.image_session import ImageSession, image_sessions
from smilfit.datasets.mixed_dataset import MixedDataset, MixedSampler, PictureDataset
from smilfit.datasets.multi_view_dataset import MultiViewDataset, split_samples
from smilfit.datasets.preprocess import preprocess, shared_keypoint_names
from smilfit.datasets.pseudo_labels import AddPseudoLabels, PseudoLabels
from smilfit.datasets.session_plan import Session, SessionPlan
from smilfit.datasets.store.store_layout import (
    EncodedSample,
    ImageTable,
    SampleRecord,
    SessionHeader,
    StoreHeader,
)
from smilfit.datasets.store.store_reader import DatasetFile, open_dataset
from smilfit.datasets.store.store_writer import StoreWriter
from smilfit.datasets.store.stored_views import StoredSession
from smilfit.datasets.transforms import CropJitter, PhotometricJitter, ViewDropout
from smilfit.options.preprocess_options import PreprocessOptions

__all__ = [
    'CROP_MODES',
    'AddPseudoLabels',
    'BoxFile',
    'BoxFinder',
    'Crop',
    'CropJitter',
    'DatasetFile',
    'EncodedSample',
    'ImageSession',
    'ImageTable',
    'LabelBoxes',
    'MixedDataset',
    'MixedSampler',
    'MultiViewDataset',
    'PhotometricJitter',
    'PictureDataset',
    'PreprocessOptions',
    'PseudoLabels',
    'SampleRecord',
    'Session',
    'SessionHeader',
    'SessionPlan',
    'StoreHeader',
    'StoreWriter',
    'StoredSession',
    'UndistortedCut',
    'ViewDropout',
    'cut',
    'find_crop',
    'image_sessions',
    'open_dataset',
    'plan_images',
    'plan_session',
    'preprocess',
    'shared_keypoint_names',
    'split_samples',
]
