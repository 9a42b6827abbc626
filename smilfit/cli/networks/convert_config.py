"""`convert-config`: a JSON config of SMILify's training becomes a config of smilfit."""

from dataclasses import dataclass

from smilfit.apis.network_options import ConversionOptions
from smilfit.cli.command import command
from smilfit.cli.parser import keywords_of
from smilfit.options.fields import option


@dataclass(frozen=True, kw_only=True)
class Arguments(ConversionOptions):
    """A command line of `convert_config`."""

    source: str = option(help='the config', positional=True, metavar='FILE.json')
    out: str = option(help='the config to write', positional=True, metavar='OUT.py')


@command(
    Arguments,
    'convert_config',
    (
        'Convert a JSON config of SMILify ("mode": "singleview" or "multiview"): the same network, losses, '
        'curriculum and schedule. What has no meaning here is listed in the file, each with why.'
    ),
)
def main(options: Arguments) -> None:
    """Run the command."""
    from smilfit.smilify.config import convert_smilify_config

    done = convert_smilify_config(**keywords_of(options))
    print(f'config: {done.path}')
    for line in done.told:
        print(f'  {line}')
