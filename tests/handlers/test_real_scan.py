"""A scanned ant of the real recordings: a made insect is drawn onto it."""

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.geometry.surface_search import FacesAround, closest_on_surface
from smilfit.handlers import MeshInput
from smilfit.registry import build_registrant
from smilfit.synthetic import make_insect


def read_obj(path):
    vertices, faces = [], []
    for line in path.read_text().splitlines():
        kind, *rest = line.split() or ['']
        if kind == 'v':
            vertices.append([float(x) for x in rest[:3]])
        elif kind == 'f':
            corners = [int(x.split('/')[0]) - 1 for x in rest]
            faces += [[corners[0], b, c] for b, c in zip(corners[1:], corners[2:])]
    return torch.tensor(vertices), torch.tensor(faces)


@pytest.mark.real
def test_an_insect_is_drawn_onto_a_scanned_ant(real_data):
    vertices, faces = read_obj(real_data / 'scans' / 'Atta_vollenweideri_1_mg_worker.obj')
    body = SMIL(make_insect())
    # The scan's longest direction becomes the insect's, and its size the insect's.
    centred = vertices - vertices.mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False)[2]
    turned = centred @ axes.t()
    rest = body(body.zero_params(1), ('vertices',)).vertices[0]
    order = (rest.amax(0) - rest.amin(0)).argsort(descending=True).argsort()
    scan = turned[:, order] * (rest.std(0).max() / turned.std(0).max()) + rest.mean(0)
    start = body.zero_params(1)
    handlers = [
        dict(
            type='MeshSurfaceHandler',
            n_points=2000,
            loss=dict(type='PointDistanceLoss', sigma=0.1),
            template_weight=1.0,
        ),
        dict(type='BodyPosePriorHandler'),
        dict(type='BetasPriorHandler'),
    ]
    weights = dict(mesh_weight=1e3, body_pose_prior_weight=0.1, betas_prior_weight=0.1)
    config = dict(
        type='SMPLify',
        body_model=body,
        handlers=handlers,
        stages=[
            dict(n_iter=2, fit_body_pose=False, fit_betas=False, **weights),
            dict(n_iter=3, **weights),
        ],
        optimizer=dict(type='LBFGS', max_iter=10, line_search_fn='strong_wolfe'),
        initializer=None,
    )
    result = build_registrant(config)([MeshInput(scan[None], faces)], start)
    cloud = MeshInput(scan[None], faces).as_point_cloud(2000)
    around = FacesAround.of(body.faces, body.data.n_vertices)

    def median_distance(params):
        now = body(params, ('vertices',)).vertices
        closest = closest_on_surface(cloud.points, cloud.present, now, around)
        return (closest.on(now) - cloud.points).norm(dim=-1).median()

    # In body lengths of the insect, which is 1 long.
    assert median_distance(result.params) < 0.5 * median_distance(start)
    assert median_distance(result.params) < 0.03
