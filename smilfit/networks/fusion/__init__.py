"""Modules that join the views."""

from smilfit.networks.fusion.cross_view import CrossViewFusion, RayEmbedding

__all__ = ['CrossViewFusion', 'RayEmbedding']
