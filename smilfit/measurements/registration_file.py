"""Read what a registration of a scan left: `registration.npz`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from smilfit.body_models import SMIL, BodyModelData
from smilfit.files import BadFileError, read_npz, reading
from smilfit.structures import BodyParams

REGISTRATION = 'registration.npz'
WHAT = 'a registration'


@dataclass(frozen=True)
class Registration:
    """A scan as a rigged model: V vertices of its own at rest, and J joints with sizes of their own.

    Args:
        name: of the specimen.
        unposed: rest vertices before pose, joint scales and joint offsets, model unit.
        log_joint_scales: of the joints.
        joint_offsets: of the joints, model unit.
        scale: world unit per model unit.
        unit: of the world; None where unknown.
        model_hash: content hash of the body model; None where the file does not say.
        joint_scale_mode: what scales mean; None takes the model's.
        absent: names of joints that the scan does not show.
        doubts: why the registration is not believable; empty where it may be.
        betas: of the model, which placed the joints when it was registered; None where the vertices did.
        path: where it was read.
    """

    name: str
    unposed: Float[np.ndarray, 'V 3']
    log_joint_scales: Float[np.ndarray, 'J 3'] | None
    joint_offsets: Float[np.ndarray, 'J 3'] | None
    scale: float = 1.0
    unit: str | None = None
    model_hash: str | None = None
    joint_scale_mode: str | None = None
    absent: tuple[str, ...] = ()
    betas: Float[np.ndarray, ' S'] | None = None
    doubts: tuple[str, ...] = ()
    path: Path | None = None

    def check(self, data: BodyModelData) -> 'Registration':
        """Check that it is of a model.

        Raises:
            ValueError: other counts, or another model's hash.
        """
        where = self.path or self.name
        if len(self.unposed) != data.n_vertices:
            raise ValueError(
                f'{where}: unposed must have the {data.n_vertices} vertices of {data.name}; got {len(self.unposed)}. '
                'Name the body model of the registration: --body-model FILE.'
            )
        for name in ('log_joint_scales', 'joint_offsets'):
            value = getattr(self, name)
            if value is not None and value.shape != (data.n_joints, 3):
                raise ValueError(
                    f'{where}: {name} must be ({data.n_joints}, 3), as {data.name} has joints; got {value.shape}. '
                    'Name the body model of the registration: --body-model FILE.'
                )
        known = (data.content_hash(), data.hash_without_landmarks())
        if self.model_hash is not None and self.model_hash not in known:
            raise ValueError(
                f'{where}: the body model must be the one of the registration ({self.model_hash}); got {data.name} '
                f'({known[0]}). Name it: --body-model FILE.'
            )
        return self

    def body_of(self, data: BodyModelData, joint_scale_mode: str | None = None) -> SMIL:
        """Give the model of this specimen alone: its vertices are the template, and it has no shape space."""
        self.check(data)
        own = replace(
            data,
            v_template=self.unposed,
            joints=self._joints(data),
            joint_regressor=None,
            shapedirs=None,
            shape_mean=None,
            shape_cov=None,
            shape_mixture=None,
            scaledirs=None,
            transdirs=None,
        )
        return SMIL(own, joint_scale_mode=self.joint_scale_mode or joint_scale_mode)

    def _joints(self, data: BodyModelData) -> Float[np.ndarray, 'J 3']:
        if data.joint_regressor is None:
            return data.joints
        if self.betas is None or len(self.betas) != data.n_betas or data.shapedirs is None:
            return data.joint_regressor @ self.unposed
        return data.joint_regressor @ (data.v_template + data.shapedirs @ self.betas)

    def joint_sizes(self, data: BodyModelData) -> tuple[Float[np.ndarray, 'J 3'], Float[np.ndarray, 'J 3']]:
        """Give the logarithms of joint scales, and joint offsets: the specimen's own, and those that betas drive.

        Args:
            data: the body model of the registration.
        """
        params = BodyParams.zeros(1, data.n_joints, data.n_betas, like=torch.zeros((), dtype=torch.float64))
        params = params.replace(
            log_joint_scales=_batch(self.log_joint_scales), joint_offsets=_batch(self.joint_offsets)
        )
        if self.betas is not None and len(self.betas) == data.n_betas:
            params = params.replace(betas=_batch(self.betas))
        scales, offsets = SMIL(data).double().joint_scales_and_offsets(params)
        none = np.zeros((data.n_joints, 3))
        return (
            none if scales is None else scales[0].log().numpy(),
            none if offsets is None else offsets[0].numpy(),
        )

    def at_rest(self, data: BodyModelData) -> BodyParams:
        """Give the parameters by which `body_of`'s model stands at rest, in the world's unit.

        Args:
            data: the body model of the registration.
        """
        log_scales, offsets = self.joint_sizes(data)
        params = BodyParams.zeros(1, data.n_joints, 0, like=torch.zeros((), dtype=torch.float64))
        return params.replace(
            scale=torch.tensor([self.scale], dtype=torch.float64),
            log_joint_scales=_batch(log_scales),
            joint_offsets=_batch(offsets),
        )


def _batch(value: np.ndarray | None) -> torch.Tensor | None:
    return None if value is None else torch.as_tensor(np.asarray(value, np.float64)).unsqueeze(0)


def find_registrations(path: str | Path) -> list[Path]:
    """Find registrations: a file, one in a folder, or those of the folders in it.

    Raises:
        FileNotFoundError: none is there.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if (path / REGISTRATION).is_file():
        return [path / REGISTRATION]
    found = sorted(path.glob(f'*/{REGISTRATION}'))
    if not found:
        raise FileNotFoundError(
            f'{path}: must hold {REGISTRATION}, or folders that do; none does. Make it by smilfit register.'
        )
    return found


def read_registration(path: str | Path) -> Registration:
    """Read a registration.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no registration, or numbers that are not finite.
    """
    path = Path(path)
    arrays = read_npz(path, what=WHAT)
    if 'unposed' not in arrays:
        raise BadFileError(
            f"{path}: {WHAT} must hold 'unposed'; got {', '.join(sorted(arrays)[:8])}. Is it {REGISTRATION}?"
        )
    with reading(path, WHAT):
        unposed = _numbers(arrays, 'unposed', (-1, 3), path)
        scale = _numbers(arrays, 'scale', (-1,), path)
        name = _text(arrays, 'name') or (
            path.parent.resolve().name if path.name == REGISTRATION else path.stem
        )
        assert unposed is not None
        return Registration(
            name,
            unposed,
            _numbers(arrays, 'log_joint_scales', (-1, 3), path),
            _numbers(arrays, 'joint_offsets', (-1, 3), path),
            1.0 if scale is None or not len(scale) else float(scale[0]),
            _text(arrays, 'unit') or None,
            _text(arrays, 'model_hash') or None,
            _text(arrays, 'joint_scale_mode') or None,
            tuple(str(joint) for joint in arrays.get('absent', ())),
            _numbers(arrays, 'betas', (-1,), path),
            tuple(str(doubt) for doubt in arrays.get('doubts', ())),
            path,
        )


def _numbers(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], path: Path
) -> np.ndarray | None:
    if name not in arrays or not arrays[name].size:
        return None
    value = np.asarray(arrays[name], np.float64).reshape(shape)
    if not np.isfinite(value).all():
        raise BadFileError(
            f'{path}: {name} must be finite; got {int((~np.isfinite(value)).sum())} NaN or inf. Register again.'
        )
    return value


def _text(arrays: Mapping[str, np.ndarray], name: str) -> str | None:
    return str(arrays[name]) if name in arrays and arrays[name].ndim == 0 else None
