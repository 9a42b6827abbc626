"""Frames that one camera alone saw: by how much a linear covariance is too sure of depth.

An image tells how long a bone looks, so how steep it is, but not whether it points to the camera or away from it
(C. J. Taylor 2000, Reconstruction of articulated objects from point correspondences in a single image). A fit takes
one sign, and derivatives there know of no other. A bone of depth d whose sign is wrong with the chance p adds `4 p
d^2` to the variance of depth of all that hangs on it, about the body's middle.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.registrants.second_order.frame_batch import FrameEvaluation
from smilfit.registrants.second_order.landmarks import point_set
from smilfit.registrants.second_order.models import PointModel
from smilfit.registrants.second_order.noise import Seen

# The chance that a fit takes the wrong sign of a bone: so 90 % intervals of a posed insect under one camera
# hold 90 % of joints (of a posed mouse 94 %). Priors that know the pose better make it smaller, weaker ones larger.
WRONG_SIGN = 0.1


def only_camera(part: FrameEvaluation, seen: list[Seen]) -> tuple[Tensor, Tensor] | None:
    """Say which frames one camera alone saw (B,), and from where (B, 3); None where none can be."""
    views = [s.model for s in seen]
    if not views or any(not isinstance(m, PointModel) or m.view_hessian is None for m in views):
        return None
    if any(len(m.view_hessian[0]) != len(views[0].view_hessian[0]) for m in views):
        return None
    saw = torch.stack([(m.view_hessian != 0).flatten(2).any(-1) for m in views]).any(0)
    cameras = views[0].cameras
    centres = -(cameras.R.mT @ cameras.t.unsqueeze(-1)).squeeze(-1).to(part.energy)
    centres = centres.expand(*saw.shape, 3)
    which = saw.to(torch.uint8).argmax(1)
    return saw.sum(1) == 1, centres[torch.arange(len(which), device=which.device), which]


def depth_ambiguity(
    part: FrameEvaluation, centre: Float[Tensor, 'B 3'], names: tuple[str, ...]
) -> Float[Tensor, 'B K 3 3']:
    """Give what wrong signs of bones add to the covariances of points seen from one place."""
    kin = part.kinematics
    tree, points = kin.body.tree, point_set(kin.body, names)
    view = torch.nn.functional.normalize(kin.joints.mean(1) - centre, dim=-1)
    depth = (kin.joints @ view.unsqueeze(-1)).squeeze(-1)
    # The root's own depth is no bone's.
    bones = depth - depth.index_select(1, tree.parents)
    shares = [tree.paths[points.joints]]
    if points.landmarks is not None:
        shares.append(points.landmarks.shares @ tree.paths)
    order = torch.cat(shares) if points.landmarks is None else torch.cat(shares)[points.order]
    about = order - tree.paths.mean(0)
    variance = 4 * WRONG_SIGN * bones.square() @ about.square().mT
    rays = torch.nn.functional.normalize(kin.places(points) - centre.unsqueeze(1), dim=-1)
    return variance[..., None, None] * rays.unsqueeze(-1) * rays.unsqueeze(-2)
