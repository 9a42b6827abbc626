"""Write a made recording as a lab would keep it: videos, SLEAP labels, calibration, 3D points, and the truth.

root/joint_lookup.csv, root/shape_betas.csv
root/SESSION/calibration.toml, points3d.h5, truth.npz
root/SESSION/CAMERA/SESSION_CAMERA.mp4, SESSION_CAMERA.slp
"""

import csv
import io
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from rich.progress import track
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.files import real_folder, write_text
from smilfit.io import probe_video, write_calibration, write_points3d, write_slp, write_truth
from smilfit.registry import UnknownNameError
from smilfit.renderers import Renderer, RenderOutput, ZBufferRenderer
from smilfit.structures import BodyParams, Cameras
from smilfit.synthetic.camera_rigs import make_rig
from smilfit.synthetic.made_labels import (
    LabelOptions,
    draw_labels,
    hidden_keypoints,
    hidden_margin,
    project_keypoints,
)
from smilfit.synthetic.motion import draw_betas, random_motion

# What the images of `write_sessions` show, in the animal's greatest extent, and the share that its root roams.
ARENA_RADIUS, ROAMING = 0.75, 0.35


@dataclass(frozen=True)
class ImageOptions:
    """How images look; grey levels are of 255.

    `noise` is the standard deviation of each value, `texture` the contrast of the background.
    """

    noise: float = 3.0
    texture: float = 25.0
    background: float = 150.0
    animal_rgb: tuple[float, float, float] = (0.52, 0.36, 0.24)
    pattern: float = 0.35


def background(
    size: tuple[int, int], options: ImageOptions, rng: np.random.Generator
) -> Float[np.ndarray, 'H W 3']:
    """Draw a wall with large and small stains, grey levels."""

    width, height = size
    image = np.full((height, width, 3), options.background, np.float32)
    image += rng.uniform(-15, 15, 3).astype(np.float32)
    for cells, share in ((4, 1.0), (12, 0.6), (40, 0.35)):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        stain = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        image += options.texture * share * stain[..., None]
    return image


def animal_colours(
    data: BodyModelData, options: ImageOptions, rng: np.random.Generator
) -> Float[Tensor, 'V 3']:
    """Colour the skin: waves of light and dark across the rest pose, RGB in [0, 1]."""
    points = data.v_template / np.ptp(data.v_template, axis=0).max()
    tone = np.zeros(len(points))
    for _ in range(5):
        wave = rng.normal(0, 14, 3)
        tone += np.sin(points @ wave + rng.uniform(0, 2 * np.pi)) / 5
    rgb = np.array(options.animal_rgb) * (1 + options.pattern * 1.5 * tone[:, None])
    return torch.from_numpy(np.clip(rgb, 0, 1).astype(np.float32))


class ShiftedNoise:
    """A few noise images, shifted at random: noise at a hundredth of its cost."""

    def __init__(self, size: tuple[int, int], sigma: float, rng: np.random.Generator, n: int = 4) -> None:
        width, height = size
        self._rng = rng
        self._images = (sigma * rng.standard_normal((n, 2 * height, 2 * width, 3))).astype(np.float32)
        self._size = (width, height)

    def draw(self) -> Float[np.ndarray, 'H W 3']:
        """Return one image of noise."""
        width, height = self._size
        which = self._rng.integers(len(self._images))
        y, x = self._rng.integers(height), self._rng.integers(width)
        return self._images[which, y : y + height, x : x + width]


def compose(
    render: RenderOutput, index: int, wall: Float[np.ndarray, 'H W 3'], noise: Float[np.ndarray, 'H W 3']
) -> UInt8[np.ndarray, 'H W 3']:
    """Put one rendered animal before the wall and add noise; RGB."""
    image = wall + noise
    valid = render.layer('face_id')[index].numpy() >= 0
    image[valid] = 255.0 * render.layer('shading')[index].numpy()[valid] + noise[valid]
    return np.clip(image, 0, 255).astype(np.uint8)


class CameraVideo:
    """Render one camera's video, a chunk of frames in memory.

    Args:
        body: in the parameters' float type.
        camera: one unbatched camera.
        colours: RGB in [0, 1] of each vertex.
    """

    chunk = 16

    def __init__(
        self,
        body: SMIL,
        params: BodyParams,
        camera: Cameras,
        colours: Float[Tensor, 'V 3'],
        images: ImageOptions,
        rng: np.random.Generator,
        renderer: Renderer,
    ) -> None:
        self.body, self.params, self.camera = body, params, camera
        self.colours, self.renderer = colours, renderer
        width, height = camera.size[0].tolist()
        self.size = int(width), int(height)
        self.wall = background(self.size, images, rng)
        self.noise = ShiftedNoise(self.size, images.noise, rng)

    def write(
        self,
        path: Path,
        options: 'SessionOptions',
        pixels: Float[np.ndarray, 'T K 2'],
        depth: Float[np.ndarray, 'T K'],
        margin: Float[Tensor, 'K'],
        bar: Callable[[Sequence[int]], Iterable[int]],
    ) -> Bool[np.ndarray, 'T K']:
        """Write the mp4; return which keypoints the animal hides.

        Args:
            depth: of the keypoints, world unit.
            margin: how far the skin may lie before a keypoint that is visible, world unit.
            bar: wraps the loop over chunks, to show progress.

        Raises:
            ValueError: the codec is not there, or the video does not decode to all frames.
        """
        hidden = np.zeros(depth.shape, bool)

        def images() -> Iterator[np.ndarray]:
            for start in bar(range(0, self.params.batch_size, self.chunk)):
                chosen = slice(start, start + self.chunk)
                with torch.no_grad():
                    vertices = self.body(self.params[chosen], need=('vertices',)).vertices.float()
                render = self.renderer(vertices, self.body.faces, self.camera, self.colours)
                at, deep = torch.from_numpy(pixels[chosen]).float(), torch.from_numpy(depth[chosen]).float()
                hidden[chosen] = hidden_keypoints(render, at, deep, margin.float()).numpy()
                for index in range(len(render)):
                    yield compose(render, index, self.wall, self.noise.draw())

        write_images(path, images(), self.size, options.fps, options.codec)
        return hidden


def write_images(
    path: Path, images: Iterable[UInt8[np.ndarray, 'H W 3']], size: tuple[int, int], fps: float, codec: str
) -> None:
    """Write images, RGB, as a video.

    Args:
        size: their width and height, px.
        codec: four letters.

    Raises:
        ValueError: the codec is not there, or the video does not decode to all frames.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
    if not writer.isOpened():
        raise ValueError(f'{path}: the video writer must open; codec {codec!r} is not there.')
    count = 0
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        count += 1
    writer.release()
    n_decoded = probe_video(path).n_frames
    if n_decoded != count:
        raise ValueError(
            f'{path}: the video must decode to {count} frames; got {n_decoded}. Choose another codec.'
        )


@dataclass(frozen=True)
class SessionOptions:
    """What a made session is like. `keypoint_set` names the model's set that is labelled."""

    fps: float = 30.0
    keypoint_set: str = 'sleap'
    labels: LabelOptions = field(default_factory=LabelOptions)
    images: ImageOptions = field(default_factory=ImageOptions)
    codec: str = 'mp4v'
    least_views_3d: int = 2


def write_session(
    folder: str | Path,
    body: SMIL,
    params: BodyParams,
    rig: Cameras,
    options: SessionOptions | None = None,
    rng: np.random.Generator | None = None,
    progress: bool = False,
    renderer: Renderer | None = None,
) -> Path:
    """Render and write one session; it appears whole or not at all.

    `points3d.h5` holds the true points that `least_views_3d` cameras labelled, `truth.npz` all of them and the
    parameters. `joint_lookup.csv` and `shape_betas.csv` are written, or completed, in the folder above.

    Args:
        folder: the session's folder, which must not exist.
        body: the animal.
        params: of every frame, world unit.
        rig: unbatched cameras.
        options: noise, gaps and looks.
        rng: source of all chance; the same one gives the same labels and images.
        progress: show a bar with the time left, where there is a terminal.
        renderer: draws the images; a z-buffer where None.

    Raises:
        FileExistsError: the folder is there.
        KeyError: the body lacks the keypoint set.
        ValueError: a video could not be written, or does not decode to all its frames.
    """
    folder = Path(folder)
    options = options or SessionOptions()
    rng = rng or np.random.default_rng(0)
    renderer = renderer or ZBufferRenderer()
    if folder.exists():
        raise FileExistsError(
            f'{folder}: a new session must have a new folder; this one exists. Remove it first.'
        )
    if options.keypoint_set not in body.data.keypoint_sets:
        raise UnknownNameError(
            f'{body.data.name}: no keypoint set {options.keypoint_set!r}; it has {list(body.data.keypoint_sets)}.'
        )
    names = list(body.data.keypoint_sets[options.keypoint_set])
    partial = real_folder(folder.parent, f'.{folder.name}.partial')
    if partial.exists():  # left by a run that was stopped
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    double = deepcopy(body).double()
    rig = rig.to('cpu', torch.float64)
    params = params.to('cpu', torch.float64)
    with torch.no_grad():
        output = double(params, need=('joints', *names))
    labelled = np.zeros((params.batch_size, len(names)), int)
    projected = project_keypoints(output.keypoints, rig)
    margin = hidden_margin(double, params, names)
    colours = animal_colours(body.data, options.images, rng)
    for c, camera in enumerate(rig.names):
        video = CameraVideo(double, params, rig.select([camera]), colours, options.images, rng, renderer)
        stem = f'{folder.name}_{camera}'
        place = partial / camera
        place.mkdir()
        pixels, depth, visible = (x[:, c] for x in projected)
        bar = _bar(progress, camera)
        hidden = video.write(place / f'{stem}.mp4', options, pixels, depth, margin, bar)
        xy, score = draw_labels(pixels, visible, hidden, video.size, options.labels, rng)
        write_slp(place / f'{stem}.slp', xy, [annotator_name(n) for n in names], f'{stem}.mp4', score)
        labelled += np.isfinite(xy).all(-1)
    keypoints, joints = output.keypoints.numpy(), output.joints.numpy()
    write_known(partial, body.data, params, rig, joints, keypoints, names, labelled >= options.least_views_3d)
    write_joint_lookup(folder.parent / 'joint_lookup.csv', names, body.joint_names)
    add_shape_betas(folder.parent / 'shape_betas.csv', folder.name, params.betas[0].numpy())
    partial.replace(folder)
    return folder


def write_sessions(
    root: str | Path,
    body: SMIL,
    n_sessions: int = 2,
    n_frames: int = 250,
    n_cameras: int = 4,
    size: tuple[int, int] = (320, 256),
    world_scale: float = 90.0,
    options: SessionOptions | None = None,
    seed: int = 0,
    progress: bool = False,
) -> list[Path]:
    """Write sessions of different animals of one model in different rigs; those that are there stay as they are.

    Args:
        root: folder of the sessions `session_000`, `session_001`, ….
        body: the animal.
        n_sessions: how many.
        n_frames: of each session.
        n_cameras: of each session.
        size: width and height of the images, px.
        world_scale: model unit in mm; each session varies it by 10 %.
        options: noise, gaps and looks.
        seed: each session has its own chance, so one can be made again alone.
        progress: show bars.
    """
    options = options or SessionOptions()
    folders = []
    for s in range(n_sessions):
        folder = Path(root) / f'session_{s:03d}'
        folders.append(folder)
        if folder.exists():
            continue
        rng = np.random.default_rng([seed, s])
        scale = world_scale * rng.uniform(0.9, 1.1)
        arena = ARENA_RADIUS * scale * np.ptp(body.data.v_template, axis=0).max()
        betas = draw_betas(body.data, rng)
        params = random_motion(body, n_frames, rng, ROAMING * arena, scale, betas, options.fps)
        rig = make_rig(n_cameras, arena, rng, size)
        write_session(folder, body, params, rig, options, rng, progress)
    return folders


def annotator_name(name: str) -> str:
    """Return the name that an annotator gives a keypoint of the model: sides in words."""
    return name.replace('_L', '_left').replace('_R', '_right')


def write_joint_lookup(path: str | Path, keypoint_names: Sequence[str], joint_names: Iterable[str]) -> Path:
    """Write `joint_lookup.csv`: the model's keypoints with the annotator's names, then unlabelled joints."""
    rows = [(name, annotator_name(name)) for name in keypoint_names]
    rows += [(name, '') for name in joint_names if name not in keypoint_names]
    return _write_table(Path(path), ('model', 'data'), rows)


def write_exact_lookup(path: str | Path, data_names: Mapping[str, str], joint_names: Iterable[str]) -> Path:
    """Write `joint_lookup.csv` of labels that are exactly where the model says: joints are labelled themselves.

    Args:
        data_names: model keypoint -> annotated keypoint.
    """
    joints = set(joint_names)
    rows = [(name, data, '0' if name in joints else '') for name, data in data_names.items()]
    return _write_table(Path(path), ('model', 'data', 'offset_sd'), rows)


def write_known(
    folder: Path,
    data: BodyModelData,
    params: BodyParams,
    rig: Cameras,
    joints: np.ndarray,
    keypoints: np.ndarray,
    names: Sequence[str],
    placed: np.ndarray,
) -> None:
    """Write what is known of a session: `calibration.toml`, `points3d.h5` and `truth.npz`.

    Args:
        folder: the session's.
        params: of every frame, world unit.
        rig: unbatched cameras.
        joints: (frames, J, 3), world unit.
        keypoints: (frames, K, 3), world unit.
        placed: (frames, K), which keypoints `points3d.h5` has.
    """
    write_calibration(folder / 'calibration.toml', rig)
    write_points3d(folder / 'points3d.h5', np.where(placed[..., None], keypoints, np.nan))
    truth = folder / 'truth.npz'
    write_truth(truth, params, joints, keypoints, data.joint_names, names, data.content_hash())


def add_shape_betas(path: str | Path, session: str, betas: np.ndarray) -> Path:
    """Add a session's true shape to `shape_betas.csv`, or replace it there."""
    path = Path(path)
    rows = {}
    if path.is_file():
        with path.open(newline='', encoding='utf-8') as file:
            rows = {row[0]: row[1:] for row in list(csv.reader(file))[1:]}
    rows[session] = [repr(float(b)) for b in betas]
    header = ('label', *(f'PC{i + 1}' for i in range(len(betas))))
    return _write_table(path, header, ((label, *values) for label, values in sorted(rows.items())))


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    text = io.StringIO(newline='')
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def _bar(progress: bool, camera: str) -> Callable[[Sequence[int]], Iterable[int]]:
    def bar(chunks: Sequence[int]) -> Iterable[int]:
        return (
            track(chunks, description=f'rendering {camera}') if progress and sys.stdout.isatty() else chunks
        )

    return bar
