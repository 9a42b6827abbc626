"""The web server of a page, by viser, and how to reach it from another machine."""

import getpass
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import rich

from smilfit.viewer.border import HOME, Border, addresses_in_network, listen
from smilfit.viewer.guarded_viser import start_viser
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

    Whoever knows the page's address has the page, nobody else: it holds a code that is new each time.

    Args:
        scene: what to show.
        host: a name or an address of this machine to listen at: `localhost` for this machine alone (and tunnels to
            it), `0.0.0.0` for all networks that it is in.
        port: where; the next free one if it is taken. 0 takes any.
        written: is told every file that the page writes.

    Raises:
        ImportError: viser is not installed, or a version of it that does not serve behind a code.
        OSError: no such port may be listened at.
        ValueError: no such host.
    """

    def __init__(
        self,
        scene: Scene | ModelScene,
        host: str = 'localhost',
        port: int = DEFAULT_PORT,
        written: Callable[[Path], None] = lambda path: None,
    ) -> None:
        import_viser()
        from smilfit.viewer.model_editor import EditedScene, ModelEditor
        from smilfit.viewer.model_page import ModelPage
        from smilfit.viewer.scene_page import ScenePage

        self.scene = scene
        # A browser that goes away in the middle of a word is no error of anybody's.
        logging.getLogger('websockets').setLevel(logging.CRITICAL)
        listener = listen(host, port)
        try:
            self.border = Border(host, *listener.getsockname()[:2])
            with _quiet():
                self.server: Any = start_viser(self.border, listener, scene.title)
        except BaseException:
            listener.close()
            raise
        self.server.gui.configure_theme(show_logo=False, show_share_button=False, control_width='large')
        self.page: ScenePage | ModelPage
        try:
            if isinstance(scene, EditedScene):
                self.page = ModelEditor(self.server, scene, written)
            elif isinstance(scene, ModelScene):
                self.page = ModelPage(self.server, scene)
            else:
                self.page = ScenePage(self.server, scene)
        except BaseException:
            with _quiet():
                self.server.stop()
            raise

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.border.port

    @property
    def url(self) -> str:
        """Address of the page on this machine, with the code that opens it."""
        return self.border.url(self.border.here)

    @property
    def urls_in_network(self) -> list[str]:
        """Addresses of the page for other machines; none where it listens for this one alone."""
        if not self.border.everybody:
            return []
        return [self.border.url(address) for address in addresses_in_network(self.port)]

    @property
    def tunnel(self) -> str:
        """The command that brings the page to another machine, there at `tunnel_url`."""
        here = self.border.here if ':' not in self.border.here else f'[{self.border.here}]'
        return f'ssh -L {self.port}:{here}:{self.port} {getpass.getuser()}@{socket.gethostname()}'

    @property
    def tunnel_url(self) -> str:
        """Address of the page at the other end of the tunnel."""
        return self.border.url(HOME)

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
