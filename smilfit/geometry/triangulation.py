"""Points from several views: weighted linear triangulation and its refinement in px."""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.damping import DAMPING, choose_rows, descend

# Rays that meet at a smaller angle fix no depth: 1 px of error at a focal length of 1000 px is 0.06 degrees.
MIN_ANGLE = 0.5 * torch.pi / 180
# Smallest depth of a seen point, as a share of its distance to the camera (as in `project_points`).
_NEAR = 1e-4
# The linear solution is near: hardly any damping at first.
_POLICY = replace(DAMPING, start=1e-6)


class Triangulation(NamedTuple):
    """Points, whether each is known, and the distance to each view's pixel.

    `points` (B, K, 3) in the world unit and `residual` (B, C, K) in px are 0 where there is nothing.
    """

    points: Float[Tensor, 'B K 3']
    valid: Bool[Tensor, 'B K']
    residual: Float[Tensor, 'B C K']


def triangulate(
    xy: Float[Tensor, 'B C K 2'],
    confidence: Float[Tensor, 'B C K'],
    intrinsics: Float[Tensor, '*b C 3 3'],
    rotation: Float[Tensor, '*b C 3 3'],
    translation: Float[Tensor, '*b C 3'],
    n_refine: int = 10,
    huber_px: float | None = None,
) -> Triangulation:
    """Find the points that project nearest to the pixels of ideal cameras (`u = K (R x + t)`).

    A linear solution (the rays' equations, Hartley and Zisserman 2004, 12.2, inhomogeneous, rows in px and
    weighted by confidence) starts Levenberg-Marquardt on the weighted reprojection error. All frames and
    keypoints are solved at once, in float64.

    A point is valid if at least two views with confidence > 0 have it in front of them and two of them see
    it under an angle of at least `MIN_ANGLE`.

    Args:
        xy: undistorted px; normalised coordinates with identity intrinsics will do too.
        confidence: 0 where a view does not see the point.
        intrinsics: K, of the session (C, 3, 3) or of each frame (B, C, 3, 3); so are the others.
        rotation: world to camera.
        translation: world to camera, world unit.
        n_refine: steps of refinement; 0 gives the linear solution.
        huber_px: residual from which a view's influence no longer grows, so that one wrong view among several
            good ones does little harm; None for plain least squares.
    """
    dtype = xy.dtype
    pixels, weight = xy.double().transpose(1, 2), confidence.double().transpose(1, 2)
    weight = torch.where(pixels.isfinite().all(-1), weight, torch.zeros_like(weight))
    pixels = torch.where((weight > 0).unsqueeze(-1), pixels, torch.zeros_like(pixels))
    # (B or 1, 1, C, …): one set of cameras for all keypoints of a frame.
    K, R, t = (
        x.double().reshape(-1, 1, *x.shape[x.ndim - n :])
        for x, n in ((intrinsics, 3), (rotation, 3), (translation, 2))
    )
    centres = -(R.transpose(-1, -2) @ t.unsqueeze(-1)).squeeze(-1)
    origin = centres.mean(-2, keepdim=True)
    size = (centres - origin).norm(dim=-1).amax((1, 2))[:, None, None, None].clamp_min(1e-12)
    # The same problem about the cameras' centre, in units of the rig: well scaled whatever the world unit.
    t = (t + (R @ origin.unsqueeze(-1)).squeeze(-1)) / size
    matrix = K @ torch.cat((R, t.unsqueeze(-1)), -1)
    enough = (weight > 0).sum(-1) >= 2
    x = _linear(pixels, weight, matrix, enough)
    x = _linear(pixels, weight / _depths(x, matrix).clamp_min(_NEAR), matrix, enough)
    x = _refine(x, pixels, weight, matrix, enough, n_refine, huber_px)
    predicted, _, in_front = _project(x, matrix)
    in_front &= weight > 0
    angle = _widest_angle(x, (centres - origin) / size, in_front)
    valid = enough & (in_front.sum(-1) >= 2) & (angle >= MIN_ANGLE) & x.isfinite().all(-1)
    residual = torch.where(
        valid.unsqueeze(-1) & (weight > 0), (predicted - pixels).norm(dim=-1), torch.zeros_like(weight)
    )
    points = torch.where(valid.unsqueeze(-1), x * size[:, 0] + origin[:, 0], torch.zeros_like(x))
    return Triangulation(points.to(dtype), valid, residual.transpose(1, 2).to(dtype))


def _linear(pixels: Tensor, weight: Tensor, matrix: Tensor, enough: Tensor) -> Tensor:
    """Solve (u P3 - P1) (x, 1) = 0 and (v P3 - P2) (x, 1) = 0 for x, weighted, by the normal equations."""
    rows = pixels.unsqueeze(-1) * matrix[..., 2:, :] - matrix[..., :2, :]
    rows = (rows * weight[..., None, None]).flatten(-3, -2)
    left, right = rows[..., :3], -rows[..., 3:]
    normal = left.transpose(-1, -2) @ left
    return _solve(normal, (left.transpose(-1, -2) @ right).squeeze(-1), enough)[0]


def _solve(
    normal: Tensor, right: Tensor, enough: Tensor, damping: float | Tensor = 0.0
) -> tuple[Tensor, Tensor]:
    """Solve 3x3 systems, and return the scale of each, by which damping counts; a hopeless one is replaced."""
    identity = torch.eye(3, dtype=normal.dtype, device=normal.device)
    scale = normal.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-300)
    # Singular systems (parallel rays) get a step of a point far away instead of an exception.
    normal = normal / scale[..., None, None] + (damping + 1e-15) * identity
    normal = torch.where(enough[..., None, None], normal, identity)
    return torch.linalg.solve(normal, (right / scale.unsqueeze(-1)).unsqueeze(-1)).squeeze(-1), scale


def _depths(x: Tensor, matrix: Tensor) -> Tensor:
    return (matrix[..., 2, :3] @ x.unsqueeze(-1)).squeeze(-1) + matrix[..., 2, 3]


def _project(x: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (…, C, 2) px, depths (…, C) of no less than _NEAR, and which views have the point in front of them."""
    image = (matrix[..., :3] @ x[..., None, :, None]).squeeze(-1) + matrix[..., 3]
    depth = image[..., 2].clamp_min(_NEAR)
    return image[..., :2] / depth.unsqueeze(-1), depth, image[..., 2] > _NEAR


def _cost(error: Tensor, weight: Tensor, huber_px: float | None) -> tuple[Tensor, Tensor]:
    """Return each point's cost and the weights of its reweighted least squares."""
    squared = error.square().sum(-1)
    if huber_px is None:
        return (weight * squared).sum(-1), weight
    size = squared.clamp_min(1e-300).sqrt()
    rho = torch.where(size <= huber_px, squared, huber_px * (2 * size - huber_px))
    return (weight * rho).sum(-1), weight * (huber_px / size).clamp_max(1.0)


def _refine(
    x: Tensor,
    pixels: Tensor,
    weight: Tensor,
    matrix: Tensor,
    enough: Tensor,
    n_steps: int,
    huber_px: float | None,
) -> Tensor:
    """Take Levenberg-Marquardt steps, each point by itself."""

    def look(x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        predicted, depth, in_front = _project(x, matrix)
        error = predicted - pixels
        cost, irls = _cost(error, weight, huber_px)
        return cost, (x, error, depth, torch.where(in_front, irls, 0.0))

    def step(at: tuple[Tensor, ...], damping: Tensor) -> tuple[Tensor, Tensor]:
        x, error, depth, irls = at
        slope = matrix[..., :2, :3] - (error + pixels).unsqueeze(-1) * matrix[..., 2:, :3]
        back = (slope * (irls / depth.square()).unsqueeze(-1).unsqueeze(-1)).flatten(-3, -2)
        normal = back.transpose(-1, -2) @ slope.flatten(-3, -2)
        gradient = ((error * depth.unsqueeze(-1)).flatten(-2).unsqueeze(-2) @ back).squeeze(-2)
        change, scale = _solve(normal, gradient, enough, damping[..., None, None])
        return x - change, (change * (gradient + (damping * scale).unsqueeze(-1) * change)).sum(-1)

    return descend(look, step, x, _POLICY, n_steps, None, choose_rows).state[0]


def _widest_angle(x: Tensor, centres: Tensor, used: Tensor) -> Tensor:
    """Measure the largest angle (rad) under which two used cameras see the point; 0 with fewer than two."""
    rays = x.unsqueeze(-2) - centres
    rays = rays / rays.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    distance = (rays.unsqueeze(-2) - rays.unsqueeze(-3)).norm(dim=-1)
    both = used.unsqueeze(-1) & used.unsqueeze(-2)
    chord = torch.where(both, distance, torch.zeros_like(distance)).amax((-1, -2))
    return 2 * (0.5 * chord).clamp_max(1.0).asin()


def meet_pairs(
    origin_a: Float[Tensor, '*#n 3'],
    direction_a: Float[Tensor, '*#n 3'],
    origin_b: Float[Tensor, '*#n 3'],
    direction_b: Float[Tensor, '*#n 3'],
    min_angle: float = MIN_ANGLE,
) -> tuple[Float[Tensor, '*n 3'], Bool[Tensor, '*n']]:
    """Find where two rays (unit directions) come nearest to each other.

    Of the shortest segment between them the point that both see under the same angle to their rays: an error in
    px moves a ray by more, the farther away it is.

    Returns:
        Points, and whether each lies in front of both origins and the rays meet at `min_angle` (rad) or more;
        a point that is not valid is finite and means nothing.
    """
    between = origin_b - origin_a
    cosine = (direction_a * direction_b).sum(-1)
    on_a, on_b = (between * direction_a).sum(-1), (between * direction_b).sum(-1)
    across = torch.linalg.cross(*torch.broadcast_tensors(direction_a, direction_b)).square().sum(-1)
    wide = across >= torch.sin(torch.tensor(min_angle)).item() ** 2
    across = torch.where(wide, across, torch.ones_like(across))
    s, t = (on_a - cosine * on_b) / across, (cosine * on_a - on_b) / across
    near, far = s.square().unsqueeze(-1), t.square().unsqueeze(-1)
    point_a, point_b = origin_a + s.unsqueeze(-1) * direction_a, origin_b + t.unsqueeze(-1) * direction_b
    points = (point_a * far + point_b * near) / (near + far).clamp_min(torch.finfo(near.dtype).tiny)
    return points, wide & (s > 0) & (t > 0)


def weighted_rays(
    origins: Float[Tensor, '*n C 3'], directions: Float[Tensor, '*n C 3'], weights: Float[Tensor, '*n C']
) -> tuple[Float[Tensor, '*n 3'], Bool[Tensor, '*n']]:
    """Find the points nearest to rays: the minimum of sum_c w_c |(I - d_c d_c^T)(x - o_c)|^2.

    Differentiable in all arguments. Weights are per squared world unit across the ray: for an error in px, divide
    by the squared distance.

    Returns:
        Points, and whether at least two rays with a weight fix each; one that is not is (0, 0, 0), without gradient.
    """
    eye = torch.eye(3, dtype=directions.dtype, device=directions.device)
    # Their size says nothing, and would underflow.
    weights = weights / weights.detach().sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    across = weights[..., None, None] * (eye - directions.unsqueeze(-1) * directions.unsqueeze(-2))
    total = across.sum(-3)
    size = total.detach().diagonal(dim1=-2, dim2=-1).sum(-1)
    # The smallest eigenvalue over the sum: sin^2(angle / 2) / 2 of two equal rays.
    enough = ((weights > 0).sum(-1) >= 2) & (size > 0)
    enough &= torch.linalg.det(total.detach()) > (size / 2) ** 3 * (MIN_ANGLE / 2) ** 2
    total = torch.where(enough[..., None, None], total, eye)
    moment = (across @ origins.unsqueeze(-1)).sum(-3)
    points = torch.linalg.solve(total, moment).squeeze(-1)
    return torch.where(enough.unsqueeze(-1), points, torch.zeros_like(points)), enough


def meet_rays(
    origins: Float[Tensor, '*#b C 3'], directions: Float[Tensor, '*b C K 3'], weights: Float[Tensor, '*b C K']
) -> tuple[Float[Tensor, '*b K 3'], Bool[Tensor, '*b K']]:
    """Find the points that rays of C views see under the smallest angles; differentiable in everything.

    Solves `weighted_rays` twice, the second time with weights over the squared distances that the first one found.

    Args:
        origins: the views' centres.
        directions: unit vectors.
        weights: 0 where a view sees nothing, such as learnt confidences (Iskakov et al. 2019).

    Returns:
        Points, and whether each is known: two rays with a weight fix it, and it lies in front of every such view.
        One that is not known is (0, 0, 0), without gradient.
    """
    # Large world coordinates cost no digits about the views' own middle.
    centre = origins.mean(-2, keepdim=True).detach()
    start = (origins - centre).unsqueeze(-3).expand(*directions.transpose(-2, -3).shape)
    along, weight = directions.transpose(-2, -3), weights.transpose(-1, -2)
    counts = weight > 0
    points, known = weighted_rays(start, along, weight)
    distance = (points.unsqueeze(-2) - start).norm(dim=-1)
    share = torch.where(counts & known.unsqueeze(-1), distance, torch.ones_like(distance))
    points, again = weighted_rays(
        start, along, weight / share.square().clamp_min(torch.finfo(share.dtype).tiny)
    )
    ahead = ((points.unsqueeze(-2) - start) * along).sum(-1) > 0
    known = known & again & (ahead | ~counts).all(-1)
    return torch.where(known.unsqueeze(-1), points + centre, torch.zeros_like(points)), known
