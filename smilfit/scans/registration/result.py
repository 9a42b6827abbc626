"""What a registration found, and its files."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from smilfit.files import replacing, write_text
from smilfit.scans.registration.posed_surface import PosedSurface
from smilfit.scans.registration.scan import Scan
from smilfit.structures import BodyParams

FILE = 'registration.npz'
NUMBERS = 'registration.json'
# Figures of a registration by name, as JSON has them.
Record = dict[str, Any]


@dataclass(frozen=True)
class Registration:
    """A body registered to a scan.

    Attributes:
        name: of the specimen.
        params: of the body, a batch of one, float64; `scale` and `transl` are in the scan's own unit and place.
        vertices: of the registered surface, the scan's unit.
        unposed: rest vertices of this shape before pose and joint scales, model unit.
        scan_distance: from every vertex of the (cleaned) scan to the registered surface, the scan's unit.
        body_distance: from every vertex of the registered surface to the scan.
        absent: names of joints that the scan does not show.
        report: figures, what was left out, and under `doubts` why it is not believable; empty where it may be.
    """

    name: str
    params: BodyParams
    vertices: Float[np.ndarray, 'V 3']
    unposed: Float[np.ndarray, 'V 3']
    scan_distance: Float[np.ndarray, ' N']
    body_distance: Float[np.ndarray, ' V']
    absent: tuple[str, ...] = ()
    report: Record = field(default_factory=dict)

    def save(
        self, folder: str | Path, surface: PosedSurface, scan: Scan, model_file: str | None = None
    ) -> Path:
        """Write `registration.npz` and `registration.json`.

        Args:
            model_file: the body model's file, or a shipped model's name, by which others find it; a relative one is
                relative to the folder. None where there is none.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = surface.data
        arrays: dict[str, np.ndarray] = {n: v.numpy() for n, v in self.params.as_dict().items()}
        arrays.setdefault('joint_offsets', np.zeros((1, data.n_joints, 3)))
        arrays |= {
            'name': np.array(self.name),
            'unit': np.array(scan.unit or ''),
            'model_unit': np.array(data.unit or ''),
            'model_hash': np.array(data.content_hash()),
            'joint_scale_mode': np.array(surface.body.joint_scale_mode),
            'vertices': self.vertices,
            'unposed': self.unposed,
            'faces': data.faces,
            'joint_names': np.array(data.joint_names, dtype=np.str_),
            'absent': np.array(self.absent, dtype=np.str_),
            'doubts': np.array(self.report.get('doubts', ()), dtype=np.str_),
            'scan_vertices': scan.vertices,
            'scan_faces': scan.faces,
            'scan_distance': self.scan_distance,
            'body_distance': self.body_distance,
        }
        if model_file is not None:
            arrays['model_file'] = np.array(model_file)
        path = folder / FILE
        size = sum(a.nbytes for a in arrays.values())
        with replacing(path, size) as temporary, temporary.open('wb') as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        write_text(folder / NUMBERS, json.dumps(self.record(surface, scan), indent=1, default=float))
        return path

    def shown_distance(self, surface: PosedSurface) -> Float[np.ndarray, ' V']:
        """Return the distances of the body's vertices; NaN on what the scan does not show."""
        gone = np.isin(np.array(surface.data.joint_names)[surface.part], self.absent)
        return np.where(gone, np.nan, self.body_distance)

    def record(self, surface: PosedSurface, scan: Scan) -> Record:
        """Return the figures as JSON has them."""
        centre = scan.vertices.mean(0)
        return {
            'name': self.name,
            'unit': scan.unit,
            'body_model': {
                'name': surface.data.name,
                'hash': surface.data.content_hash(),
                'unit': surface.data.unit,
            },
            'scale': float(self.params.scale[0]),
            'transl': self.params.transl[0].tolist(),
            'scan_centre': centre.tolist(),
            'scan_extent': scan.extent,
            'absent': list(self.absent),
            **self.report,
        }


def figures(distance: np.ndarray, extent: float) -> dict[str, float]:
    """Return how far points lie off, in the scan's unit and as a share of its extent."""
    finite = distance[np.isfinite(distance)]
    if not len(finite):
        return dict.fromkeys(('median', 'percentile_95', 'median_share', 'percentile_95_share'), float('nan'))
    median, high = np.percentile(finite, [50, 95])
    return {
        'median': float(median),
        'percentile_95': float(high),
        'median_share': float(median / extent),
        'percentile_95_share': float(high / extent),
    }
