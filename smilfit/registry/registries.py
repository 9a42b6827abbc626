"""The registries.

What mmengine has a root for (models, datasets, hooks, ...) is a child of that root, so that mmengine's
Runner finds it by `default_scope='smilfit'`. What only a fitting framework has is a root of our own: two
children of one scope under one mmengine parent would overwrite each other.

`locations` import a room the first time one of its names is asked for, so `import smilfit` stays light. Those of a
wing that was left out are passed over: what only it registers is an unknown name.
"""

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

from smilfit.registry.wings import wing_module

SCOPE = 'smilfit'


class _RoomsRegistry(Registry):
    """Imports the rooms of its names when one is first asked for, those of wings where they are there."""

    _imported: bool

    def import_from_location(self) -> None:
        """Import the rooms, once."""
        if not self._imported:
            for room in self._locations:
                wing_module(room)
            self._imported = True


def _root(name: str, *rooms: str, parent: Registry | None = None) -> Registry:
    return _RoomsRegistry(name, scope=SCOPE, parent=parent, locations=[f'smilfit.{room}' for room in rooms])


def _child(name: str, parent: Registry, *rooms: str) -> Registry:
    return _root(name, *rooms, parent=parent)


BODY_MODELS = _root('body model', 'body_models')
LOSSES = _root('loss', 'losses')
HANDLERS = _root('handler', 'handlers')
INPUTS = _root('input', 'handlers')
SOLVERS = _root('solver', 'solvers')
REGISTRANTS = _root('registrant', 'registrants', 'scans.registration', 'registrants.segmentation')
REGISTRANT_HOOKS = _root('registrant hook', 'registrants')
RENDERERS = _root('renderer', 'renderers')
SESSIONS = _root('session', 'io')
ANNOTATIONS = _root('annotation format', 'io')
SEGMENTERS = _root('segmenter', 'registrants.segmentation')
# Where the animal is in a frame, for networks that want crops.
BOX_FINDERS = _root('box finder', 'datasets')
# Functions path -> model data under the endings of their files, such as '.npz': not built from configs.
BODY_MODEL_READERS = _root('body model reader', 'body_models')
# Formats that a fit is written in, under their words on the command line: not built from configs.
EXPORTERS = _root('export format', 'io.exports')

MODELS = _child('model', MMENGINE_MODELS, 'networks.registered', 'smilify.regressor')
DATASETS = _child('dataset', MMENGINE_DATASETS, 'datasets')
DATA_SAMPLERS = _child('data sampler', MMENGINE_DATA_SAMPLERS, 'datasets')
TRANSFORMS = _child('transform', MMENGINE_TRANSFORMS, 'datasets')
METRICS = _child('metric', MMENGINE_METRICS, 'evaluation')
HOOKS = _child('hook', MMENGINE_HOOKS, 'networks.engine.registered')
OPTIM_WRAPPERS = _child('optim wrapper', MMENGINE_OPTIM_WRAPPERS, 'networks.engine.registered')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optim wrapper constructor', MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'networks.engine.registered'
)

REGISTRIES = (
    BODY_MODELS,
    LOSSES,
    HANDLERS,
    INPUTS,
    SOLVERS,
    REGISTRANTS,
    REGISTRANT_HOOKS,
    RENDERERS,
    SESSIONS,
    ANNOTATIONS,
    SEGMENTERS,
    BOX_FINDERS,
    MODELS,
    DATASETS,
    DATA_SAMPLERS,
    TRANSFORMS,
    METRICS,
    HOOKS,
    OPTIM_WRAPPERS,
    OPTIM_WRAPPER_CONSTRUCTORS,
)
