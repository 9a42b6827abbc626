"""Render training sessions of a user's own body model: as session folders, or directly as a dataset file."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.output_paths import check_not_an_input, check_output_file, check_output_folder
from smilfit.apis.preprocessing.data_source import options_from
from smilfit.apis.preprocessing.make_dataset import portable_model
from smilfit.apis.progress import Progress, ProgressCallback, ignore, steps
from smilfit.apis.synthesis_options import SynthesisInputs
from smilfit.body_models import SMIL, BodyModelData, keypoint_definitions, load_body_model_data
from smilfit.body_models.pose_sampling import GivenPoses, read_poses
from smilfit.body_models.shipped_models import beside
from smilfit.datasets import PreprocessOptions
from smilfit.datasets import preprocess as write_dataset
from smilfit.drawing.skin_texture import SkinTexture, read_skin_texture
from smilfit.files import MadeOf, OutputFolder, OutputLock, write_text
from smilfit.files.text_files import read_json
from smilfit.io import check_lookup, read_calibration, read_joint_lookup
from smilfit.io.landmark_rows import body_with_lookup
from smilfit.io.lookup_proposals import body_axes
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.rigs import read_clips
from smilfit.structures import Cameras
from smilfit.synthetic.camera_rigs import resized
from smilfit.synthetic.clip_motion import ClipMotion, clip_frames, clips_without_place
from smilfit.synthetic.drawn_motion import PoseSource
from smilfit.synthetic.looks import NO_PHOTOS, Photos
from smilfit.synthetic.looks.photos import read_photos
from smilfit.synthetic.rendered_session import write_rendered_session
from smilfit.synthetic.session_set import SessionSet, SynthesisOptions
from smilfit.synthetic.sessions import add_shape_betas, write_exact_lookup

MARKER = 'synthesis.json'
STORE = '.h5'
# As a set of keypoints: all joints.
JOINTS = 'joints'
_MOST_MARKER_BYTES = 1 << 22


@dataclass(frozen=True)
class SynthesisRun:
    """What came out: the folder of the sessions or the dataset file, and how many images were asked for in all.

    `left_out` says in words what of the clips the sessions do not show.
    """

    path: Path
    n_images: int
    keypoint_names: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def synthesize(
    body_model: str | Path,
    out: str | Path,
    options: SynthesisOptions | None = None,
    inputs: SynthesisInputs | None = None,
    *,
    store: Mapping[str, object] | None = None,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> SynthesisRun:
    """Render sessions; a run that was stopped goes on where it was.

    Args:
        body_model: the model's file, or the name of a shipped one.
        out: a folder for sessions as a lab keeps them (videos, labels, calibration, points and truth), or a dataset
            file (`.h5`), which takes less time and room.
        options: what the sessions are like.
        inputs: what of the user's own goes into them.
        store: fields of `PreprocessOptions` by name, of a dataset file.
        overwrite: replace sessions or a file that were made of other inputs or options.
        progress: called with a `Progress` after every image, or sample.

    Raises:
        ValueError: inputs that cannot be used.
        KeyError: an unknown keypoint set, camera, style or option.
        FileExistsError: `out` was made of other inputs or options.
    """
    options, inputs, out = options or SynthesisOptions(), inputs or SynthesisInputs(), Path(out)
    as_store = out.suffix == STORE
    (check_output_file if as_store else check_output_folder)(out, 'OUT')
    check_not_an_input(
        out, (body_model, inputs.calibration, inputs.joint_lookup, *inputs.backgrounds, *inputs.poses), 'OUT'
    )
    if store and not as_store:
        raise ValueError(
            f'synthesize: options of a dataset file ({", ".join(store)}) must go with one; {out} is a folder. '
            'Name a file that ends in .h5, or leave them out.'
        )
    data, data_names = _keypoints(load_body_model_data(body_model), inputs)
    cameras = _cameras(inputs)
    places = [Path(place) for place in inputs.backgrounds]
    photos = read_photos(places, cameras.names if cameras else ()) if places else NO_PHOTOS
    given = _motion(data, inputs, body_model, options.fps)
    texture = _texture(data, inputs, body_model)
    sessions = SessionSet(SMIL(data), tuple(data_names), options, cameras, photos, given, texture=texture)
    # One animal's record is what it was before there were several.
    stated = {k: v for k, v in asdict(options).items() if k != 'n_animals' or v > 1}
    made_of = MadeOf(_content(data, data_names, cameras, photos, given, texture), stated)
    report = progress or ignore
    if as_store:
        # What one camera alone sees is known in space all the same.
        kept = options_from(store, min_views=1)
        _write_store(out, sessions, data, kept, portable_model(body_model, out), made_of, overwrite, report)
    else:
        _write_folder(out, sessions, data_names, inputs.joint_lookup, made_of, overwrite, report)
    n_cameras = len(cameras) if cameras else options.n_cameras
    n_images = options.n_sessions * options.n_frames * n_cameras
    left_out = _lost(data, inputs, body_model) if inputs.clips else ()
    return SynthesisRun(out, n_images, tuple(data_names), left_out)


def _write_store(
    out: Path,
    sessions: SessionSet,
    data: BodyModelData,
    options: PreprocessOptions,
    body_model_file: Path,
    made_of: MadeOf,
    overwrite: bool,
    report: ProgressCallback,
) -> None:
    # The file itself knows its labels, and not what its images look like.
    marker = out.with_name(f'{out.name}.{MARKER}')
    other = _refuse_other(marker, made_of, overwrite)
    write_text(marker, json.dumps(made_of.record(), indent=1))
    rendered = []
    with steps('placing labels', len(sessions), report) as step:
        for index in range(len(sessions)):
            result = list(sessions[index].each_animal().values())
            _ = result[0].visible
            rendered += result
            step()

    def written(done: int, total: int) -> None:
        report(Progress('rendering', done, total))

    write_dataset(
        rendered,
        out,
        data,
        options,
        body_model_file=body_model_file,
        progress=written,
        restart=other,
        overwrite=overwrite and other,
    )


def _refuse_other(marker: Path, made_of: MadeOf, overwrite: bool) -> bool:
    """Check whether a file was made, or begun, of other things.

    Raises:
        FileExistsError: it was, and must not be replaced.
    """
    if not marker.is_file():
        return False
    record = read_json(marker, 'the record of a synthesis', dict, _MOST_MARKER_BYTES)
    if record == made_of.record():
        return False
    if not overwrite:
        raise FileExistsError(
            f'{marker}: the dataset file beside it was made of other inputs or options. Give --overwrite to replace '
            'it, or choose another name.'
        )
    return True


def _write_folder(
    out: Path,
    sessions: SessionSet,
    data_names: Mapping[str, str],
    lookup: str | Path | None,
    made_of: MadeOf,
    overwrite: bool,
    report: ProgressCallback,
) -> None:
    outputs = OutputFolder(out, MARKER)
    with OutputLock.of_folder(out):
        for index in range(len(sessions)):
            _write_session(outputs, sessions, index, data_names, made_of, overwrite, report)
        with outputs.make('tables', made_of) as staging:
            table = staging / 'joint_lookup.csv'
            if lookup is None:
                write_exact_lookup(table, data_names, sessions.body.joint_names)
            else:
                table.write_bytes(Path(lookup).read_bytes())
            if sessions.body.n_betas:
                for index in range(len(sessions)):
                    for session in sessions[index].each_animal(visible=False).values():
                        betas = session.true_params.betas[0].numpy()
                        add_shape_betas(staging / 'shape_betas.csv', session.name, betas)


def _write_session(
    outputs: OutputFolder,
    sessions: SessionSet,
    index: int,
    data_names: Mapping[str, str],
    made_of: MadeOf,
    overwrite: bool,
    report: ProgressCallback,
) -> None:
    name = sessions.session_name(index)
    # How many sessions there are changes none of them.
    own = MadeOf(made_of.inputs, {k: v for k, v in made_of.options.items() if k != 'n_sessions'})
    known = outputs.made_of(name)
    if known not in (None, own.record()) and not overwrite:
        raise FileExistsError(
            f'{outputs.folder / name}: was made of other inputs or options. Give --overwrite to replace it, or '
            'choose another folder.'
        )
    if outputs.holds(name, own):
        return
    session = sessions[index]
    total = session.n_frames * len(session.cameras)
    with outputs.make(name, own) as staging, steps(f'rendering {name}', total, report) as step:
        write_rendered_session(staging / name, session, data_names, progress=step)


def _keypoints(data: BodyModelData, inputs: SynthesisInputs) -> tuple[BodyModelData, dict[str, str]]:
    """Return the model with the landmarks of the lookup, and what is labelled: model keypoint -> annotated name."""
    if inputs.joint_lookup is not None:
        if inputs.keypoint_set is not None:
            raise ValueError('synthesize: one of --joint-lookup and --keypoint-set must be given; got both.')
        data = body_with_lookup(data, inputs.joint_lookup)
        lookup = read_joint_lookup(inputs.joint_lookup)
        known = (*data.joint_names, *keypoint_definitions(data))
        check_lookup(lookup, model_names=known, where=str(inputs.joint_lookup))
        return data, lookup
    sets = data.keypoint_sets
    chosen = inputs.keypoint_set or next(iter(sets), JOINTS)
    if chosen not in sets and chosen != JOINTS:
        near = did_you_mean(chosen, [*sets, JOINTS])
        raise UnknownNameError(f'{data.name}: no keypoint set {chosen!r}. {near}')
    names = data.joint_names if chosen == JOINTS and JOINTS not in sets else tuple(sets[chosen])
    return data, {name: name for name in names}


def _motion(data: BodyModelData, inputs: SynthesisInputs, model: str | Path, fps: float) -> PoseSource | None:
    if not inputs.clips:
        return _poses(data, inputs)
    if inputs.poses:
        raise ValueError('synthesize: one of --clips and --poses must be given; got both. Leave one out.')
    path = beside(model, '.clips.npz')
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: --clips needs the clips of the model; they are not there. Import a rig that has clips '
            '(`smilfit model import`), or leave --clips out.'
        )
    clips = read_clips(path).values()
    if any(c.arrays['body_pose'].shape[1] != data.n_joints - 1 for c in clips):
        raise ValueError(
            f'{path}: clips must be of the {data.n_joints} joints of {data.name}; they are not. Import again.'
        )
    return ClipMotion([(c.times_s, clip_frames(c, data)) for c in clips], fps, body_axes(data).up)


def _lost(data: BodyModelData, inputs: SynthesisInputs, model: str | Path) -> tuple[str, ...]:
    return clips_without_place(read_clips(beside(model, '.clips.npz')).values(), data)


def _texture(data: BodyModelData, inputs: SynthesisInputs, model: str | Path) -> SkinTexture | None:
    path = beside(model, '.texture.npz')
    return read_skin_texture(path, data.n_vertices) if inputs.clips and path.is_file() else None


def _poses(data: BodyModelData, inputs: SynthesisInputs) -> GivenPoses | None:
    if not inputs.poses:
        return None
    source = GivenPoses(torch.cat([read_poses(path) for path in inputs.poses]))
    source.bind(data)
    return source


def _cameras(inputs: SynthesisInputs) -> Cameras | None:
    if inputs.calibration is None:
        return None
    cameras = read_calibration(inputs.calibration, inputs.unit)
    for name in inputs.exclude_cameras:
        if name not in cameras.names:
            raise UnknownNameError(
                f'{inputs.calibration}: no camera {name!r} to exclude. {did_you_mean(name, cameras.names)}'
            )
    kept = [name for name in cameras.names if name not in inputs.exclude_cameras]
    if not kept:
        raise ValueError('synthesize: one camera at least must be left; got none. Exclude fewer.')
    return resized(cameras.select(kept), inputs.downscale)


def _content(
    data: BodyModelData,
    names: Mapping[str, str],
    cameras: Cameras | None,
    photos: Photos,
    poses: PoseSource | None,
    texture: SkinTexture | None,
) -> dict[str, object]:
    """Hash all that images depend on beside the options."""
    inputs: dict[str, object] = {'body_model': data.content_hash(), 'keypoints': dict(names)}
    if cameras is not None:
        values = [getattr(cameras, n) for n in ('K', 'R', 't', 'size', 'dist')]
        arrays = [v.numpy() for v in values if v is not None]
        inputs['cameras'] = [list(cameras.names), cameras.unit, _hashed(arrays)]
    if photos is not NO_PHOTOS:
        inputs['photos'] = [list(photos.of_camera), _hashed(photos.all)]
    if isinstance(poses, GivenPoses):
        inputs['poses'] = _hashed([poses.poses.numpy()])
    if isinstance(poses, ClipMotion):
        inputs['clips'] = _hashed(
            [t.numpy() for c in poses.clips for t in (c.turns, c.places, c.scale, c.betas)]
        )
    if texture is not None:
        inputs['texture'] = _hashed([texture.image, texture.uv])
    return inputs


def _hashed(arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
