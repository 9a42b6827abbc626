"""Make mmengine's own classes findable from scope `smilfit` without a warning at each kind."""

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

from smilfit.registry.registries import SCOPE

# Kinds of which smilfit has no classes of its own; mmengine warns where a scope lacks the registry.
_ROOTS = (
    'EVALUATOR',
    'FUNCTIONS',
    'LOG_PROCESSORS',
    'LOOPS',
    'MODEL_WRAPPERS',
    'OPTIMIZERS',
    'PARAM_SCHEDULERS',
    'RUNNERS',
    'RUNNER_CONSTRUCTORS',
    'VISBACKENDS',
    'VISUALIZERS',
    'WEIGHT_INITIALIZERS',
)


def declare_scope() -> None:
    """Make a child of our scope in each of mmengine's registries; a second call changes nothing."""
    for name in _ROOTS:
        root = getattr(mmengine_registry, name)
        if SCOPE not in root.children:
            Registry(root.name, scope=SCOPE, parent=root, locations=['smilfit.networks.engine.registered'])
