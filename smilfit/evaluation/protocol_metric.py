"""Published protocols as a metric of a trained regressor's test."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from mmengine.evaluator import BaseMetric

from smilfit.body_models import SMIL
from smilfit.evaluation.left_out import as_float64
from smilfit.evaluation.protocols import ImageAnswer, evaluate
from smilfit.registry import METRICS
from smilfit.renderers import SilhouetteRenderer
from smilfit.structures import BodyParams, Cameras

# What a stored image's black border may be after its compression, of 1.
_BLACK = 0.02


@METRICS.register_module()
class ProtocolMetric(BaseMetric):
    """Score each view of each sample by published protocols; metrics are named `PROTOCOL/FIGURE`.

    Args:
        protocols: names of `PROTOCOLS`.
        body: draws predicted silhouettes, and has the vertices; without it there is no IoU and no PA-MPVPE.
        collect_device: where results of many processes meet, as mmengine's.
        prefix: put before each name.
    """

    default_prefix = ''

    def __init__(
        self,
        protocols: Sequence[str],
        body: SMIL | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.protocols, self.body = tuple(protocols), body

    def process(self, data_batch: Mapping[str, Any], data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep each view that is there."""
        meta = self.dataset_meta or {}
        names, still = meta.get('session_names', ()), meta.get('still_sessions', ())
        for i, sample in enumerate(data_samples):
            truth = sample['truth']
            session, frame = int(truth['session']), int(truth['frame'])
            # Numbers of single images are no moments: none follows another one.
            frame *= 2 if session < len(names) and names[session] in still else 1
            shown = data_batch['inputs']['image'][i].cpu()
            skins = self._skins(sample, truth)
            known3d = as_float64(truth['confidence3d']) > 0
            points = np.where(known3d[:, None], as_float64(truth['keypoints3d']), np.nan)
            for c in np.flatnonzero(as_float64(sample['view_mask'])).tolist():
                side = shown.shape[-1]
                has_mask = 'mask' in truth and bool(truth['has_mask'][c])
                mask = as_float64(truth['mask'][c]) > 0 if has_mask else None
                covered = self._silhouette(sample, skins[0], c, side, mask)
                self.results.append(
                    ImageAnswer(
                        predicted=as_float64(sample['keypoints2d'][c]),
                        truth=as_float64(truth['keypoints2d'][c]),
                        weight=as_float64(truth['confidence2d'][c]),
                        side=float(side),
                        mask=mask,
                        silhouette=covered,
                        inside=None if mask is None else inside_of(shown[c].float(), mask.shape[0]),
                        predicted3d=as_float64(sample['keypoints3d']) if c == 0 else None,
                        truth3d=points if c == 0 and known3d.any() else None,
                        predicted_skin=skins[0] if c == 0 else None,
                        truth_skin=skins[1] if c == 0 else None,
                        sequence=1000 * session + c,
                        frame=frame,
                    )
                )

    def compute_metrics(self, results: list[ImageAnswer]) -> dict[str, float]:
        """Score all views."""
        names = (self.dataset_meta or {}).get('keypoint_names', ())
        if not names:
            raise ValueError(
                'ProtocolMetric: keypoint_names must be in the metainfo of the dataset; they are not.'
            )
        return {
            f'{protocol}/{figure}': value
            for protocol in self.protocols
            for figure, value in evaluate(protocol, results, names).items()
        }

    @torch.no_grad()
    def _skins(
        self, sample: Mapping[str, Any], truth: Mapping[str, Any]
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Pose the predicted body and the true one, where it is known."""
        if self.body is None or 'params' not in sample:
            return None, None
        known = 'params' in truth and bool(truth['has_params'])
        return self._skin(sample['params']), self._skin(truth['params']) if known else None

    def _skin(self, values: Mapping[str, torch.Tensor]) -> np.ndarray:
        assert self.body is not None
        params = BodyParams.of({n: v[None].to(self.body.v_template) for n, v in values.items()})
        return self.body(params, ('vertices',)).vertices[0].cpu().numpy()

    def _silhouette(
        self,
        sample: Mapping[str, Any],
        skin: np.ndarray | None,
        view: int,
        side: int,
        mask: np.ndarray | None,
    ) -> Bool[np.ndarray, 'S S'] | None:
        if mask is None or skin is None or self.body is None:
            return None
        K, R, t = (torch.as_tensor(sample['cameras'][n][view]).cpu().float()[None] for n in 'KRt')
        # Pixel centres are at integers.
        factor = mask.shape[0] / side
        affine = torch.tensor([[[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2]]])
        size = torch.full((1, 2), float(side))
        camera = Cameras(names=('view',), K=K, R=R, t=t, size=size).transformed(affine, size * factor)
        drawn = SilhouetteRenderer()(torch.from_numpy(skin)[None].float(), self.body.faces.cpu(), camera)
        return (drawn.alpha.reshape(mask.shape) > 0.5).numpy()


def inside_of(image: Float[torch.Tensor, '3 S S'], side: int) -> Bool[np.ndarray, 's s']:
    """Find where a crop shows its image: all but the rows and columns at its border that are black throughout."""
    bright = (image.amax(0) > _BLACK * max(float(image.max()), 1e-9)).numpy()
    result = np.zeros(bright.shape, np.bool_)
    rows, columns = (np.flatnonzero(bright.any(axis)) for axis in (1, 0))
    if len(rows):
        result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    place = ((np.arange(side) + 0.5) * len(result) / side).astype(int)
    return result[np.ix_(place, place)]
