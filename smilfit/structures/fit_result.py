"""What a registrant returns, and its file: an npz without pickles and a JSON side-car."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.files import BadFileError, read_json, read_npz, reading, replacing, shorten, write_text
from smilfit.structures.body import BodyOutput, BodyParams, by_blocks
from smilfit.structures.cameras import Cameras
from smilfit.structures.fit_covariance import SHARED_ARRAYS, FitCovariance, SharedUncertainty
from smilfit.structures.fit_record import (
    FitOrigin,
    FittedModel,
    FitVerdict,
    ModelReference,
    camera_arrays,
    cameras_of_arrays,
    contents,
    keypoint_arrays,
    keypoints_of_arrays,
    verdict_beside,
)
from smilfit.structures.keypoints import Keypoints3d
from smilfit.structures.parameters import PARAMETERS, parameter_names

logger = logging.getLogger('smilfit')

FORMAT = 'smilfit-fit'
# The newest version that is read. A file states the oldest that can hold it: 2 with further parameters.
FORMAT_VERSION = 2
# What the recorded cameras' arrays begin with.
RECORDED = 'recorded_camera'
# The body model itself, as `body_models.pack_model` gives it.
PACKED_MODEL = 'packed_body_model'
# Arrays of frames that had several starts.
TRIED = ('start_losses', 'start_orients')
FIRST_PARAMETERS = (
    'global_orient', 'transl', 'body_pose', 'betas', 'expression', 'scale', 'log_joint_scales', 'joint_offsets',
)  # fmt: skip


@dataclass(frozen=True)
class FitResult:
    """Fitted parameters with the history of how they were found.

    `history` holds one dict a stage (name, losses before and after, iterations, evaluations, why it stopped).
    `report` says what was ignored and counted. `body` is the body model, for `joints()` and `vertices()`; it is
    not stored in the file. `cameras` are the corrected ones where a stage moved them, and `covariance` is there
    where a solver was asked for it. `start` is where the first stage began. A frame without any observation is
    not fitted: its pose and place are NaN. `recorded_cameras` are those that saw, as calibrated, `keypoints3d` the
    fitted keypoints in the world's unit, and `model` names the body model; these the file keeps. Where frames had N
    starts, `start_losses` (B, N) are what they cost when they were compared, infinite where a frame did not have
    one, and `start_orients` (B, N, 3) the body's rotations in the world (axis-angle, rad) at their ends. `origin`
    says which recording was fitted and where the body model is found again, and `frames` are the numbers of its
    frames; files of before these were kept have neither. `verdict` is what lies beside the file.
    """

    params: BodyParams
    per_frame_loss: Float[Tensor, 'B']
    converged: Bool[Tensor, 'B']
    history: tuple[dict[str, Any], ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    body: Callable[..., BodyOutput] | None = field(default=None, repr=False)
    cameras: Cameras | None = None
    covariance: FitCovariance | None = field(default=None, repr=False)
    start: BodyParams | None = field(default=None, repr=False)
    recorded_cameras: Cameras | None = field(default=None, repr=False)
    keypoints3d: Keypoints3d | None = field(default=None, repr=False)
    model: FittedModel | None = None
    start_losses: Float[Tensor, 'B N'] | None = field(default=None, repr=False)
    start_orients: Float[Tensor, 'B N 3'] | None = field(default=None, repr=False)
    origin: FitOrigin | None = None
    frames: Int[Tensor, 'B'] | None = field(default=None, repr=False)
    verdict: FitVerdict | None = field(default=None, repr=False)

    @property
    def session(self) -> str | None:
        """Name of the fitted session; None where the file does not say."""
        return None if self.origin is None else self.origin.session

    @property
    def fps(self) -> float | None:
        """Frames per second of the recording; None where unknown."""
        return None if self.origin is None else self.origin.fps

    @property
    def reference(self) -> ModelReference:
        """What names the body model of the fit; files of before it was kept name a file, or nothing."""
        named = ModelReference() if self.origin is None else self.origin.reference
        return named if self.model is None else replace(named, content_hash=self.model.content_hash)

    @property
    def unit(self) -> str | None:
        """The world's unit; None where unknown."""
        named = (self.origin, self.keypoints3d, self.recorded_cameras)
        return next((x.unit for x in named if x is not None and x.unit), None)

    @property
    def annotated_cameras(self) -> Cameras | None:
        """The cameras of the annotated images: as the fit corrected them, with the lenses that they have.

        None where they are not known, as where the fit corrected those of single images' crops.
        """
        recorded = self.recorded_cameras
        if self.cameras is None or recorded is None or self.cameras.K.ndim == 4:
            return recorded if self.cameras is None else None
        return replace(self.cameras.to(recorded.K), dist=recorded.dist, fold=recorded.fold)

    @property
    def fitted(self) -> Bool[Tensor, 'B']:
        """Which frames were fitted."""
        return self.params.transl.isfinite().all(1)

    def expanded(self, observed: Bool[Tensor, 'N'], cameras: Cameras | None = None) -> 'FitResult':
        """Put the frames where `observed` is True among all N; what is one for all frames holds for the others too.

        Args:
            observed: which frames were fitted.
            cameras: those of all N frames, which hold where nothing was fitted.
        """
        rows = observed.nonzero().flatten().to(self.params.transl.device)
        count = len(observed)

        def spread(value: Tensor) -> Tensor:
            fill = False if value.dtype == torch.bool else torch.nan
            return value.new_full((count, *value.shape[1:]), fill).index_copy(0, rows, value)

        params = self.params.map(spread)
        start = None if self.start is None else self.start.map(spread)
        corrected = self.cameras
        if corrected is not None and corrected.K.ndim == 4:
            if cameras is None:
                raise ValueError(
                    'FitResult.expanded: cameras must be given where the fit corrected one of each frame; got None. '
                    'Give those of all frames.'
                )
            every = cameras if cameras.K.ndim == 4 else cameras.map(lambda x: x.expand(count, *x.shape))
            K = every.K.index_copy(0, rows, corrected.K)
            corrected = replace(every, K=K)
        for name, value in self.params.as_dict().items():
            if PARAMETERS[name].shared and bool((value == value[:1]).all()):
                params = params.replace(**{name: value[:1].expand(count, *value.shape[1:]).clone()})
        covariance = None if self.covariance is None else self.covariance.expanded(rows, count)
        return replace(
            self,
            params=params,
            start=start,
            cameras=corrected,
            per_frame_loss=spread(self.per_frame_loss),
            converged=spread(self.converged),
            covariance=covariance,
            start_losses=None if self.start_losses is None else spread(self.start_losses),
            start_orients=None if self.start_orients is None else spread(self.start_orients),
        )

    def _output(self, need: str) -> Tensor:
        if self.body is None:
            raise ValueError(
                'FitResult: the body model must be known for meshes and joints; got none. '
                'Load the file with FitResult.load(path, body=body).'
            )
        body, params = self.body, self.params
        with torch.no_grad():
            return by_blocks(params.batch_size, lambda rows: getattr(body(params[rows], need=(need,)), need))

    def joints(self) -> Float[Tensor, 'B J 3']:
        """Compute the fitted joints, world unit."""
        return self._output('joints')

    def vertices(self) -> Float[Tensor, 'B V 3']:
        """Compute the fitted vertices, world unit."""
        return self._output('vertices')

    def save(self, path: str | Path, **extra: np.ndarray) -> Path:
        """Write `path` (.npz) and `path` with .json; each appears whole or not at all, the JSON last.

        Args:
            path: the npz file's name.
            extra: arrays to store beside the parameters, such as frame indices.
        """
        path = Path(path).with_suffix('.npz')
        path.parent.mkdir(parents=True, exist_ok=True)
        start = {} if self.start is None else self.start.as_dict()
        parts = (
            self.params.as_dict(),
            {f'start_{name}': value for name, value in start.items()},
            {'per_frame_loss': self.per_frame_loss, 'converged': self.converged},
            _tried_arrays(self),
            {} if self.covariance is None else _covariance_arrays(self.covariance),
            camera_arrays(self.cameras),
            camera_arrays(self.recorded_cameras, RECORDED),
            keypoint_arrays(self.keypoints3d),
            {} if self.frames is None or 'frames' in extra else {'frames': self.frames},
            _packed_arrays(self.origin),
            extra,
        )
        arrays: dict[str, np.ndarray] = {}
        for part in parts:
            if clash := sorted(arrays.keys() & part):
                raise ValueError(
                    f'FitResult.save: arrays must have names of their own; got {clash} twice. Rename them.'
                )
            arrays |= {n: v.detach().cpu().numpy() if isinstance(v, Tensor) else v for n, v in part.items()}
        side_car = {
            'format': FORMAT,
            'version': 1 if set(self.params.as_dict()) <= set(FIRST_PARAMETERS) else 2,
            'parameters': list(self.params.as_dict()),
            'n_frames': self.params.batch_size,
            'body_model': None if self.model is None else self.model.record(),
            'origin': None if self.origin is None else self.origin.record(),
            'contents': contents(arrays, {n: PARAMETERS[n].unit for n in self.params.as_dict()}),
            'history': list(self.history),
            'report': self.report,
        }
        with replacing(path, sum(a.nbytes for a in arrays.values())) as temporary:
            with temporary.open('wb') as file:
                np.savez(file, **arrays)  # type: ignore[arg-type] # numpy's stub takes all keywords for its own.
            side_car['npz_sha256'] = hashlib.sha256(temporary.read_bytes()).hexdigest()
        # Last: it says which parameters it belongs to, so that a pair of two fits is seen.
        write_text(path.with_suffix('.json'), json.dumps(side_car, indent=1, default=float))
        return path

    @classmethod
    def load(
        cls, path: str | Path, body: Callable[..., BodyOutput] | None = None, allow_other_model: bool = False
    ) -> 'FitResult':
        """Read what `save` wrote. Of a covariance the file keeps `FitCovariance.sd`, not the whole matrix.

        Args:
            path: the npz file.
            body: the body model of the fit, for `joints()` and `vertices()`. Landmarks that the fit's session gave
                it come from the file: the result's `body` has them.
            allow_other_model: take a body model of other content than the fit's, and only warn.

        Raises:
            FileNotFoundError: one of the two files is not there.
            ValueError: not such files, damaged ones, ones of two fits, of a newer version, with a parameter that
                nobody has registered, or of another body model.
        """
        path = Path(path)
        side_car = _read_side_car(path)
        arrays = read_npz(path, what='fitted parameters')
        names = _parameter_names(path, side_car, arrays)
        with reading(path.with_suffix('.json'), 'the report of a fit'):
            stated = side_car.get('body_model')
            model = None if stated is None else FittedModel(**stated)
            # Files of earlier versions do not say.
            origin = side_car.get('origin')
            packed = arrays[PACKED_MODEL].tobytes() if PACKED_MODEL in arrays else None
            origin = None if origin is None else FitOrigin.from_record(origin, packed)
        _check_model(path, model, body, allow_other_model)
        body = _with_landmarks(path, model, body)
        with reading(path, 'fitted parameters'):
            start = {n: torch.from_numpy(arrays[f'start_{n}']) for n in names if f'start_{n}' in arrays}
            return cls(
                params=BodyParams.of({n: torch.from_numpy(arrays[n]) for n in names}).kept_once(),
                per_frame_loss=torch.from_numpy(arrays['per_frame_loss']),
                converged=torch.from_numpy(arrays['converged']),
                history=tuple(side_car['history']),
                report=side_car['report'],
                body=body,
                cameras=cameras_of_arrays(arrays),
                covariance=_covariance(arrays),
                start=BodyParams.of(start).kept_once() if start else None,
                recorded_cameras=cameras_of_arrays(arrays, RECORDED),
                keypoints3d=keypoints_of_arrays(arrays),
                model=model,
                origin=origin,
                frames=torch.from_numpy(arrays['frames']) if 'frames' in arrays else None,
                verdict=verdict_beside(path, len(arrays['converged'])),
                **{n: torch.from_numpy(arrays[n]) for n in TRIED if n in arrays},
            )


def _check_model(path: Path, model: FittedModel | None, body: Any, allow: bool) -> None:
    """Refuse a body model of other content than the fit's, whose numbers would make another animal of it."""
    data = getattr(body, 'data', None)
    if data is None:
        return
    if model is None:
        logger.info('%s: the file does not state its body model; %s is taken for it.', path, data.name)
    elif (result := FittedModel.of(data)).content_hash != model.content_hash:
        text = (
            f'{path}: the body model must be the one of the fit, {model.name} ({model.content_hash}); got '
            f'{result.name} ({result.content_hash}).'
        )
        if not allow:
            raise ValueError(f'{text} Load that one, or insist with allow_other_model=True.')
        logger.warning('%s It is taken as asked.', text)


def _with_landmarks(path: Path, model: FittedModel | None, body: Any) -> Any:
    """Return a body the landmarks of a fit, of which some offsets are among the parameters."""
    if model is None or not model.landmarks or not hasattr(body, 'with_recorded_landmarks'):
        return body
    return body.with_recorded_landmarks(model.landmarks, path.with_suffix('.json'))


def _tried_arrays(result: FitResult) -> dict[str, Tensor]:
    return {name: value for name in TRIED if (value := getattr(result, name)) is not None}


def _packed_arrays(origin: FitOrigin | None) -> dict[str, np.ndarray]:
    packed = None if origin is None or origin.body_model is None else origin.body_model.packed
    return {} if packed is None else {PACKED_MODEL: np.frombuffer(packed, np.uint8)}


def _read_side_car(path: Path) -> dict[str, Any]:
    """Read the JSON beside the parameters, and check that it is theirs."""
    beside, what = path.with_suffix('.json'), 'the report of a fit'
    side_car = read_json(beside, what, dict)
    with reading(beside, what):
        if side_car.get('format') != FORMAT or int(side_car.get('version', 0)) > FORMAT_VERSION:
            raise BadFileError(
                f'{beside}: format must be {FORMAT!r} up to version {FORMAT_VERSION}; got '
                f'{shorten(side_car.get("format"))} version {shorten(side_car.get("version"))}. Update smilfit.'
            )
        if not isinstance(side_car['history'], list) or not isinstance(side_car['report'], dict):
            raise TypeError('history must be a list and report an object')
    # Files of earlier versions do not say.
    expected = side_car.get('npz_sha256')
    with reading(path, 'fitted parameters'):
        if expected is not None and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise BadFileError(
                f'{path}: the parameters must be whole and those that {beside.name} tells of; they are not. '
                'Fit again.'
            )
    return side_car


def _parameter_names(path: Path, side_car: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Name the parameters of a file, all of which must be registered."""
    known, beside = parameter_names(of='body'), path.with_suffix('.json')
    with reading(beside, 'the report of a fit'):
        # Files of earlier versions do not say.
        names = list(side_car.get('parameters', [n for n in known if n in arrays]))
        for name in names:
            if name not in known:
                raise BadFileError(
                    f'{beside}: parameters must be registered; got {shorten(name)!r}. Import what registers it, such '
                    "as the file of the body model's class."
                )
    return names


def _covariance_arrays(covariance: FitCovariance) -> dict[str, np.ndarray]:
    return {
        **_shared_arrays(covariance.shared),
        'keypoint_covariance': covariance.keypoints.float().cpu().numpy(),
        'keypoint_names': np.array(covariance.keypoint_names, dtype=np.str_),
        'parameter_sd': covariance.parameter_sd().float().cpu().numpy(),
        'parameter_columns': np.array(covariance.columns, dtype=np.str_),
        'noise': np.array(covariance.noise),
    }


def _covariance(arrays: Mapping[str, np.ndarray]) -> FitCovariance | None:
    # Files of earlier versions state no noise.
    if 'noise' not in arrays:
        return None
    return FitCovariance(
        whole=None,
        columns=tuple(arrays['parameter_columns'].tolist()),
        keypoints=torch.from_numpy(arrays['keypoint_covariance']),
        keypoint_names=tuple(arrays['keypoint_names'].tolist()),
        noise=float(arrays['noise']),
        sd=torch.from_numpy(arrays['parameter_sd']),
        shared=_read_shared(arrays),
    )


def _shared_arrays(shared: SharedUncertainty | None) -> dict[str, np.ndarray]:
    if shared is None:
        return {}
    names, sizes = zip(*shared.names)
    result = {f'shared_{name}': getattr(shared, name).cpu().numpy() for name in SHARED_ARRAYS}
    return result | {'shared_names': np.array(names, dtype=np.str_), 'shared_sizes': np.array(sizes)}


def _read_shared(arrays: Mapping[str, np.ndarray]) -> SharedUncertainty | None:
    # Files of earlier versions keep none.
    if 'shared_names' not in arrays:
        return None
    names = tuple(zip(arrays['shared_names'].tolist(), arrays['shared_sizes'].tolist()))
    return SharedUncertainty(names, **{n: torch.from_numpy(arrays[f'shared_{n}']) for n in SHARED_ARRAYS})
