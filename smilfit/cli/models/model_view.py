"""`smilfit model view`: look at a rigged model in the browser, and change its limits and keypoints."""

from dataclasses import dataclass

from smilfit.cli.command import command
from smilfit.cli.fitting.view import ON_A_SERVER, Address, description, serve
from smilfit.cli.models import model_or_rig

STOPPED = 'The viewer has ended. What was not saved is gone.'


@dataclass(frozen=True, kw_only=True)
class Arguments(Address):
    """A command line of `model view`."""

    model: str = model_or_rig()


@command(
    Arguments,
    'model view',
    (
        'Look at a rigged model in the browser: sliders for shape and joint angles (degrees), skinning '
        'weights as colours, keypoints. Limits may be changed, of both sides at once, and keypoints added: write a '
        'name, then click on the skin or take the chosen joint. Save writes a new .smil.json; no file is ever '
        'written over.'
    ),
    ON_A_SERVER,
    stopped=STOPPED,
)
def main(options: Arguments) -> int:
    """Run the command."""
    from smilfit.apis.viewer.server import import_viser

    # At once: what is missing is told before files are read.
    import_viser()
    from smilfit.rigs.model_editor import open_editor

    scene = open_editor(options.model)
    serve(scene, options.host, options.port, description(scene))
    return 0
