"""AniMer's network (SMAL of one image) and its checkpoints."""

from smilfit.networks.animer.network import AnimalCrop, AnimerNetwork, AnimerPrediction, load_animer

__all__ = ['AnimalCrop', 'AnimerNetwork', 'AnimerPrediction', 'load_animer']
