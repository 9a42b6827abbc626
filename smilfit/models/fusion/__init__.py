"""Modules that join the views."""

from smilfit.models.fusion.cross_view import CrossViewFusion, RayEmbedding

__all__ = ['CrossViewFusion', 'RayEmbedding']
