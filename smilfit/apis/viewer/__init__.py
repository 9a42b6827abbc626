"""Fits, body models and recordings in the browser: what is shown, and the page that shows it."""

from smilfit.apis.viewer.model_scene import ModelScene
from smilfit.apis.viewer.open_scene import open_scene
from smilfit.apis.viewer.scene import Scene, Shown
from smilfit.apis.viewer.server import ViewerServer

__all__ = ['ModelScene', 'Scene', 'Shown', 'ViewerServer', 'open_scene']
