"""The web server of a page, by viser, and how to reach it from another machine."""

import getpass
import http
import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import rich

from smilfit.apis.viewer.border import HOME, Border, RefusedError, addresses_in_network, listen
from smilfit.apis.viewer.model_scene import ModelScene
from smilfit.apis.viewer.page_messages import PageMessages
from smilfit.apis.viewer.scene import Scene

if TYPE_CHECKING:
    import viser
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    Pages = Callable[[ServerConnection, Request], Response | None]

Made = TypeVar('Made')
# The module of viser that serves.
_SERVING = 'viser.infra._infra'
_START_S, _ANSWER_S = 60.0, 20.0
# What a page sends is small: a camera, or the value of a control.
_LARGEST_MESSAGE = 2**18
_ONE_AT_A_TIME = threading.Lock()
# The page is one file with all in it: it asks no other machine for anything, and nobody shows it inside his own.
_HEADERS = {
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
}


def start_viser(border: Border, listener: socket.socket, title: str) -> 'viser.ViserServer':
    """Start viser at a socket, behind a border.

    Args:
        border: who may open the page.
        listener: listens at the border's address and port; the server closes it.
        title: the page's.

    Returns:
        A `viser.ViserServer`.

    Raises:
        ImportError: this version of viser serves in another way.
        RuntimeError: it does not start.
    """
    import msgspec.msgpack
    import viser
    import websockets.asyncio.server as serving

    messages = PageMessages(msgspec.msgpack.decode)
    hook = _Hook(border, listener, messages, serving.serve)
    with _ONE_AT_A_TIME:
        serving.serve = hook.serve  # type: ignore[assignment, misc]
        try:
            server = _started(
                lambda: viser.ViserServer(host=border.address, port=border.port, label=title, verbose=False),
                hook,
            )
        finally:
            serving.serve = hook.original  # type: ignore[assignment, misc]
    try:
        hook.check()
        controls = server.gui._gui_input_handle_from_uuid
        _try_out(border, messages, f'viser-v{viser.__version__}')
    except (AttributeError, OSError, RefusedError, TimeoutError, http.client.HTTPException) as error:
        server.stop()
        raise ImportError(
            f'view: viser must serve behind a code; viser {viser.__version__} does not ({error}). Install another '
            "version: pip install 'viser==1.1.1'."
        ) from error
    messages.controls = controls
    return server


class _Hook:
    """Stands in for `websockets.asyncio.server.serve` while viser starts."""

    def __init__(
        self, border: Border, listener: socket.socket, messages: PageMessages, original: Callable[..., object]
    ) -> None:
        self.border, self.listener, self.messages, self.original = border, listener, messages, original
        self.calls = 0

    def serve(self, handler: object, host: object = None, port: object = None, **options: Any) -> object:
        """Serve viser's handler at our socket behind our border; other servers that start meanwhile, as they ask."""
        if getattr(handler, '__module__', '') != _SERVING:
            return self.original(handler, host, port, **options)
        self.calls += 1
        if self.calls > 1:
            # It tries one port after another where it cannot listen.
            raise RuntimeError('view: the server of the page does not start.')
        pages = options.pop('process_request')
        options['max_size'] = _LARGEST_MESSAGE
        return self.original(
            handler,
            sock=self.listener,
            process_request=_guarded(self.border, pages),
            create_connection=_connection(self.messages),
            **options,
        )

    def check(self) -> None:
        """Check that viser came this way.

        Raises:
            RefusedError: it did not.
        """
        if self.calls != 1:
            raise RefusedError('it serves in another way')


def _guarded(border: Border, pages: 'Pages') -> 'Pages':
    """Put a border before viser's own answers, pages and websockets alike."""
    from websockets.http11 import Request

    def process_request(connection: 'ServerConnection', request: Request) -> 'Response | None':
        response: Response | None
        headers = request.headers
        try:
            path = border.admit(request.path, headers.get_all('Host'), headers.get_all('Origin'))
        except RefusedError as refusal:
            response = connection.respond(http.HTTPStatus.FORBIDDEN, f'{refusal}\n')
        else:
            response = pages(connection, Request(path, headers))
        if response is not None:
            for name, value in _HEADERS.items():
                response.headers[name] = value
            response.headers['Content-Security-Policy'] = _policy(headers['Host'])
        return response

    return process_request


def _policy(host: str) -> str:
    return (
        "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob: data:; style-src 'unsafe-inline'; "
        f'img-src data: blob:; font-src data:; media-src data: blob:; worker-src blob: data:; connect-src '
        f"ws://{host} data: blob:; frame-src 'none'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
    )


def _connection(messages: PageMessages) -> type:
    """Return the class of connections that hand viser only what a page may send."""
    from websockets.asyncio.server import ServerConnection

    class PageConnection(ServerConnection):
        async def recv(self, *args: Any, **options: Any) -> Any:
            while True:
                raw = await super().recv(*args, **options)
                if messages.takes(raw):
                    return raw

    return PageConnection


def _started(make: Callable[[], Made], hook: _Hook) -> Made:
    """Make the server in a thread: viser waits for ever for one of its own that fails.

    Raises:
        RuntimeError: it does not start.
    """
    made: list[Made] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            made.append(make())
        except BaseException as error:  # Raised below, in the thread that waits.
            errors.append(error)

    starting = threading.Thread(target=run, daemon=True, name='smilfit-view-start')
    starting.start()
    end = time.monotonic() + _START_S
    while starting.is_alive() and hook.calls < 2 and time.monotonic() < end:
        starting.join(0.05)
    if errors:
        raise errors[0]
    if not made:
        raise RuntimeError('view: the server of the page does not start.')
    return made[0]


def _try_out(border: Border, messages: PageMessages, protocol: str) -> None:
    """Ask for the page and its websocket, rightly and wrongly.

    Raises:
        RefusedError: an answer is not what it must be.
    """
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    own = f'{border.here}:{border.port}' if ':' not in border.here else f'[{border.here}]:{border.port}'
    for path, host, status in (
        (f'/{border.code}/', own, 200),
        ('/', own, 403),
        (f'/{border.code}/', 'another.example', 403),
    ):
        page = http.client.HTTPConnection(border.here, border.port, timeout=_ANSWER_S)
        try:
            page.request('GET', path, headers={'Host': host})
            if page.getresponse().status != status:
                raise RefusedError(f'a page is given without its code, or not with it: {status} was due')
        finally:
            page.close()
    for path, origin in (('', f'http://{own}'), (f'{border.code}/', 'http://another.example')):
        try:
            with connect(f'ws://{own}/{path}', sock=_reached(border), origin=origin, subprotocols=[protocol]):  # type: ignore[arg-type, list-item]
                raise RefusedError('a websocket is opened without the code, or for another site')
        except InvalidStatus:
            # So it must be.
            continue
    before = messages.left_out
    with connect(f'ws://{own}/{border.code}', sock=_reached(border), subprotocols=[protocol]) as stranger:  # type: ignore[list-item]
        stranger.send(b'\x80')
        end = time.monotonic() + _ANSWER_S
        while messages.left_out == before:
            if time.monotonic() > end:
                raise RefusedError('what a page sends is not looked at')
            time.sleep(0.005)


def _reached(border: Border) -> socket.socket:
    # A socket of our own: no proxy of the environment is asked.
    return socket.create_connection((border.here, border.port), timeout=_ANSWER_S)


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
        self.scene = scene
        # A browser that goes away in the middle of a word is no error of anybody's.
        logging.getLogger('websockets').setLevel(logging.CRITICAL)
        listener = listen(host, port)
        try:
            self.border = Border(host, *listener.getsockname()[:2])
            with _quiet():
                self.server = start_viser(self.border, listener, scene.title)
        except BaseException:
            listener.close()
            raise
        self.server.gui.configure_theme(show_logo=False, show_share_button=False, control_width='large')
        try:
            self.page = scene.open_page(self.server, written)
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
