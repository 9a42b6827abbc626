"""Make the figures of docs/conventions.md:  python docs/scripts/conventions.py"""

from pathlib import Path

import matplotlib
import numpy as np
import torch

import smilfit as sf
from smilfit.structures import BodyParams, Cameras
from smilfit.synthetic import make_quadruped

matplotlib.use('Agg')
from matplotlib import pyplot as plt

IMAGES = Path(__file__).resolve().parents[1] / 'images'
RED, GREEN, BLUE, GREY = '#c0392b', '#27874b', '#2f6fb0', '#888888'
# Names of keypoints that would lie over each other, moved by points.
ASIDE = {'chin': (-4, -12), 'eye_L': (6, -3), 'back_of_head': (-6, 6), 'hind_paw_L': (-8, 0)}
AXES = (('x', RED), ('y', GREEN), ('z', BLUE))


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure as SVG, the same bytes each time."""
    path = IMAGES / f'{name}.svg'
    figure.savefig(path, bbox_inches='tight', metadata={'Date': None})
    plt.close(figure)
    print(f'{path}: {path.stat().st_size / 1e3:.0f} kB')


def frames() -> None:
    """World, camera and image: where axes point, and where pixel centres are."""
    figure = plt.figure(figsize=(10, 4.2))
    space = figure.add_subplot(1, 2, 1, projection='3d')
    arrows(space, np.zeros(3), np.eye(3), 0.8, 'world ')
    eye, rotation = np.array([2.4, -1.6, 1.5]), look_at(np.array([2.4, -1.6, 1.5]), np.array([0, 0, 0.2]))
    arrows(space, eye, rotation, 0.7, '')
    corners = [
        eye + rotation.T @ np.array([u, v, 1.0])
        for u, v in ((-0.5, -0.4), (0.5, -0.4), (0.5, 0.4), (-0.5, 0.4))
    ]
    for a, b in zip(corners, [*corners[1:], corners[0]]):
        space.plot(*np.stack((a, b), 1), color=GREY, lw=1)
        space.plot(*np.stack((eye, a), 1), color=GREY, lw=0.5)
    point = np.array([0.3, 0.2, 0.5])
    space.plot(*np.stack((eye, point), 1), color=GREY, ls=':', lw=1)
    space.scatter(*point, color='black', s=18)
    space.text(*(point + [0, 0, 0.12]), 'X')
    space.text(*(eye + [0, 0, 0.35]), 'camera')
    space.set_title('x_cam = R x_world + t\ncamera: x right, y down, z forward', fontsize=10)
    space.set(xlim=(-0.5, 2.5), ylim=(-2, 1), zlim=(0, 2.2))
    space.view_init(22, -75)
    space.set_box_aspect((3, 3, 2.2), zoom=1.5)
    space.set_axis_off()
    image = figure.add_subplot(1, 2, 2)
    width, height = 6, 4
    for u in range(width):
        for v in range(height):
            image.add_patch(plt.Rectangle((u - 0.5, v - 0.5), 1, 1, fill=False, ec=GREY, lw=0.6))
            image.plot(u, v, '.', color=BLUE, ms=4)
    image.annotate(
        '(0, 0): the centre of the first pixel',
        (0, 0),
        (-0.4, -1.1),
        arrowprops={'arrowstyle': '->'},
        fontsize=9,
    )
    image.annotate('', (6.3, -0.5), (-0.5, -0.5), arrowprops={'arrowstyle': '->', 'color': RED})
    image.annotate('', (-0.5, 4.3), (-0.5, -0.5), arrowprops={'arrowstyle': '->', 'color': GREEN})
    image.text(6.35, -0.45, 'u (x), px', color=RED, fontsize=9)
    image.text(-0.45, 4.6, 'v (y), px', color=GREEN, fontsize=9)
    image.text(3.2, 4.0, 'the image ends at\n(W - 0.5, H - 0.5)', fontsize=9, va='center')
    image.set(xlim=(-1.2, 8), ylim=(5, -1.7), aspect='equal')
    image.set_title('pixel centres are at integers', fontsize=10)
    image.set_axis_off()
    save(figure, 'conventions_frames')


def parameters() -> None:
    """The same body under one parameter after the other."""
    data = make_quadruped()
    body = sf.SMIL(data)
    at_rest = BodyParams(
        global_orient=torch.zeros(1, 3),
        body_pose=torch.zeros(1, len(body.joint_names) - 1, 3),
        betas=torch.zeros(1, data.shapedirs.shape[-1]),
        transl=torch.zeros(1, 3),
        scale=torch.ones(1),
    )
    betas = at_rest.betas.clone()
    betas[0, 0] = 2.5
    pose = at_rest.body_pose.clone()
    for joint in ('tail_1', 'tail_2', 'neck'):
        if joint in body.joint_names:
            pose[0, list(body.joint_names).index(joint) - 1] = torch.tensor([0.0, -0.6, 0.0])
    shown = {
        'rest: all zero, scale 1': at_rest,
        'betas': at_rest.replace(betas=betas),
        'body_pose': at_rest.replace(body_pose=pose),
        'global_orient': at_rest.replace(global_orient=torch.tensor([[0.0, -0.5, 0.0]])),
        'scale, then transl': at_rest.replace(
            scale=torch.tensor([0.6]), transl=torch.tensor([[0.3, 0.0, 0.5]])
        ),
    }
    figure, axes = plt.subplots(1, len(shown), figsize=(13, 3.2), sharex=True, sharey=True)
    for axis, (title, params) in zip(axes, shown.items()):
        with torch.no_grad():
            output = body(params, ('vertices', 'joints'))
        outline(axis, output.vertices[0].numpy(), np.asarray(data.faces))
        joints = output.joints[0].numpy()
        for j, parent in enumerate(data.parents):
            if parent >= 0:
                axis.plot(joints[[parent, j], 0], joints[[parent, j], 2], color=RED, lw=1.2)
        axis.plot(joints[:, 0], joints[:, 2], '.', color=RED, ms=4)
        axis.plot(0, 0, '+', color='black', ms=8)
        axis.set_title(title, fontsize=10)
        axis.set_aspect('equal')
        axis.set_axis_off()
    save(figure, 'conventions_parameters')


def keypoints() -> None:
    """A model's joints and the keypoints of its set, by name."""
    data = sf.load_body_model('quadruped').data
    body = sf.load_body_model('quadruped')
    names = [name for name in data.keypoint_sets['sleap'] if not name.endswith('_R')]
    params = BodyParams(
        global_orient=torch.zeros(1, 3),
        body_pose=torch.zeros(1, len(body.joint_names) - 1, 3),
        betas=torch.zeros(1, data.shapedirs.shape[-1]),
        transl=torch.zeros(1, 3),
        scale=torch.ones(1),
    )
    with torch.no_grad():
        output = body(params, ('vertices', 'joints', *names))
    figure, axis = plt.subplots(figsize=(9.5, 5.2))
    outline(axis, output.vertices[0].numpy(), np.asarray(data.faces))
    joints = output.joints[0].numpy()
    for j, parent in enumerate(data.parents):
        if parent >= 0 and not body.joint_names[j].endswith('_R'):
            axis.plot(joints[[parent, j], 0], joints[[parent, j], 2], color=RED, lw=1)
    left = [j for j, name in enumerate(body.joint_names) if not name.endswith('_R')]
    axis.plot(joints[left, 0], joints[left, 2], '.', color=RED, ms=5, label='joints of the model')
    points = output.select(names)[0].numpy()
    axis.plot(
        points[:, 0],
        points[:, 2],
        'o',
        color='#e0a000',
        mec='black',
        ms=6,
        label="keypoints of the set 'sleap'",
    )
    middle = points.mean(0)
    for name, point in zip(names, points):
        away = ASIDE.get(name, np.sign(point[[0, 2]] - middle[[0, 2]]) * (4, 7))
        axis.annotate(
            name,
            point[[0, 2]],
            away,
            textcoords='offset points',
            fontsize=8,
            ha='right' if away[0] < 0 else 'left',
        )
    axis.set_aspect('equal')
    axis.set_axis_off()
    axis.legend(loc='upper left', fontsize=9, frameon=False)
    save(figure, 'conventions_keypoints')


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Turn a camera: rows are its x (right), y (down) and z (forward) in the world, whose z is up."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack((right, np.cross(forward, right), forward))
    # What the page says of cameras is what the code does.
    camera = Cameras(
        ('one',),
        torch.tensor([[[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]]),
        torch.tensor(rotation)[None].float(),
        torch.tensor(-rotation @ eye)[None].float(),
        torch.full((1, 2), 101.0),
    )
    pixels, _, _ = camera.project(torch.tensor(target + right + rotation[1]).float().reshape(1, 1, 3))
    assert bool((pixels.flatten() > 50).all())
    return rotation


def arrows(axis: plt.Axes, origin: np.ndarray, rows: np.ndarray, length: float, prefix: str) -> None:
    """Draw a frame."""
    for (name, colour), row in zip(AXES, rows):
        axis.quiver(*origin, *(length * row), color=colour, arrow_length_ratio=0.15, lw=1.5)
        axis.text(*(origin + 1.15 * length * row), f'{prefix}{name}', color=colour, fontsize=9)


def outline(axis: plt.Axes, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Fill a mesh seen from its side (x to the right, z up)."""
    from matplotlib.collections import PolyCollection

    triangles = vertices[faces][:, :, [0, 2]]
    axis.add_collection(PolyCollection(triangles, facecolors='#c9d9e6', edgecolors='none', rasterized=True))
    axis.autoscale_view()


def main() -> None:
    """Make all figures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    plt.rcParams['svg.hashsalt'] = 'smilfit'
    frames()
    parameters()
    keypoints()


if __name__ == '__main__':
    main()
