"""What a page shows of a body model: shape and pose by sliders. Knows no browser."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8

from smilfit.body_models import SMIL, keypoint_definitions

if TYPE_CHECKING:
    import viser

    from smilfit.apis.viewer.model_page import ModelPage

# Betas go so many standard deviations either way; of a model that states none, as if they were 1.
SHAPE_SD = 3.0
AXES = ('x', 'y', 'z')


class ShownModel(NamedTuple):
    """A posed body, model unit."""

    vertices: Float[np.ndarray, 'V 3']
    joints: Float[np.ndarray, 'J 3']
    keypoints: Float[np.ndarray, 'K 3']


class ModelScene:
    """A body model with betas and joint angles to set.

    Args:
        title: for the page's head.
    """

    def __init__(self, body: SMIL, title: str) -> None:
        self.body, self.title = body, title
        self.faces = body.faces.cpu().numpy()
        self.joint_names = body.data.joint_names
        self.bones = [(int(p), j) for j, p in enumerate(body.data.parents) if p >= 0]
        joints = set(self.joint_names)
        # A set's keypoints also come as `set/name`; one name each is enough.
        names = [name for name in keypoint_definitions(body.data) if name not in joints]
        plain = [name for name in names if '/' not in name]
        self.keypoint_names = tuple(plain)
        self._weights = body.data.weights.to_dense()

    def open_page(self, server: 'viser.ViserServer', written: Callable[[Path], None]) -> 'ModelPage':
        """Draw the model into a server; it writes no files."""
        from smilfit.apis.viewer.model_page import ModelPage

        return ModelPage(server, self)

    @property
    def rest_size(self) -> float:
        """The longest side of the mesh's box, model unit."""
        return float(np.ptp(self.body.data.v_template, axis=0).max())

    def shape_range(self) -> list[tuple[float, float, float]]:
        """Return least, greatest and mean value of every beta."""
        data = self.body.data
        mean = np.zeros(data.n_betas) if data.shape_mean is None else data.shape_mean
        sd = np.ones(data.n_betas) if data.shape_cov is None else np.sqrt(np.diag(data.shape_cov))
        return [(float(m - SHAPE_SD * s), float(m + SHAPE_SD * s), float(m)) for m, s in zip(mean, sd)]

    def angle_range(self, joint: str) -> list[tuple[float, float]]:
        """Return the limits of a joint's three angles, rad; half a turn either way where the model states none.

        The angles are the rotation vector's components along the joint's own axes.
        """
        limits = self.body.data.joint_limits
        if limits is None:
            return [(-math.pi, math.pi)] * 3
        # Rest must be among them: a slider begins there.
        rows = limits[self.joint_names.index(joint)]
        return [(min(float(low), 0.0), max(float(high), 0.0)) for low, high in rows]

    def pose(
        self, betas: Sequence[float] = (), angles: Mapping[str, Sequence[float]] | None = None
    ) -> ShownModel:
        """Shape and pose the body.

        Args:
            betas: the first shape coefficients; the others are the mean's.
            angles: axis-angle of joints by name along their own axes, rad; others are at rest.

        Raises:
            KeyError: no such joint.
        """
        params = self.body.zero_params()
        shape, turns = params.betas.clone(), params.body_pose.clone()
        shape[0, : len(betas)] = torch.as_tensor(betas).to(shape)
        orient = params.global_orient.clone()
        for joint, angle in (angles or {}).items():
            if joint not in self.joint_names:
                raise KeyError(f'{self.title}: no joint {joint!r}.')
            j = self.joint_names.index(joint)
            target = orient[0] if j == 0 else turns[0, j - 1]
            own = torch.as_tensor(angle).to(turns)
            axes = self.body.data.joint_axes
            target[:] = own if axes is None else torch.as_tensor(axes[j]).to(turns) @ own
        params = params.replace(betas=shape, body_pose=turns, global_orient=orient)
        with torch.no_grad():
            output = self.body(params, ('vertices', 'joints', *self.keypoint_names))
        keypoints = output.select(self.keypoint_names) if self.keypoint_names else output.joints[:, :0]
        return ShownModel(*(x[0].float().cpu().numpy() for x in (output.vertices, output.joints, keypoints)))

    def weight_colours(self, joint: str) -> UInt8[np.ndarray, 'V 4']:
        """Colour every vertex by its weight to a joint: grey at 0, over yellow to vermillion at 1."""
        weight = self._weights[:, self.joint_names.index(joint)].clip(0, 1)
        stops = np.array([[200, 200, 200], [240, 228, 66], [213, 94, 0]], float)
        rgb = np.stack([np.interp(weight, (0.0, 0.5, 1.0), stops[:, c]) for c in range(3)], 1)
        return np.concatenate((rgb, np.full((len(rgb), 1), 255)), 1).round().astype(np.uint8)
