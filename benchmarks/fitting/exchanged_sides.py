"""Left and right exchanged in recordings: labels and fits with and without putting them back first."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.fitting.mouse_session import EXCLUDED, open_session
from benchmarks.fitting.setting import Setting
from benchmarks.measuring import ROOT, Row, now, real_data
from smilfit.body_models import SMIL, load_body_model
from smilfit.registrants import SideUnswapper
from smilfit.registrants.swaps import KeypointPairs, exchanged, pairs_of
from smilfit.registry import build_registrant, read_config
from smilfit.structures import Keypoints2d
from smilfit.synthetic import SessionSet, SynthesisOptions, make_insect, make_quadruped

SHARES = (0.0, 0.05, 0.2)
NOISE_PX, RUN = 1.5, 8
# A frame of a fit is right if it is as near as this to the fit of clean labels, in shares of the body's length.
RIGHT = 0.02
CONFIG = 'configs/fit/multiview_keypoints_lm.py'

Kind = Callable[[tuple[int, int, int], float, torch.Generator], Tensor]


@dataclass(frozen=True)
class Recording:
    """A body and the labels of a recording of it."""

    name: str
    body: SMIL
    seen: Keypoints2d


def sides(setting: Setting) -> list[Row]:
    """Frames (%) whose labels are all on their side before and after, false exchanges, and frames whose fit is right.

    Fits are those of the shipped config: as it is, without `unswap`, and without robust losses besides. Right
    is what lies within 2 % of the body's length of the fit to clean labels, in the mean over keypoints.
    """
    rows = []
    for recording in _recordings(setting):
        pairs = pairs_of(recording.body.data, recording.seen.names)
        fits = _Fits(recording)
        for name, kind in list(KINDS.items())[: setting.size(None, 3)]:
            for share in setting.size(SHARES, SHARES[-1:]):
                if share or name == 'single pairs':
                    rows.append(_row(recording, pairs, fits, name, kind, share))
    return rows


def _row(
    recording: Recording, pairs: KeypointPairs, fits: '_Fits', name: str, kind: Kind, share: float
) -> Row:
    seen = recording.seen
    there = seen.visible[..., pairs.left] | seen.visible[..., pairs.right]
    mask = kind(there.shape, share, torch.Generator().manual_seed(3)) & there
    wrong = exchanged(seen, pairs, mask)
    start = now()
    found = SideUnswapper().mask(wrong, pairs)
    seconds = now() - start

    def clean(left: Tensor) -> float:
        return 100 * float((~left.flatten(1).any(1)).float().mean())

    return {
        'recording': recording.name,
        'exchanged': name if share else 'nothing',
        'share': share,
        'labels right before, % of frames': clean(mask),
        'after': clean((found ^ mask) & there),
        'pairs exchanged': int(mask.sum()),
        'missed': int((mask & ~found).sum()),
        'false': int((found & ~mask & there).sum()),
        'of pairs': int(there.sum()),
        'fit right, put back': fits.right(wrong),
        'fit right, robust loss alone': fits.right(wrong, unswap=None),
        'fit right, neither': fits.right(wrong, unswap=None, robust=False),
        'ms a frame': 1e3 * seconds / len(mask),
        'note': '',
    }


class _Fits:
    """Fits of the shipped config, held against the one of clean labels."""

    def __init__(self, recording: Recording) -> None:
        self.body, self.seen = recording.body, recording.seen
        self.clean = self._points(recording.seen)
        known = self.clean[recording.seen.visible.any(1).any(1)]
        self.length = float((known.amax(1) - known.amin(1)).norm(dim=-1).median())

    def right(self, seen: Keypoints2d, robust: bool = True, **changes: Any) -> float:
        """Give the share (%) of frames as near to the fit of clean labels as `RIGHT`."""
        apart = (self._points(seen, robust, **changes) - self.clean).norm(dim=-1).mean(1)
        return 100 * float((apart < RIGHT * self.length).float().mean())

    def _points(self, seen: Keypoints2d, robust: bool = True, **changes: Any) -> Tensor:
        cfg = copy.deepcopy(read_config(ROOT / CONFIG).to_dict())
        cfg.pop('default_scope', None)
        if not robust:
            cfg['handlers'][0]['mse_loss'] = {'type': 'KeypointMSELoss', 'reduction': 'mean'}
            cfg['stages'] = [{k: v for k, v in stage.items() if k != 'optimizer'} for stage in cfg['stages']]
        silent = logging.Logger('silent', logging.CRITICAL)
        fitter = build_registrant(
            {**cfg, 'body_model': self.body, 'verbose': False, 'logger': silent, **changes}
        )
        result = fitter([seen])
        with torch.no_grad():
            return self.body(result.params, seen.names).select(seen.names)


def _recordings(setting: Setting) -> list[Recording]:
    found = []
    folder = real_data()
    if folder is not None and not setting.quick:
        session = open_session(folder / 'mouse_sessions', EXCLUDED)
        body = load_body_model(folder / 'models' / 'SMILy_Mouse_static_joints.pkl')
        body = body.with_landmarks(session.landmarks(body.data))
        seen = session.keypoints2d()[slice(setting.size(None, 20))]
        found.append(Recording('real mouse', body, _single(seen)))
    options = SynthesisOptions(
        n_sessions=1, n_frames=setting.size(120, 20), n_cameras=3, size=(1280, 1024), memory_s=0.33
    )
    for make in setting.size((make_quadruped, make_insect), (make_quadruped,)):
        body = SMIL(make())
        made = SessionSet(body, body.joint_names, options)[0]
        seen = made.keypoints2d()
        noise = NOISE_PX * torch.from_numpy(np.random.default_rng(0).normal(size=seen.xy.shape))
        found.append(Recording(f'made {body.data.name}', body, _single(replace(seen, xy=seen.xy + noise))))
    return found


def _single(seen: Keypoints2d) -> Keypoints2d:
    return seen.to(torch.float32)


def _single_pairs(shape: tuple[int, int, int], share: float, rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng) < share


def _animals(shape: tuple[int, int, int], share: float, rng: torch.Generator) -> Tensor:
    return (torch.rand((*shape[:2], 1), generator=rng) < share).expand(shape)


def _one_camera(shape: tuple[int, int, int], share: float, rng: torch.Generator) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[:, 0] = torch.rand((shape[0], 1), generator=rng) < share
    return mask


def _runs(shape: tuple[int, int, int], share: float, rng: torch.Generator) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    for c in range(shape[1]):
        while float(mask[:, c].any(-1).float().mean()) < share:
            first = int(torch.randint(shape[0], (), generator=rng))
            mask[first : first + RUN, c] = True
    return mask


def _all_cameras(shape: tuple[int, int, int], share: float, rng: torch.Generator) -> Tensor:
    return (torch.rand((shape[0], 1, 1), generator=rng) < share).expand(shape)


KINDS: dict[str, Kind] = {
    'single pairs': _single_pairs,
    'whole animal, each camera': _animals,
    'whole animal, one camera': _one_camera,
    f'whole animal, runs of {RUN}': _runs,
    'whole animal, all cameras': _all_cameras,
}
