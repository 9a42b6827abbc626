"""What commands that open a page in the browser share: where to listen, and what to say while they do."""

import argparse
import threading
from typing import TYPE_CHECKING

from smilfit.cli.argument_types import int_from

if TYPE_CHECKING:
    from smilfit.viewer import ModelScene, Scene

ON_A_SERVER = (
    'On a server: leave it running there, give the ssh command that it prints on your own machine, and open the '
    'address there. Ctrl-C ends it.'
)


def add_address(parser: argparse.ArgumentParser, everybody: str) -> None:
    """Add `--host` and `--port`; `everybody` says what others can do where the host is open to them."""
    parser.add_argument(
        '--host',
        default='localhost',
        help=f'address to listen at; 0.0.0.0 lets everybody {everybody} (default: %(default)s)',
    )
    parser.add_argument(
        '--port',
        type=int_from(0, 65535),
        default=8080,
        help='the next free one if taken (default: %(default)s)',
    )


def serve(scene: 'Scene | ModelScene', host: str, port: int, description: str) -> None:
    """Show a scene until the process is stopped."""
    # Imported late: --help should not wait for viser.
    from smilfit.viewer.server import ViewerServer

    with ViewerServer(scene, host, port) as server:
        print(description)
        print(f'open {server.url}', flush=True)
        print(f'from another machine: {server.tunnel}  and open the same address there', flush=True)
        print('Ctrl-C ends it.', flush=True)
        threading.Event().wait()
