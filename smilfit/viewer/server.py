"""The web server of a page, by viser, and how to reach it from another machine."""

import getpass
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import Any

import rich

from smilfit.viewer.model_scene import ModelScene
from smilfit.viewer.scene import Scene

DEFAULT_PORT = 8080


def import_viser() -> ModuleType:
    """Import the web viewer's library.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise ImportError(
            "view: the package viser must be installed; it is not. Install it by pip install 'smilfit[view]'."
        ) from error
    return viser


class ViewerServer:
    """Serves one scene until it is stopped; pages may be opened, closed and loaded again at any time.

    Args:
        scene: what to show.
        host: the address to listen at: `localhost` for this machine alone (and tunnels to it), `0.0.0.0` for all.
        port: where; the next free one if it is taken. 0 takes any.
    """

    def __init__(self, scene: Scene | ModelScene, host: str = 'localhost', port: int = DEFAULT_PORT) -> None:
        viser = import_viser()
        from smilfit.viewer.model_editor import EditedScene, ModelEditor
        from smilfit.viewer.model_page import ModelPage
        from smilfit.viewer.scene_page import ScenePage

        self.scene, self.host = scene, host
        # A browser that goes away in the middle of a word is no error of anybody's.
        logging.getLogger('websockets').setLevel(logging.CRITICAL)
        with _quiet():
            self.server: Any = viser.ViserServer(
                host=host, port=port or _free_port(), label=scene.title, verbose=False
            )
        self.server.gui.configure_theme(show_logo=False, show_share_button=False, control_width='large')
        self.page: ScenePage | ModelPage
        if isinstance(scene, EditedScene):
            self.page = ModelEditor(self.server, scene)
        elif isinstance(scene, ModelScene):
            self.page = ModelPage(self.server, scene)
        else:
            self.page = ScenePage(self.server, scene)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.get_port()

    @property
    def url(self) -> str:
        """Address of the page on this machine."""
        return f'http://localhost:{self.port}'

    @property
    def tunnel(self) -> str:
        """The command that makes the page reachable from another machine by the same address."""
        return f'ssh -L {self.port}:localhost:{self.port} {getpass.getuser()}@{socket.gethostname()}'

    def stop(self) -> None:
        """Stop drawing and listening."""
        self.page.close()
        with _quiet():
            self.server.stop()

    def __enter__(self) -> 'ViewerServer':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep viser from printing where it listens, which it does however it is asked."""
    console = rich.get_console()
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(('localhost', 0))
        return found.getsockname()[1]
