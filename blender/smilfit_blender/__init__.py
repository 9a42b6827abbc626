"""smilfit's add-on for Blender: body models, scans and fits of rigged animals.

Thin: models are text (`.smil.json`) that is read here; all else is done by smilfit's own commands, in a Python of
their own. `@VERSION@` and `@VERSION_TUPLE@` are put in where the add-on is packed (`tools/blender_addon.py`).
"""

bl_info = {
    'name': 'smilfit',
    'description': 'Body models, registered scans and fits of rigged animals',
    'author': 'The smilfit authors',
    'version': (0, 0, 0),  # @VERSION_TUPLE@
    'blender': (4, 2, 0),
    'location': '3D Viewport > Sidebar > smilfit; File > Import and Export',
    'category': 'Import-Export',
}

from . import (
    edit_operators,
    fit_operators,
    limit_operators,
    model_operators,
    model_properties,
    panel,
    preferences,
    registration_operators,
)

_MODULES = (
    preferences,
    model_properties,
    model_operators,
    edit_operators,
    limit_operators,
    registration_operators,
    fit_operators,
    panel,
)


def register():
    """Make the add-on's classes known to Blender."""
    for module in _MODULES:
        module.register()


def unregister():
    """Take them back, the last first."""
    for module in reversed(_MODULES):
        module.unregister()
