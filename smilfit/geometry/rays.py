"""Where rays meet: of two, in closed form; of many, by weighted least squares."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.triangulation import MIN_ANGLE


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
    middle = origins.mean(-2, keepdim=True).detach()
    start = (origins - middle).unsqueeze(-3).expand(*directions.transpose(-2, -3).shape)
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
    return torch.where(known.unsqueeze(-1), points + middle, torch.zeros_like(points)), known
