"""Options of preprocessing: what is kept of a session, and how its images are stored."""

from dataclasses import dataclass, fields
from typing import Any

from smilfit.options.fields import CROP_MODES, check_values, documented, option


@documented
@dataclass(frozen=True)
class PreprocessOptions:
    """What is kept of a session, and how its images are stored.

    `frame_skip` n keeps every n-th of the frames with `min_views` views; then the first
    `max_frames_per_session` of these are taken. `unlabelled` further frames are evenly spread over those with too
    few views, and stored with all views.
    """

    max_frames_per_session: int | None = option(
        None, 'frames (or images) to take of each session at most; all if not given', low=1
    )
    frame_skip: int = option(1, 'take every n-th of the frames that can be used', low=1)
    unlabelled: int = option(
        0,
        'so many further frames of each session, without keypoints, for train --pseudo-labels',
        low=0,
        metavar='N',
    )
    min_views: int = option(2, 'cameras that must see a keypoint for a frame to count', low=1)
    crop_mode: str = option(
        'default',
        'default: the whole image made square; centred: its central square; bbox_crop: a square around the animal '
        '(its annotated box, else its mask, else its keypoints)',
        choices=CROP_MODES,
    )
    bbox_margin: float = option(1.05, "side of bbox_crop's square over the box", low=1.0, high=100.0)
    target_resolution: int = option(224, 'side of the stored images, px', low=16, high=8192)
    no_3d_data: bool = option(False, 'store no 3D keypoints')
    retriangulate: bool = option(False, 'triangulate 3D keypoints although points3d.h5 is there')
    no_undistort: bool = option(False, 'store images as the lens made them')
    confidence_threshold: float | None = option(
        None,
        "labels of a smaller score (0 to 1) count as missing (default: what the labels' kind of score asks for: 0.2 "
        "for SLEAP's peaks, 0 for files with 'proofread' in the name, 0.6 for likelihoods in DeepLabCut's tables, "
        "0.5 elsewhere; a person's labels always count)",
        low=0.0,
        high=1.0,
    )
    use_reprojections: bool = option(False, 'take 2D keypoints from reprojections.h5')
    num_workers: int = option(
        1, 'threads that cut and encode images while others are decoded', low=0, high=256
    )
    exclude_cameras: tuple[str, ...] = option((), 'cameras to leave out', metavar='NAME')
    allow_inconsistent_cameras: tuple[str, ...] = option(
        (), 'cameras to keep although they contradict the others', metavar='NAME'
    )
    jpeg_quality: int = option(95, 'quality of the stored images', low=1, high=100)
    n_animals: int | None = option(
        None,
        'animals that an image shows where all are in it (default: the most that are labelled in one); images in '
        'which fewer are labelled say nothing of where the others are',
        low=1,
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value that cannot work.
        """
        check_values(self)
        if self.unlabelled and self.crop_mode == 'bbox_crop':
            raise ValueError(
                "PreprocessOptions: crop_mode must be 'default' or 'centred' for unlabelled frames, which do not say "
                'where the animal is; got bbox_crop. Choose one of them.'
            )
        if self.no_3d_data and self.retriangulate:
            raise ValueError('PreprocessOptions: retriangulate makes 3D data; it contradicts no_3d_data.')

    def deciding(self) -> dict[str, Any]:
        """Return what the file depends on, so without the number of threads.

        What is not asked for, `unlabelled` frames or a number of animals, is not named: files of before stay what
        they are.
        """
        stated = {f.name: getattr(self, f.name) for f in fields(self) if f.name != 'num_workers'}
        optional = {'unlabelled': bool(self.unlabelled), 'n_animals': self.n_animals is not None}
        return {name: value for name, value in stated.items() if optional.get(name, True)}
