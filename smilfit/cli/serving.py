"""What commands that open a page in the browser share: where to listen, and what to say while they do."""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smilfit.apis.options import option

if TYPE_CHECKING:
    from smilfit.apis.viewer import ModelScene, Scene

ON_A_SERVER = (
    'The address that is printed holds a code, new each time: who has the whole address has the page, nobody else '
    'on this machine or in the network. On a server: leave it running there, give the ssh command that it prints on '
    'your own machine, and open the address there. Ctrl-C ends it.'
)


@dataclass(frozen=True)
class Address:
    """Where the page is."""

    host: str = option(
        'localhost',
        'name or address of this machine to listen at; 0.0.0.0 is all of them: everybody in the network whom you '
        'give the printed address with its code can look, and of model view change and save (nothing is encrypted '
        'on the way; a tunnel by ssh is)',
    )
    port: int = option(8080, 'the next free one if taken', low=0, high=65535)


def serve(scene: 'Scene | ModelScene', host: str, port: int, description: str) -> None:
    """Show a scene until the process is stopped."""
    # Imported late: --help should not wait for viser.
    from smilfit.apis.viewer.server import ViewerServer

    with ViewerServer(scene, host, port, written=lambda path: print(f'wrote {path}', flush=True)) as server:
        print(description)
        print(f'open {server.url}', flush=True)
        for url in server.urls_in_network:
            print(f'in the network: {url}', flush=True)
        print(f'from another machine: {server.tunnel}  and open {server.tunnel_url} there', flush=True)
        print(
            'The address is the key to the page: give it to nobody who should not have it. Ctrl-C ends it.',
            flush=True,
        )
        threading.Event().wait()
