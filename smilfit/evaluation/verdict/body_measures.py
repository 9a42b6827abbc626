"""The numbers of a fitted body that need no images: bones, skin, shape, joints, and where it stands."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.body_models.joint_limits import default_joints, own_components
from smilfit.evaluation.verdict.judge import Measured
from smilfit.evaluation.verdict.label_measures import count_keypoints
from smilfit.evaluation.verdict.refits import side_pairs
from smilfit.losses.shape_priors import whitening_of
from smilfit.structures import BodyParams, Keypoints2d
from smilfit.structures.body import MILLIMETRES, by_blocks

# Limits are stated by component of the axis-angle, and what no keypoint shows (a bone's twist) strays beyond: joints
# count from so many degrees.
BEYOND_DEG = 15.0
# Where a model states no limits: no joint of a living animal is often turned so far from rest.
FAR_TURN_DEG = 100.0


def betas_sd(body: SMIL, params: BodyParams) -> Float[Tensor, 'B S']:
    """Return each shape coefficient in standard deviations of the model's shape space, along its main axes.

    Of a model that knows several kinds of animals: of the nearest one.
    """
    data, betas = body.data, params.betas.double()
    mixture = data.shape_mixture
    if mixture is None:
        if data.shape_cov is None:
            mean = 0.0 if data.shape_mean is None else torch.as_tensor(data.shape_mean).to(betas)
            return (betas - mean).abs()
        mean = (
            torch.zeros(len(data.shape_cov)) if data.shape_mean is None else torch.as_tensor(data.shape_mean)
        )
        means, covs = mean.to(betas).unsqueeze(0), torch.as_tensor(data.shape_cov).to(betas).unsqueeze(0)
    else:
        means, covs = (torch.as_tensor(x).to(betas) for x in (mixture.means, mixture.covs))
    most = float(covs.diagonal(dim1=1, dim2=2).max())
    factors = torch.stack([whitening_of(cov, most) for cov in covs]).to(betas)
    white = torch.einsum('bms,mst->bmt', betas.unsqueeze(1) - means, factors)
    nearest = white.square().sum(-1).argmin(1)
    return white[torch.arange(len(white)), nearest].abs()


def landmark_offsets_sd(body: SMIL, params: BodyParams) -> Float[Tensor, 'B K']:
    """Return how far each landmark with an unknown offset is from where it is expected, in its standard deviations.

    Of its three directions the farthest stands. Rows as `body.data.unknown_landmarks`; none where none was fitted.
    """
    if params.landmark_offsets is None:
        return params.transl.new_zeros(params.batch_size, 0)
    landmarks = body.data.landmarks
    sd = [landmarks[name].sd for name in body.data.unknown_landmarks]
    return params.landmark_offsets.abs().amax(-1) / params.landmark_offsets.new_tensor(sd)


def landmark_excess(body: SMIL, params: BodyParams) -> Float[Tensor, 'B K']:
    """Return how much farther each landmark with an unknown offset is than the lookup expects, in body lengths.

    Of an offset with the standard deviation s in each direction, `3 s^2` of its squared length are expected; the root
    of what it has beyond that counts, 0 where it has less. Rows as `body.data.unknown_landmarks`.
    """
    if params.landmark_offsets is None:
        return params.transl.new_zeros(params.batch_size, 0)
    landmarks = body.data.landmarks
    sd = params.landmark_offsets.new_tensor([landmarks[name].sd for name in body.data.unknown_landmarks])
    beyond = params.landmark_offsets.square().sum(-1) - 3 * sd.square()
    return beyond.clamp_min(0).sqrt() / body.rest_size


def part_sizes_sd(body: SMIL, params: BodyParams) -> Float[Tensor, 'B G']:
    """Return the size of each part in standard deviations of the model file; none where no size was fitted."""
    if params.part_sizes is None:
        return params.transl.new_zeros(params.batch_size, 0)
    return params.part_sizes.abs() / params.part_sizes.new_tensor([p.sd for p in body.part_sizes.values()])


def limits_share(body: SMIL, params: BodyParams) -> Float[Tensor, ' B']:
    """Return the share of joints that stand beyond a limit of the model, by `BEYOND_DEG` at least.

    Of joints whose limits nobody stated: that are turned by more than `FAR_TURN_DEG` from rest.
    """
    pose = params.as_axis_angle().body_pose
    far = pose.norm(dim=-1) > math.radians(FAR_TURN_DEG)
    if body.data.joint_limits is None:
        return far.double().mean(1)
    limits = torch.as_tensor(body.data.joint_limits[1:]).to(pose)
    axes = body.data.joint_axes
    own = own_components(pose, None if axes is None else torch.as_tensor(axes[1:]))
    beyond = ((limits[..., 0] - own).relu() + (own - limits[..., 1]).relu()).norm(dim=-1)
    guessed = torch.tensor(default_joints(body.data))[1:]
    return torch.where(guessed.to(far.device), far, beyond > math.radians(BEYOND_DEG)).double().mean(1)


def size_ratio(body: SMIL, params: BodyParams, unit: str | None) -> float | None:
    """Return how many times larger, or smaller, fitted bodies are than the model says; at least 1, the median.

    Returns:
        None where the model's unit or the world's is not a known length, or there is no body.
    """
    own = body.data.unit
    if own not in MILLIMETRES or unit not in MILLIMETRES or not params.batch_size:
        return None
    ratio = float(params.scale.double().median()) * MILLIMETRES[unit] / MILLIMETRES[own]
    return max(ratio, 1 / ratio) if ratio > 0 else math.inf


def camera_distance(body: SMIL, params: BodyParams, centres: Float[Tensor, '*b C 3']) -> Float[Tensor, 'B C']:
    """Return how far the root is from each camera, in the body's lengths."""
    size = body.rest_size * params.scale
    return (params.transl.unsqueeze(1) - centres.to(params.transl)).norm(dim=-1) / size.unsqueeze(1)


# Shorter bones (shares of the body's length) have no ratio worth the name.
SHORTEST = 0.01


@torch.no_grad()
def unposed_joints(body: SMIL, params: BodyParams) -> Float[Tensor, 'B J 3']:
    """Return the joints of bodies with all turns taken back, model unit: what shape and skeleton alone make."""
    zeros = torch.zeros_like
    plain = params.as_axis_angle()
    rest = plain.replace(
        global_orient=zeros(plain.global_orient),
        body_pose=zeros(plain.body_pose),
        transl=zeros(plain.transl),
        scale=torch.ones_like(plain.scale),
    )
    return body(rest.to(body.v_template), ('joints',)).joints


def bone_ratios(body: SMIL, params: BodyParams) -> Float[Tensor, 'B b']:
    """Divide each bone's length by that at rest of a body of the same shape; bones as all joints but the root.

    What shape coefficients make of bones is judged by how usual these are. Scale is taken out: a body that is drawn
    smaller with bones that are all longer is the same body. So ratios are against the median one. NaN of bones too
    short for a ratio (`SHORTEST`).
    """
    return by_blocks(params.batch_size, lambda rows: _bone_ratios(body, params[rows]))


def _bone_ratios(body: SMIL, params: BodyParams) -> Float[Tensor, 'B b']:
    fitted = lengths(body, unposed_joints(body, params))
    shaped = body.zero_params(params.batch_size).to(params.betas).replace(betas=params.betas)
    rest = lengths(body, unposed_joints(body, shaped)).to(fitted)
    ratio = torch.where(rest > SHORTEST * body.rest_size, fitted / rest, torch.nan)
    return ratio / ratio.nanmedian(1, keepdim=True).values


def bone_asymmetry(body: SMIL, params: BodyParams) -> Float[Tensor, 'B P']:
    """Return how many times longer one side's bone is than the other's, beyond rest; at least 1, of each pair."""
    ratio = bone_ratios(body, params)
    # Bone j - 1 ends at joint j.
    pairs = [(a - 1, b - 1) for a, b in side_pairs(body.data, body.joint_names) if a > 0]
    if not pairs:
        return ratio.new_zeros(len(ratio), 0)
    left, right = (ratio[:, list(side)] for side in zip(*pairs))
    return (left / right).log().abs().exp()


def joint_moves(body: SMIL, params: BodyParams) -> Float[Tensor, 'B J']:
    """Return how far `joint_offsets` move each joint from its place on its parent, in body lengths."""
    if params.joint_offsets is None:
        return params.transl.new_zeros(params.batch_size, body.n_joints)
    return params.joint_offsets.norm(dim=-1) / body.rest_size


def lengths(body: SMIL, joints: Float[Tensor, 'B J 3']) -> Float[Tensor, 'B b']:
    """Measure every bone: from each joint but the root to its parent."""
    parents = torch.as_tensor(body.data.parents[1:].copy())
    return (joints[:, 1:] - joints[:, parents]).norm(dim=-1)


# A triangle that reaches so many times the median one is torn, counted as such, and not searched here. Those that
# reach less than the second number are searched all at once.
_LONGEST, _USUAL = 6.0, 1.5
# A corner so near to a plane, in units of a triangle's extent times twice its area, may lie on either side of it.
_FLAT = 1e-9
# Vertices nearer to each other, as a share of the extent, are in one place.
_SAME = 1e-6


def crossing_triangles(
    vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3']
) -> Bool[np.ndarray, ' F']:
    """Return which triangles of a mesh are crossed by another with which they share no vertex.

    An edge of one that passes through the inside of the other (Moller and Trumbore 1997) is a crossing.
    """
    corners = vertices[faces]
    centres = corners.mean(1)
    radii = np.linalg.norm(corners - centres[:, None], axis=-1).max(1)
    asked = np.flatnonzero(radii < _LONGEST * np.median(radii))
    hit = np.zeros(len(faces), bool)
    if len(asked) < 2:
        return hit
    a, b = _neighbours(centres, radii, asked)
    near = np.linalg.norm(centres[a] - centres[b], axis=-1) < radii[a] + radii[b]
    a, b = a[near], b[near]
    joined = (faces[a][:, :, None] == faces[b][:, None, :]).any((1, 2))
    a, b = a[~joined], b[~joined]
    # Most pairs are told apart by the plane of one of them, at a tenth of the cost.
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # Triangles without an area have no plane, and are not told apart.
    margin = _FLAT * radii**3
    for _ in range(2):
        side = ((corners[b] - corners[a][:, :1]) * normals[a][:, None]).sum(-1)
        through = (side.min(1) <= margin[a]) & (side.max(1) >= -margin[a])
        a, b = b[through], a[through]
    crossed = _pierces(corners[a], corners[b]) | _pierces(corners[b], corners[a])
    hit[a[crossed]] = hit[b[crossed]] = True
    return hit


def new_crossings(
    poses: Float[np.ndarray, 'B V 3'], rest: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3']
) -> Float[np.ndarray, ' B']:
    """Return the share of the skin, of its area at rest, that crosses other skin in a pose and does not at rest.

    Vertices in one place at rest (seams of an image of the skin) are one: triangles on both sides of a seam touch.
    """
    a, b, c = (rest[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
    faces = _first_in_place(rest)[faces]
    before = crossing_triangles(rest, faces)
    return np.array([area[crossing_triangles(pose, faces) & ~before].sum() / area.sum() for pose in poses])


def _first_in_place(rest: Float[np.ndarray, 'V 3']) -> Int[np.ndarray, ' V']:
    """Return for each vertex the first one in its place; places are told apart by `_SAME` of the extent."""
    step = _SAME * max(float(np.ptp(rest, axis=0).max()), np.finfo(float).tiny)
    _, first, place = np.unique(np.round(rest / step), axis=0, return_index=True, return_inverse=True)
    return first[place.ravel()]


def _neighbours(centres: np.ndarray, radii: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find pairs of triangles whose spheres may touch."""
    # Imported late: scipy takes a third of a second, and few ask for this.
    from scipy.spatial import cKDTree

    usual = asked[radii[asked] < _USUAL * np.median(radii)]
    large = np.setdiff1d(asked, usual)
    tree = cKDTree(centres[usual])
    pairs = [usual[tree.query_pairs(2 * radii[usual].max(initial=0.0), output_type='ndarray')]]
    if len(large):
        reach = radii[large] + radii[asked].max()
        around = cKDTree(centres[asked]).query_ball_point(centres[large], reach)
        first = np.repeat(large, [len(result) for result in around])
        pairs.append(np.stack((first, asked[np.concatenate(around).astype(int)]), 1))
    a, b = np.concatenate(pairs).T
    return a, b


def _pierces(edges_of: np.ndarray, into: np.ndarray) -> np.ndarray:
    """Return for pairs of triangles whether an edge of the first passes through the inside of the second."""
    first, second, third = into.transpose(1, 0, 2)
    one, two = second - first, third - first
    result = np.zeros(len(into), bool)
    for i in range(3):
        start, ray = edges_of[:, i], edges_of[:, (i + 1) % 3] - edges_of[:, i]
        p = np.cross(ray, two)
        determinant = (one * p).sum(-1)
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            q = start - first
            u = (q * p).sum(-1) / determinant
            r = np.cross(q, one)
            v = (ray * r).sum(-1) / determinant
            t = (two * r).sum(-1) / determinant
            result |= (u > 0) & (v > 0) & (u + v < 1) & (t > 0) & (t < 1)
    return result


# An edge so many times longer than at rest has torn the skin.
TORN = 3.0


@torch.no_grad()
def torn_share(
    body: SMIL, params: BodyParams, vertices: Float[Tensor, 'B V 3'] | None = None
) -> Float[Tensor, ' B']:
    """Return the share of the skin (of its area at rest) whose triangles have an edge `TORN` times as long as
    at rest.

    Scale is taken out by the median edge. `vertices` are those of the bodies, where the caller has them.
    """
    faces, rest = body.faces, body.rest_vertices(body.zero_params(1).betas)
    before = _edges(rest, faces)
    after = _edges(posed(body, params) if vertices is None else vertices, faces)
    ratio = after / before.clamp_min(1e-9 * body.rest_size)
    ratio = ratio / ratio.flatten(1).median(1).values[:, None, None]
    return _share((ratio > TORN).any(-1), rest, faces)


@torch.no_grad()
def inverted_share(
    body: SMIL, params: BodyParams, vertices: Float[Tensor, 'B V 3'] | None = None
) -> Float[Tensor, ' B']:
    """Return the share of the skin (of its area at rest) that is turned inside out.

    A triangle is inverted where its normal points against that at rest, turned by the bones that carry it
    (skinning weights blend their rotations). `vertices` are those of the bodies, where the caller has them.
    """
    faces, rest = body.faces, body.rest_vertices(body.zero_params(1).betas)
    params = params.to(body.v_template)
    turns = _world_rotations(body, params)
    weights = torch.as_tensor(body.data.weights.to_dense()).to(turns)
    blended = (weights @ turns.flatten(2)).unflatten(2, (3, 3))
    carried = sum(blended[:, faces[:, corner]] for corner in range(3))
    rotated = (carried @ _normals(rest, faces)[0].unsqueeze(-1)).squeeze(-1)
    vertices = posed(body, params) if vertices is None else vertices
    against = (rotated * _normals(vertices, faces)).sum(-1) < 0
    return _share(against, rest, faces)


@torch.no_grad()
def posed(body: SMIL, params: BodyParams) -> Float[Tensor, 'B V 3']:
    """Return the vertices of bodies."""
    return body(params.to(body.v_template), ('vertices',)).vertices


def _world_rotations(body: SMIL, params: BodyParams) -> Tensor:
    local = params.rotations()
    result: list[Tensor] = []
    for j, parent in enumerate(body.data.parents.tolist()):
        result.append(local[:, j] if parent < 0 else result[parent] @ local[:, j])
    return torch.stack(result, 1)


def _edges(vertices: Tensor, faces: Tensor) -> Tensor:
    corners = vertices[:, faces]
    return (corners - corners.roll(1, dims=2)).norm(dim=-1)


def _normals(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = vertices[:, faces].unbind(2)
    return torch.linalg.cross(b - a, c - a)


def _share(bad: Tensor, rest: Tensor, faces: Tensor) -> Tensor:
    area = _normals(rest, faces)[0].norm(dim=-1)
    return (bad * area).sum(-1) / area.sum()


# Frames whose meshes are measured, and of these those whose triangles are searched for crossings.
N_MESHES, N_CROSSINGS = 24, 4


def body_values(body: SMIL, params: BodyParams, unit: str | None = None) -> dict[str, Measured]:
    """Measure bodies that share shape and skeleton: the worst bone, joint and coefficient, and the skin.

    The skin is measured in a few frames, spread over all, of which the mean stands.

    Args:
        unit: of the world, to compare the size with the model's.
    """
    if not params.batch_size:
        return {}
    bones, joints = body.joint_names[1:], body.joint_names
    ratios = bone_ratios(body, params)
    result = {
        'bone_longest': _worst(ratios, bones, largest=True),
        'bone_shortest': _worst(ratios, bones, largest=False),
        'joint_moves': _worst(joint_moves(body, params), joints, largest=True),
    }
    size = size_ratio(body, params, unit)
    if size is not None:
        result['size'] = Measured(size)
    asymmetry = bone_asymmetry(body, params)
    if asymmetry.shape[1]:
        pairs = [joints[a] for a, _ in side_pairs(body.data, joints) if a > 0]
        result['bone_asymmetry'] = _worst(asymmetry, pairs, largest=True)
    offsets = landmark_offsets_sd(body, params)
    if params.landmark_offsets is not None and offsets.shape[1]:
        result['landmark_offsets_sd'] = _worst(offsets, body.data.unknown_landmarks, largest=True)
        result['landmark_offsets'] = _worst(
            landmark_excess(body, params), body.data.unknown_landmarks, largest=True
        )
    sizes = part_sizes_sd(body, params)
    if sizes.shape[1]:
        result['part_sizes_sd'] = _worst(sizes, tuple(body.part_sizes), largest=True)
    if params.betas.shape[1]:
        names = [str(s) for s in range(params.betas.shape[1])]
        result['betas_sd'] = _worst(betas_sd(body, params), names, largest=True)
    if not len(body.faces):
        return result
    few = params[torch.linspace(0, params.batch_size - 1, min(N_MESHES, params.batch_size)).round().long()]
    vertices = posed(body, few)
    result['torn'] = Measured(float(torn_share(body, few, vertices).mean()))
    result['inverted'] = Measured(float(inverted_share(body, few, vertices).mean()))
    chosen = vertices[:: max(1, few.batch_size // N_CROSSINGS)].cpu().numpy()
    result['self_intersection'] = Measured(_crossings(body, chosen))
    return result


def frame_meshes(body: SMIL, params: BodyParams) -> dict[str, np.ndarray]:
    """Measure the skin of every frame: torn and inverted shares; empty of a model without faces."""
    if not len(body.faces) or not params.batch_size:
        return {}
    parts = [params[rows] for rows in torch.arange(params.batch_size).split(N_MESHES)]
    result = {
        'torn': torch.cat([torn_share(body, p) for p in parts]),
        'inverted': torch.cat([inverted_share(body, p) for p in parts]),
    }
    return {name: value.cpu().double().numpy() for name, value in result.items()}


def body_frames(body: SMIL, params: BodyParams, observed: Keypoints2d) -> dict[str, np.ndarray]:
    """Measure every frame: joints beyond limits, distances to cameras, and how many keypoints were seen."""
    names = ('limits', 'camera_near', 'camera_far', 'behind_cameras', 'keypoints')

    def measured(rows: slice) -> Tensor:
        result = _body_frames(body, params[rows], observed[rows])
        return torch.stack([result[name].detach().cpu().double() for name in names], 1)

    return dict(zip(names, by_blocks(params.batch_size, measured).numpy().T, strict=True))


def _body_frames(body: SMIL, params: BodyParams, observed: Keypoints2d) -> dict[str, Tensor]:
    centres = observed.rig.centres().to(params.transl)
    distance = camera_distance(body, params, centres)
    with torch.no_grad():
        joints = body(params.to(body.v_template), ('joints',)).joints
    _, depth, _ = observed.rig.project(joints.cpu().to(observed.rig.K))
    looks = observed.visible.any(-1)
    behind = ((depth <= 0).all(-1) & looks).sum(1) / looks.sum(1).clamp_min(1)
    return {
        'limits': limits_share(body, params),
        'camera_near': distance.amin(1),
        'camera_far': distance.amax(1),
        'behind_cameras': behind,
        'keypoints': count_keypoints(observed),
    }


def _worst(values: Tensor, names: tuple[str, ...] | list[str], largest: bool) -> Measured:
    """Return the mean over frames of the column where it is largest, or smallest, and its name; NaN does not
    count."""
    means = values.double().nanmean(0)
    known = means.isfinite()
    if not bool(known.any()):
        return Measured(float('nan') if bool(means.isinf().any()) else 1.0)
    filled = torch.where(known, means, -torch.inf if largest else torch.inf)
    at = int(filled.argmax() if largest else filled.argmin())
    return Measured(float(filled[at]), names[at])


def _crossings(body: SMIL, vertices: np.ndarray) -> float:
    return float(new_crossings(vertices, body.data.v_template, body.faces.cpu().numpy()).mean())
