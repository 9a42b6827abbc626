"""Readers of annotation formats, one a file."""

from smilfit.io.annotations.base import AnnotationReader

__all__ = ['AnnotationReader']
