"""Where a fit to single images starts: the rest body turned and moved until it is seen as it was."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.handlers import BaseInput, MultiviewKeypoint2dMSEInput, SilhouetteInput
from smilfit.registrants.initializer import MIN_POINTS, RigidInitializer, nearest_good, share_shape
from smilfit.registrants.views.placement import Evidence, keypoint_evidence, mask_evidence
from smilfit.registry import REGISTRANTS
from smilfit.structures import BodyParams, Cameras, Keypoints2d

# Starts that differ by less than this are one.
DISTINCT_RAD = 0.6
# The share of the image's longer side that a body of which too little is seen is thought to fill.
UNKNOWN_SHARE = 0.5


@REGISTRANTS.register_module()
class ViewInitializer:
    """Places the body, rigidly and at its own size, in front of one camera; gives several starts where asked.

    From keypoints: orientations of a grid, the closed form for parallel rays and its mirror images, each moved
    until the keypoints are seen where they are (bounded least squares). From a mask, where a frame has fewer than
    four keypoints: 14 viewing directions, turned to the mask's axis, moved to its middle and as far away as its
    extent says. The best that differ are the starts. With several cameras it is `RigidInitializer` that places.

    Args:
        joint_group: a group of the model file whose keypoints alone are aligned where a frame has four of them;
            all of them where not, or where the model has no such group.
    """

    def __init__(self, joint_group: str | None = 'torso') -> None:
        self.joint_group = joint_group

    def __call__(
        self,
        body: SMIL,
        inputs: Sequence[BaseInput],
        start: BodyParams,
        shared: bool,
        scaled: bool = True,
    ) -> tuple[BodyParams, Mapping[str, float | str]]:
        """Return the best start; as `RigidInitializer`."""
        return self.candidates(body, inputs, start, 1, shared, scaled)

    @torch.no_grad()
    def candidates(
        self,
        body: SMIL,
        inputs: Sequence[BaseInput],
        start: BodyParams,
        n: int,
        shared: bool = False,
        scaled: bool = False,
    ) -> tuple[BodyParams, Mapping[str, float | str]]:
        """Return n starts of each of B frames, the best first.

        Args:
            body: the body.
            inputs: observations.
            start: what is moved.
            n: how many.
            shared: whether all frames have one scale; of several cameras only.
            scaled: whether the body takes the keypoints' size; of several cameras only: one tells no size.

        Returns:
            Parameters of n B bodies, all frames of the first start before those of the second (of B bodies where
            several cameras leave no doubt); how many frames were placed by keypoints, by masks, and by neither.
        """
        keypoints = next((i.keypoints for i in inputs if isinstance(i, MultiviewKeypoint2dMSEInput)), None)
        mask = next((i for i in inputs if isinstance(i, SilhouetteInput)), None)
        if keypoints is not None and len(keypoints.rig) > 1:
            group = self.joint_group if self.joint_group in body.data.joint_groups else None
            return RigidInitializer(group)(body, inputs, start, shared, scaled)
        batch = start.batch_size
        rotation = torch.eye(3, dtype=torch.float64).repeat(batch, n, 1, 1)
        shift = torch.zeros(batch, n, 3, dtype=torch.float64)
        weight = self._weight(body.data, keypoints, batch)
        n_points = (weight > 0).sum(1)
        masked = torch.zeros(batch, dtype=torch.bool) if mask is None else mask.observed().cpu()
        by_mask = masked & (n_points < MIN_POINTS)
        by_points = (n_points > 0) & ~by_mask
        if keypoints is not None and bool(by_points.any()):
            rows = by_points.nonzero().flatten()
            placed = self._by_points(body, keypoints, start, rows, weight)
            rotation[rows], shift[rows] = placed.best(n, DISTINCT_RAD)
        if mask is not None and bool(by_mask.any()):
            rows = by_mask.nonzero().flatten()
            rotation[rows], shift[rows] = self._by_mask(body, mask, start, rows).best(n, DISTINCT_RAD)
        nearest = nearest_good(by_points | by_mask)
        rotation, shift = rotation[nearest], shift[nearest]
        notes: dict[str, float | str] = {
            'placed_by_keypoints': int((by_points & (n_points >= MIN_POINTS)).sum()),
            'placed_by_mask': int(by_mask.sum()),
            'frames_without_alignment': int((~(by_mask | (by_points & (n_points >= MIN_POINTS)))).sum()),
        }
        if self.joint_group and not _group(body.data, self.joint_group):
            notes['joint_group_missing'] = self.joint_group
        moved = [_moved(body, start, rotation[:, i], shift[:, i]) for i in range(n)]
        params = BodyParams.cat(moved)
        return share_shape(params) if shared else params, notes

    def _weight(self, data: BodyModelData, keypoints: Keypoints2d | None, batch: int) -> Tensor:
        """Return the keypoints' weights (B, K): those of the group alone where it has enough of them."""
        if keypoints is None:
            return torch.zeros(batch, 0, dtype=torch.float64)
        weight = keypoints.confidence[:, 0].double().cpu()
        members = _group(data, self.joint_group)
        inside = weight * weight.new_tensor([float(n in members) for n in keypoints.names])
        return torch.where((inside > 0).sum(1, keepdim=True) >= MIN_POINTS, inside, weight)

    def _by_points(
        self, body: SMIL, keypoints: Keypoints2d, start: BodyParams, rows: Tensor, weight: Tensor
    ) -> Evidence:
        source = body(start, need=keypoints.names).select(keypoints.names).cpu().double()[rows]
        cameras = one_camera_each(keypoints.rig.to('cpu', torch.float64)[rows], len(rows))
        far = _usual_depth(body, start, cameras, rows)
        return keypoint_evidence(source, keypoints.xy.cpu().double()[rows, 0], weight[rows], cameras, far)

    def _by_mask(self, body: SMIL, mask: SilhouetteInput, start: BodyParams, rows: Tensor) -> Evidence:
        vertices = body(start, need=('vertices',)).vertices.cpu().double()[rows]
        chosen = mask[rows.to(mask.masks.device)].to('cpu', torch.float64)
        # The first view with a mask: one image tells the place.
        valid = (chosen.masks > 0).flatten(2).any(2) & (chosen.view_weight > 0)
        view = torch.arange(len(rows)) * valid.shape[1] + valid.to(torch.uint8).argmax(1)
        cameras = chosen.flat_cameras()
        cameras = Cameras(
            names=('picture',),
            **{n: getattr(cameras, n)[view].unsqueeze(1) for n in ('K', 'R', 't', 'size')},
            dist=None if cameras.dist is None else cameras.dist[view].unsqueeze(1),
        )
        far = _usual_depth(body, start, cameras, rows)
        return mask_evidence(vertices, body.faces.cpu(), chosen, view, cameras, far)


def one_camera_each(cameras: Cameras, n: int) -> Cameras:
    """Return every frame its own camera, where all share one."""
    return cameras if cameras.K.ndim == 4 else cameras.map(lambda x: x.expand(n, *x.shape))


def _usual_depth(body: SMIL, start: BodyParams, cameras: Cameras, rows: Tensor) -> Tensor:
    """Return how far away a body is that fills half of its image."""
    focal = cameras.K[:, 0].diagonal(dim1=-2, dim2=-1)[:, :2].mean(1)
    size = body.rest_size * start.scale.cpu().double()[rows]
    return focal * size / (UNKNOWN_SHARE * cameras.size[:, 0].amax(1))


def _moved(body: SMIL, start: BodyParams, rotation: Tensor, shift: Tensor) -> BodyParams:
    """Turn and move posed bodies as a whole: `x' = turn x + shift`."""
    rotation, shift = rotation.to(start.transl), shift.to(start.transl)
    root = body(start).joints[:, 0]
    orient = rotmat_to_axis_angle(rotation @ axis_angle_to_rotmat(start.global_orient))
    params = start.replace(global_orient=orient, transl=torch.zeros_like(start.transl))
    # A body turns about its root joint, an alignment about the origin: the root shows the difference.
    goal = (rotation @ root.unsqueeze(-1)).squeeze(-1) + shift
    return params.replace(transl=goal - body(params).joints[:, 0])


def _group(data: BodyModelData, name: str | None) -> set[str]:
    """Name the joints and keypoints of a group; a keypoint that is a joint belongs to the joint's groups."""
    joints = set(data.joint_groups.get(name or '', ()))
    result = joints | set(data.keypoint_groups.get(name or '', ()))
    sets = tuple(data.keypoint_sets.values())
    result |= {name for name, mark in data.landmarks.items() if mark.bone in joints}
    return result | {k for s in sets for k, d in s.items() if isinstance(d, str) and d in joints}
