"""The dataset file: what lies where in it.

An HDF5 file of N samples (one frame each) of C cameras (the union of all sessions'), K keypoints, J joints and
S shape coefficients. Lists and records in attributes are JSON. Every dataset carries a fletcher32 checksum.
Images lie end to end in one byte array, because a checksum does not reach data of variable length.

```
/                      attributes: format, version, complete, n_complete, fingerprint, body_model_file,
                       body_model_hash, keypoint_names, joint_names, n_betas, camera_names, crop_mode,
                       target_resolution (px), undistorted, confidence_threshold, options, report
                       landmarks (version 3)                   keypoints that the body model's file does not have
/sessions/0000         attributes: name, unit, fps, camera_names, source
                       recording (of recorded ones)            how its videos are found again: kind, arguments, and
                                                               its place relative to the dataset's folder
                       camera_report (where judged)            how well its cameras agree with each other
    K (c,3,3) R (c,3,3) t (c,3) dist (c,5) size (c,2)      as calibrated, original px, world unit
    betas (S,)                                             where known
                       of a session whose n images have cameras of their own (version 2), beside these:
                       attribute temporal (do its samples follow one another in time)
    K (n,c,3,3) ... size (n,c,2)                           one row a sample
    intrinsics_known (n,)                                  False where K is a guess
    labels (bytes,)                                        JSON: where each image came from
    entries (bytes,)                                       JSON: which annotation it is (file, number), if known
                       of a session without images (version 4): attribute has_images False; without cameras,
                       camera_names is empty and K to size are not there
/samples
    session (N,) frame (N,)                                which session, which of its frames
    view_mask (N,C)                                        where there is an image (of a session that has
                                                           none: a label)
    affine (N,C,2,3)                                       original px (undistorted if `undistorted`) -> stored px
    keypoints2d (N,C,K,2) confidence2d (N,C,K)             stored px
    keypoints3d (N,K,3) confidence3d (N,K)                 world unit
    image_start (N,C) image_length (N,C)                   bytes in /images/jpeg
    mask_start (N,C) mask_length (N,C)                     bytes in /images/mask, where masks are known
                       of recordings of several animals, beside these:
    centres2d (N,C,A,2) centres_known (N,C,A)              stored px; of all animals, in no order
    all_animals (N,C)                                      whether these are all that the view shows
/images
    jpeg (bytes,) mask (bytes,)                            RGB images, silhouettes as PNG
/params                                                    where the truth is known
    global_orient (N,3) body_pose (N,J-1,3) betas (N,S) transl (N,3) scale (N,)
```

`body_model_hash` is the model's without landmarks. A relative `body_model_file` is relative to the dataset's folder.
The attribute `body_model` (JSON; not in older files) names its places: as given, absolute, and relative to the file;
the table `/body_model` (bytes,) holds the model itself (`body_models.pack_model`) where that may be.
While it is written the file is called `<name>.partial`; `n_complete` counts the samples that are whole.
A file without any camera has no table over C. Files without own cameras are of version 1. An image of version 2
that did not decode leaves a sample without a view; the attribute `faults` (JSON, sample number -> reason) has why.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, UInt8

from smilfit.body_models import Landmark
from smilfit.datasets.store.stored_values import check_cameras, check_session_name
from smilfit.structures import CameraReport, Cameras, ModelReference, parameter_names

FORMAT = 'smilfit-dataset'
# The newest version that is read. A file states the oldest that can hold it.
FORMAT_VERSION = 4
# Samples written at once, and in one chunk.
BLOCK = 64
# Bytes of images in one chunk: about four images of 224 px, so that one read checks little else.
BYTES_CHUNK = 64 * 1024
PARTIAL_SUFFIX = '.partial'
# Metadata of this version carries checksums, and a killed writer leaves a file that opens.
LIBVER = ('v108', 'v108')

CAMERA_ARRAYS = ('K', 'R', 't', 'dist', 'size')
# What no body is without.
PARAM_NAMES = parameter_names(of='body', optional=False)


@dataclass(frozen=True)
class ImageTable:
    """What is known of n images with cameras of their own: where each came from, whether its K is measured.

    `entries` name the annotation of each, by file and number; none in files that do not state it.
    """

    labels: tuple[str, ...]
    intrinsics_known: Bool[np.ndarray, ' n']
    temporal: bool = False
    entries: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionHeader:
    """What is stored of a session once: its cameras as calibrated, and its known shape (or None).

    With `images`, cameras have a leading dimension: one row a sample. `source` is where it lies, `recording` how it
    is opened again: `kind` (in `SESSIONS`), `arguments`, and `relative`, the source seen from the dataset's folder.
    Of points in space there are no cameras, or they have no images (`has_images`). `camera_report` is what
    the cameras were judged to be by the whole recording; None where nobody judged them.
    """

    name: str
    cameras: Cameras
    unit: str | None = None
    fps: float | None = None
    source: str = ''
    betas: Float[np.ndarray, 'S'] | None = None
    images: ImageTable | None = None
    recording: Mapping[str, object] = field(default_factory=dict)
    has_images: bool = True
    camera_report: CameraReport | None = None

    def __post_init__(self) -> None:
        """Check name and cameras: what no reader takes is not written."""
        check_session_name(self.name, 'SessionHeader')
        if not len(self.cameras):
            if self.has_images:
                raise ValueError(f'SessionHeader: images of {self.name} must have cameras; got none.')
            return
        tensors = {name: getattr(self.cameras, name) for name in CAMERA_ARRAYS}
        arrays = {name: t.detach().cpu().double().numpy() for name, t in tensors.items() if t is not None}
        places = {name: f'{name} of its cameras' for name in arrays}
        check_cameras(arrays, places, self.name, 'Correct the calibration, or leave the camera out.')


@dataclass(frozen=True, kw_only=True)
class DatasetHeader:
    """What a dataset file states of itself once. `fingerprint` names the inputs and options that made it.

    `n_centres` is of how many animals there are centres in every image, 0 where nothing is stated of others;
    `landmarks` are what a lookup describes and the body model's file has not.
    """

    body_model_file: str
    body_model_hash: str
    keypoint_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    n_betas: int
    camera_names: tuple[str, ...]
    crop_mode: str
    target_resolution: int
    undistorted: bool
    confidence_threshold: float
    options: Mapping[str, object]
    fingerprint: str
    n_centres: int = 0
    landmarks: Mapping[str, Landmark] = field(default_factory=dict)
    body_model: ModelReference | None = None


@dataclass(frozen=True, kw_only=True)
class StoreHeader(DatasetHeader):
    """What is written of a dataset once: beside the header its sessions, and what samples hold."""

    sessions: tuple[SessionHeader, ...]
    with_params: bool = False
    with_masks: bool = False

    @property
    def version(self) -> int:
        """The oldest version of the format that holds this."""
        if not all(session.has_images for session in self.sessions):
            return 4
        if self.landmarks:
            return 3
        return 1 if all(session.images is None for session in self.sessions) else 2


@dataclass(frozen=True)
class CentreRecord:
    """Where the A animals of a sample's images are, stored px; see `AnimalCentres`."""

    xy: Float[np.ndarray, 'C A 2']
    known: Bool[np.ndarray, 'C A']
    complete: Bool[np.ndarray, ' C']


@dataclass(frozen=True, kw_only=True)
class SampleLabels:
    """Labels of one sample, or of n: which views there are, and keypoints with their confidence."""

    view_mask: Bool[np.ndarray, '*n C']
    keypoints2d: Float[np.ndarray, '*n C K 2']
    confidence2d: Float[np.ndarray, '*n C K']
    keypoints3d: Float[np.ndarray, '*n K 3']
    confidence3d: Float[np.ndarray, '*n K']


@dataclass(frozen=True, kw_only=True)
class LabelledSample(SampleLabels):
    """One sample: labels in px of the stored images, its session and frame, and what is known of the body."""

    session: int
    frame: int
    params: Mapping[str, np.ndarray] | None = None
    centres: CentreRecord | None = None


@dataclass(frozen=True, kw_only=True)
class EncodedSample(LabelledSample):
    """One sample as it is written, with images as bytes by camera index.

    `fault` is why a sample has no view although one was planned.
    """

    affine: Float[np.ndarray, 'C 2 3']
    images: Mapping[int, UInt8[np.ndarray, ' _n']]
    masks: Mapping[int, UInt8[np.ndarray, ' _n']]
    fault: str = ''


@dataclass(frozen=True, kw_only=True)
class SampleRecord(LabelledSample):
    """One sample as it is read, images aside. Cameras are those of the stored crops.

    An absent view is zeros with `view_mask` False.
    """

    K: Float[np.ndarray, 'C 3 3']
    R: Float[np.ndarray, 'C 3 3']
    t: Float[np.ndarray, 'C 3']
    dist: Float[np.ndarray, 'C 5']
    size: Float[np.ndarray, 'C 2']
    to_original: Float[np.ndarray, 'C 2 3']
    betas: Float[np.ndarray, 'S'] | None = None


def fingerprint(*parts: object) -> str:
    """Hash arrays, texts and JSON-able records (sha256, 32 hex digits)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f'{part.dtype}{part.shape}'.encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
        digest.update(b'|')
    return digest.hexdigest()[:32]
