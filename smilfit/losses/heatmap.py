"""Cross-entropy of heat maps with Gaussians around the true places."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.heatmaps import gaussian_axes, inside_map, mixture_targets
from smilfit.losses.base import BaseLoss, Energies
from smilfit.registry import LOSSES


def heatmap_divergence(
    logits: Float[Tensor, 'N K h w'], px: Float[Tensor, 'N K 2'], stride: float, sigma_cells: float
) -> Float[Tensor, 'N K']:
    """Return KL(Gaussian || softmax of the map) of every map, in nats: 0 where they are equal.

    The cross-entropy with the Gaussian less the Gaussian's entropy. A Gaussian is the product of one of rows and
    one of columns, so the whole of it is never written out.
    """
    maps = logits.float()
    size = (maps.shape[-2], maps.shape[-1])
    rows, columns = gaussian_axes(px.float(), size, stride, sigma_cells)
    along_rows = (maps * columns.unsqueeze(-2)).sum(-1)
    expected = (along_rows * rows).sum(-1)
    entropy = torch.special.entr(rows).sum(-1) + torch.special.entr(columns).sum(-1)
    return maps.flatten(2).logsumexp(-1) - expected - entropy


@LOSSES.register_module()
class HeatmapLoss(BaseLoss):
    """Compare each keypoint's map with a Gaussian around its place, by cross-entropy less the Gaussian's entropy.

    A perfect map costs 0, a map that knows nothing about log(h w) less the Gaussian's entropy. Points of weight 0,
    and those outside of the map, take no part, whatever their px. It is the mean over the others by weight.

    Args:
        sigma_cells: standard deviation of the Gaussian, cells of the map.
        reduction: see `BaseLoss`.
        loss_weight: factor on the result.
    """

    def __init__(self, sigma_cells: float = 1.25, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if not sigma_cells > 0:
            raise ValueError(f'HeatmapLoss: sigma_cells must be positive; got {sigma_cells}.')
        self.sigma_cells = sigma_cells

    def energy(
        self,
        logits: Float[Tensor, 'N K h w'],
        px: Float[Tensor, 'N K 2'],
        weight: Float[Tensor, 'N K'],
        stride: float,
    ) -> Energies:
        """State the divergence of each map, with its weight.

        Args:
            logits: of the maps.
            px: true places, px of the images that the maps lie over.
            weight: of each place.
            stride: px a cell.
        """
        with torch.autocast(logits.device.type, enabled=False):
            size = (logits.shape[-2], logits.shape[-1])
            weight = weight.float() * inside_map(px, size, stride)
            place = torch.where((weight > 0).unsqueeze(-1), px, torch.zeros_like(px))
            return Energies(heatmap_divergence(logits, place, stride, self.sigma_cells), weight)


@LOSSES.register_module()
class CentreHeatmapLoss(BaseLoss):
    """Compare the map of the animals' centres with Gaussians around all of them, equally much around each.

    Where not all animals of an image are known, the map is compared in a region around the known ones alone, so that
    nothing is said against the others.

    Args:
        sigma_cells: standard deviation of the Gaussians, cells of the map; an animal's centre is no sharp place.
        reduction: see `BaseLoss`.
        loss_weight: factor on the result.
    """

    def __init__(self, sigma_cells: float = 2.5, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if not sigma_cells > 0:
            raise ValueError(f'CentreHeatmapLoss: sigma_cells must be positive; got {sigma_cells}.')
        self.sigma_cells = sigma_cells

    def energy(
        self,
        logits: Float[Tensor, 'N h w'],
        px: Float[Tensor, 'N A 2'],
        weight: Float[Tensor, 'N A'],
        stride: float,
        region: Bool[Tensor, 'N h w'] | None = None,
    ) -> Energies:
        """State KL(Gaussians || softmax of the map) of each image; one without animals has weight 0.

        Args:
            logits: of the maps.
            px: centres of up to A animals an image.
            weight: 1 where there is one, else 0; centres outside of the map take no part.
            stride: px a cell.
            region: cells that take part, both map and Gaussians sum to 1 over these; all where None. An image
                without any has weight 0.
        """
        with torch.autocast(logits.device.type, enabled=False):
            maps, size = logits.float(), (logits.shape[-2], logits.shape[-1])
            weight = weight.float() * inside_map(px, size, stride)
            target = mixture_targets(px.float(), weight, size, stride, self.sigma_cells)
            known = weight.sum(-1) > 0
            among = maps
            if region is not None:
                target = target * region
                share = target.sum((-1, -2), keepdim=True)
                known = known & (share.flatten() > 0)
                target = target / share.clamp_min(1e-9)
                # A row without any cell would have no finite logarithm.
                among = maps.masked_fill(~region & known[:, None, None], -torch.inf)
            entropy = torch.special.entr(target).sum((-1, -2))
            cross = among.flatten(1).logsumexp(-1) - (target * maps).sum((-1, -2))
            return Energies(cross - entropy, known.to(cross))
