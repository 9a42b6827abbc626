"""Where preprocessing gets its data from: sessions of several cameras, or annotated images of any format."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from smilfit.datasets import PreprocessOptions
from smilfit.io import RecordedSession
from smilfit.registry import ANNOTATIONS, SESSIONS, reject_unknown

# Sessions of several cameras, and single views, labelled with SLEAP.
SLEAP = 'sleap'
# Dataset files of SMILify.
SMILIFY = 'smilify'
# Points in space without images.
POINTS3D = 'points3d'


@dataclass(frozen=True)
class DataSource:
    """Recordings or annotated images, and how to read them.

    Args:
        format: 'sleap', 'smilify', 'points3d', or the name of a reader registered in `ANNOTATIONS`.
        path: the annotations: a file, or a folder.
        keypoint_map: a csv file (columns model,data) or, of images, a shipped map's name.
        unit: world unit where the data state none.
        images: folder that image paths are relative to; where the format itself states if None.
        allow_outside_images: read images that the annotations name outside that folder, too.
        focal_px: focal length of images without a known camera; guessed if None.
        category: take only the entries of this category.
        single_view: what could be a session of several cameras is read camera by camera.
        partial_labels: labels of a session may end before their video.
        calibration: calibration.toml of the sessions' cameras, where it is not found among their files; or of
            those that 'points3d' were placed by.
        cam_regex: pattern in the names of a session's files whose first group is the camera's name.
        scorer: take only tables with this in their path, where there are those of several networks.
        keep_tracks: of several animals, take the labels of each track as they are, without looking for exchanged
            ones.
        trim: where a session's videos or labels differ in length by more than a few frames, use what all have.
        shape_betas: a csv of known shapes by session (columns label,PC1,PC2,...).
        reader: further arguments of the format's reader by name.
        more_paths: further files of 'smilify'.
        made_with: the body model that files of 'smilify' were made with; the target's own if None.
        source_size: width and height (px) of the images that files of 'smilify' were cut from, where known.
        slp: the .slp of the first camera that files of 'smilify' with mixed-up labels (before March 2026) were made
            of.
        fps: frames a second of 'points3d', where the file does not state it.
        skeleton: a file with the names of the keypoints of 'points3d', where the file has none.
        image_size: width and height (px) of the images of cameras in 'points3d', where the file does not state it.
        allow_other_joints: take labels of 'smilify' whose 3D points have not the body's shape.
    """

    format: str
    path: str | Path
    keypoint_map: str | Path | None = None
    unit: str | None = None
    images: str | Path | None = None
    allow_outside_images: bool = False
    focal_px: float | None = None
    category: str | None = None
    single_view: bool = False
    partial_labels: bool = False
    calibration: str | Path | None = None
    cam_regex: str | None = None
    scorer: str | None = None
    trim: bool = False
    keep_tracks: bool = False
    shape_betas: str | Path | None = None
    reader: Mapping[str, Any] = field(default_factory=dict)
    more_paths: tuple[str | Path, ...] = ()
    made_with: str | Path | None = None
    source_size: tuple[int, int] | None = None
    slp: str | Path | None = None
    allow_other_joints: bool = False
    fps: float | None = None
    skeleton: str | Path | None = None
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        reject_unknown(
            'DataSource', 'format', [self.format], {SLEAP, SMILIFY, POINTS3D, *annotation_readers()}
        )

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files or folders."""
        return tuple(Path(path) for path in (self.path, *self.more_paths))


def as_images(source: DataSource) -> DataSource:
    """Read each camera alone where a source could be sessions of several; a folder of SLEAP's stays what it is."""
    folder = source.format == SLEAP and Path(source.path).is_dir()
    return source if folder else replace(source, single_view=True)


def annotation_readers() -> dict[str, type]:
    """Return the readers of annotated images by the name of their format."""
    ANNOTATIONS.import_from_location()
    return dict(sorted(ANNOTATIONS.module_dict.items()))


def session_kinds(name: str) -> list[type[RecordedSession]]:
    """Return the classes that read calibrated sessions of a format, in the order in which they are asked."""
    SESSIONS.import_from_location()
    return [kind for kind in SESSIONS.module_dict.values() if getattr(kind, 'format', '') == name]


def session_formats() -> tuple[str, ...]:
    """Name the formats that hold sessions of several cameras."""
    SESSIONS.import_from_location()
    return tuple(
        sorted({kind.format for kind in SESSIONS.module_dict.values() if getattr(kind, 'format', '')})
    )


def options_from(given: Mapping[str, object] | None, **defaults: object) -> PreprocessOptions:
    """Make options of what a caller gives by name; the rest is a kind's defaults.

    Raises:
        KeyError: no such option; names the near ones.
    """
    given = given or {}
    reject_unknown('preprocess', 'option', given, [f.name for f in fields(PreprocessOptions)])
    values: dict[str, Any] = {**defaults, **given}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return PreprocessOptions(**values)
