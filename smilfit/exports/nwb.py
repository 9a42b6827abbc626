"""A fit as an NWB file."""

import hashlib
from pathlib import Path

import numpy as np

from smilfit.exports.base import ExportOptions, FitExporter
from smilfit.exports.exported_fit import ExportedFit
from smilfit.exports.views import SCORER
from smilfit.io.nwb_pose import PoseTrack, write_nwb
from smilfit.registry import EXPORTERS
from smilfit.version import __version__

NWB = 'pose.nwb'


@EXPORTERS.register_module(name='nwb')
class NwbExporter(FitExporter):
    """`pose.nwb` (ndx-pose): the keypoints in space, and where each camera sees them."""

    needs = ('keypoints', 'time', 'fps')

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write it."""
        of = 'keypoints of a fitted body'
        where = "the world of the cameras' calibration"
        tracks = [PoseTrack('pose_3d', of, fit.xyz, fit.score3d, fit.unit or 'unknown', where)]
        if fit.pixels is not None or fit.cameras is not None:
            xy, score = fit.seen
            for c, name in enumerate(fit.camera_names):
                tracks.append(
                    PoseTrack(
                        f'pose_2d_{name}'.replace('/', '_'),
                        f'{of}, as camera {name} sees them',
                        *(
                            xy[:, c],
                            score[:, c],
                            'pixels',
                            'the centre of the upper left px is (0, 0), y down',
                        ),
                        fit.videos.get(name),
                        _size(fit, c),
                    )
                )
        model = fit.fit.model
        about = {
            'identifier': _identifier(fit),
            'description': f'{fit.name}, body model {"unknown" if model is None else model.name}',
            'scorer': SCORER,
            'software': 'smilfit',
            'version': __version__,
        }
        write_nwb(folder / NWB, tracks, fit.keypoint_names, (), fit.times_s, about, options.start)


def _size(fit: ExportedFit, camera: int) -> tuple[int, int] | None:
    if fit.cameras is None or fit.cameras.size.ndim != 2:
        return None
    width, height = fit.cameras.size[camera].round().int().tolist()
    return width, height


def _identifier(fit: ExportedFit) -> str:
    """Name the fit by what is in it: the same fit has the same name."""
    content = np.ascontiguousarray(np.nan_to_num(fit.xyz)).tobytes()
    return f'{fit.name}-{hashlib.sha256(content).hexdigest()[:16]}'
