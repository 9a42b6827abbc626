"""What AniMer's network says of images, one folder an image: mesh, parameters, keypoints, features, overlay."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.compute import chosen_device
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.progress import Progress, ProgressCallback, ignore
from smilfit.body_models import SMIL, load_body_model
from smilfit.datasets.boxes import BoxFile
from smilfit.drawing.overlays import OverlayPainter, Panel, ShownBody
from smilfit.drawing.video import write_image
from smilfit.drawing.windows import View
from smilfit.files import file_stem, real_folder
from smilfit.io import write_mesh
from smilfit.io.image_opening import open_image
from smilfit.io.recordings.image_folder import images_in
from smilfit.io.recordings.synchronised_videos import RecordedFrame
from smilfit.networks.animer.network import AnimalCrop, AnimerNetwork, load_animer
from smilfit.structures import Cameras

logger = logging.getLogger('smilfit')

KEYPOINT_SET = 'animer'
_CAMERA = 'camera'


@dataclass(frozen=True)
class DescribedImages:
    """Folders of the images, and those that could not be described, with the reason."""

    folders: tuple[Path, ...]
    left_out: Mapping[str, str]


def describe_images(
    checkpoint: str | Path,
    source: str | Path,
    out: str | Path,
    body_model: str | Path,
    *,
    boxes: str | Path | None = None,
    device: str = 'auto',
    progress: ProgressCallback | None = None,
) -> DescribedImages:
    """Write what AniMer's network says of each image into `out`/IMAGE.

    Files: `mesh.obj` and `vertices.npy` (V, 3), `keypoints3d.npy` (K, 3; AniMer's 26 for SMAL, else the joints),
    `betas.npy` (S,), `pose.npy` (J, 3, 3), `cam.npy` (3,; scale, x, y in the crop), `visual_features.npy` (D,; the
    class token), `overlay.jpg`. Vertices and keypoints are before the image's camera, model units.

    Args:
        checkpoint: of `convert-checkpoint animer`.
        source: an image or a folder of images of one animal each.
        out: folder for the results.
        body_model: SMAL, or a body of the network's joints and shape coefficients.
        boxes: a table of boxes, as of `infer --boxes`; frame is the place of the image in its folder, camera is
            `camera`. Whole images if None.
        device: where to compute.
        progress: called with a `Progress`.

    Raises:
        FileNotFoundError: no image.
        ValueError: a body of other joints or coefficients.
    """
    check_output_folder(out, '--out')
    check_not_an_input(out, (checkpoint, source), '--out')
    where = chosen_device(device, True)
    network, body = load_animer(checkpoint).to(where), load_body_model(body_model)
    _check_body(str(body_model), body, network)
    path = Path(source).expanduser()
    files = [path] if path.is_file() else images_in(path) if path.is_dir() else []
    if not files:
        raise FileNotFoundError(f'{path}: there must be an image, or a folder of images; there is none.')
    table = None if boxes is None else BoxFile(boxes, (_CAMERA,))
    report = progress or ignore
    folders, left_out = [], {}
    for number, file in enumerate(files):
        report(Progress('describing images', number, len(files)))
        try:
            with open_image(file, file) as opened:
                image = np.asarray(opened.convert('RGB'))
        except (OSError, ValueError) as error:
            left_out[file.name] = f'the image does not decode ({error})'
            continue
        box = (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
        if table is not None:
            given = table(RecordedFrame(number, {_CAMERA: image}, {}))[_CAMERA]
            if given is None:
                left_out[file.name] = 'it has no box'
                continue
            box = given
        # Two images of one stem have folders of their own.
        alone = sum(other.stem == file.stem for other in files) == 1
        folder = real_folder(Path(out), file_stem(file.stem if alone else file.name.replace('.', '_')))
        folder.mkdir(parents=True, exist_ok=True)
        _describe(network, body, image, box, folder)
        folders.append(folder)
    report(Progress('describing images', len(files), len(files)))
    for name, reason in left_out.items():
        logger.warning('%s: %s; it is left out.', name, reason)
    return DescribedImages(tuple(folders), left_out)


def _check_body(where: str, body: SMIL, network: AnimerNetwork) -> None:
    n_joints, n_betas = network.head.pose.out_features // 6, network.head.betas.out_features
    if (body.n_joints, body.n_betas) != (n_joints, n_betas):
        raise ValueError(
            f'{where}: the body must have the {n_joints} joints and {n_betas} shape coefficients of the network; it '
            f'has {body.n_joints} and {body.n_betas}. Name SMAL by --body-model; other species need '
            'a network of their own.'
        )


@torch.no_grad()
def _describe(
    network: AnimerNetwork, body: SMIL, image: np.ndarray, box: Sequence[float], folder: Path
) -> None:
    like = next(network.parameters())
    height, width = image.shape[:2]
    crop = AnimalCrop.around(torch.tensor([box]).to(like), torch.tensor([[width, height]]).to(like))
    shown = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(like) / 255
    prediction = network(crop.cut(shown))
    estimate = prediction.estimate
    params = estimate.params(crop.image_transl(estimate.camera)).to('cpu')
    names = tuple(body.data.keypoint_sets.get(KEYPOINT_SET, body.joint_names))
    output = body(params, ('vertices', *names))
    vertices = output.vertices[0].numpy()
    keypoints = output.select(names)[0]
    arrays = {
        'vertices': vertices,
        'keypoints3d': keypoints.numpy(),
        'betas': estimate.betas[0].cpu().numpy(),
        'pose': estimate.rotations[0].cpu().numpy(),
        'cam': estimate.camera[0].cpu().numpy(),
        'visual_features': prediction.features[0].float().cpu().numpy(),
    }
    for name, value in arrays.items():
        np.save(folder / f'{name}.npy', value, allow_pickle=False)
    write_mesh(folder / 'mesh.obj', vertices, body.faces.cpu().numpy())
    _draw(folder / 'overlay.jpg', image, body, output.vertices[0], keypoints, crop.image_cameras())


def _draw(
    path: Path,
    image: np.ndarray,
    body: SMIL,
    vertices: torch.Tensor,
    keypoints: torch.Tensor,
    cameras: Cameras,
) -> None:
    one = Cameras(cameras.names, *(getattr(cameras, n)[0].cpu() for n in ('K', 'R', 't', 'size')))
    pixels, _, valid = one.project(keypoints[None])
    xy = torch.where(valid.unsqueeze(-1), pixels, torch.nan)[0, 0].double().numpy()
    view = View(image, one, np.eye(2, 3))
    shown = ShownBody(vertices, xy)
    nothing = np.full((0, 2), np.nan)
    write_image(path, OverlayPainter(body.faces).tile(Panel('', view, nothing, bodies=(shown,))))
