"""Attacks on the page of a body model: by other sites, by other users of the machine, and by who has the page.

A real server, and strangers who speak HTTP and viser's websocket. None may see the scene, write outside the model's
folder, or keep the page from going on.
"""

import http.client
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smilfit.body_models import load_body_model_data, save_body_model
from tests.hostile.sandbox import Outcome

WAIT_S = 20.0
# How long a stranger waits for a scene that must not come.
LISTEN_S = 0.3


class Visitor:
    """A program that speaks to a page as a browser does, or as a stranger would.

    Args:
        url: the page's address, with its code or without.
        host: the Host header; the address's own if None.
        origin: the Origin header; none if None.
    """

    def __init__(self, url: str, host: str | None = None, origin: str | None = None) -> None:
        self.url, self.origin = url, origin
        place, _, self.path = url.removeprefix('http://').partition('/')
        self.address, _, port = place.rpartition(':')
        self.port, self.host = int(port), host or place

    def page(self) -> tuple[int, bytes]:
        """Ask for the page; gives status and content."""
        asking = http.client.HTTPConnection(self.address.strip('[]'), self.port, timeout=WAIT_S)
        try:
            headers = {'Host': self.host} | ({} if self.origin is None else {'Origin': self.origin})
            asking.request('GET', f'/{self.path}', headers=headers)
            answer = asking.getresponse()
            return answer.status, answer.read()
        finally:
            asking.close()

    @contextmanager
    def socket(self) -> Iterator[Any]:
        """Open the page's websocket.

        Raises:
            InvalidStatus: it is refused.
        """
        import viser
        from websockets.sync.client import connect

        # The name in the address is what the Host header says; the socket is where it leads.
        reached = socket.create_connection((self.address.strip('[]'), self.port), timeout=WAIT_S)
        with connect(
            f'ws://{self.host}/{self.path}',
            sock=reached,
            origin=self.origin,  # type: ignore[arg-type]
            subprotocols=[f'viser-v{viser.__version__}'],  # type: ignore[list-item]
            max_size=None,
            # It leaves messages unread, behind which the server's farewell waits.
            close_timeout=0.2,
        ) as opened:
            yield opened


def received(opened: Any, seconds: float) -> Iterator[dict[str, Any]]:
    """Return the messages of a page until none comes for so long."""
    import msgspec.msgpack
    import zstandard

    while True:
        try:
            raw = opened.recv(timeout=seconds)
        except TimeoutError:
            return
        length, packed = struct.unpack('<QQ', raw[:16])
        content = zstandard.ZstdDecompressor().decompress(raw[16 : 16 + packed], max_output_size=length)
        yield from msgspec.msgpack.decode(content)['messages']


def scene_names(opened: Any, seconds: float = LISTEN_S) -> set[str]:
    """Return the names of what a page shows."""
    return {str(m['name']) for m in received(opened, seconds) if str(m.get('name', '')).startswith('/')}


def send(opened: Any, kind: str, **fields: Any) -> None:
    """Send a message as viser's own page packs it."""
    import msgspec.msgpack

    opened.send(msgspec.msgpack.encode({'type': kind, **fields}))


def set_control(opened: Any, control: Any, value: Any, name: str = 'value') -> None:
    """Set a control as a page does."""
    send(opened, 'GuiUpdateMessage', uuid=control._impl.uuid, updates={name: value})


def enter(opened: Any) -> None:
    """Return where one looks from: viser heeds a visitor from then on."""
    send(
        opened, 'ViewerCameraMessage', wxyz=[1.0, 0.0, 0.0, 0.0], position=[0.0, 0.0, 1.0], fov=1.0, near=0.1,
        far=10.0, image_height=100, image_width=100, look_at=[0.0, 0.0, 0.0], up_direction=[0.0, 0.0, 1.0],
    )  # fmt: skip


def wait_for(ready: Any, seconds: float = WAIT_S) -> bool:
    """Wait for something; says whether it came."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def strangers(url: str) -> dict[str, Visitor]:
    """Return those who must not have a page, by what is wrong with them."""
    place = url.removeprefix('http://').partition('/')[0]
    port, code = place.rpartition(':')[2], url.split('/')[3]
    own, bare = f'http://{place}', f'http://{place}/'
    wrong = f'http://{place}/{code[:-1]}{"A" if code[-1] != "A" else "B"}/'
    return {
        'no code': Visitor(bare, origin=own),
        'no code, no origin': Visitor(bare),
        'no code, an asset': Visitor(f'{bare}index.html', origin=own),
        'a code one letter off': Visitor(wrong, origin=own),
        'a code that begins rightly': Visitor(f'{bare}{code[:8]}/', origin=own),
        'a code and more': Visitor(f'{bare}{code}A/', origin=own),
        'the code as a question': Visitor(f'{bare}?{code}', origin=own),
        'another site': Visitor(url, origin='http://evil.example'),
        'a site without a name': Visitor(url, origin='null'),
        'another port of this machine': Visitor(url, origin=f'http://127.0.0.1:{int(port) % 60000 + 1}'),
        'another scheme': Visitor(url, origin=f'https://{place}'),
        'a name that begins as ours': Visitor(url, origin=f'http://127.0.0.1.evil.example:{port}'),
        'a name that leads here': Visitor(url, f'evil.example:{port}', f'http://evil.example:{port}'),
        'such a name, no origin': Visitor(url, f'evil.example:{port}'),
        'a name of theirs with ours in front': Visitor(url, f'localhost.evil.example:{port}'),
        'an address that is not ours': Visitor(url, f'192.0.2.77:{port}', f'http://192.0.2.77:{port}'),
    }


# Names for a file that leave the model's folder, or that some system takes for something else.
BAD_NAMES = (
    '../planted.smil.json', '/tmp/planted.smil.json', '~/planted.smil.json', 'new/planted.smil.json',
    'new\\planted.smil.json', 'C:planted.smil.json', 'C:\\planted.smil.json', '..', '.', '', '.smil.json',
    '.hidden.smil.json', 'planted\n.smil.json', 'planted\0.smil.json', 'con.smil.json', 'NUL.smil.json',
    'planted.json', 'planted.smil.json ..', 'planted.smil.json::$DATA', 'x' * 200 + '.smil.json', 'link.smil.json',
    'ant.smil.json', '<b>.smil.json', '%2e%2e%2fplanted.smil.json',
)  # fmt: skip


def bad_messages(page: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return messages that no control of a model's page sends, by what they try."""
    opacity, joint, save = (c._impl.uuid for c in (page.opacity, page.joint, page.save))
    ranges, name = page.ranges[0]._impl.uuid, page.name._impl.uuid
    update = 'GuiUpdateMessage'

    def of(uuid: str, **updates: Any) -> tuple[str, dict[str, Any]]:
        return update, {'uuid': uuid, 'updates': updates}

    camera = {
        'wxyz': [1.0, 0.0, 0.0], 'position': 'here', 'fov': 1.0, 'near': 0.1, 'far': 1.0, 'image_height': 1,
        'image_width': 1, 'look_at': [0.0] * 3, 'up_direction': [0.0] * 3,
    }  # fmt: skip
    ray = {'name': '/body', 'instance_index': None, 'screen_pos': [0.0, 0.0], 'modifier': None}
    return {
        'a tunnel to the world': ('ShareUrlRequest', {}),
        'a file': (
            'FileTransferStartUpload',
            {
                'source_component_uuid': opacity,
                'transfer_uuid': 'x',
                'filename': 'x',
                'mime_type': '',
                'part_count': 0,
                'size_bytes': 0,
            },
        ),
        'script for other pages': ('RunJavascriptMessage', {'source': 'alert(1)'}),
        'words for other pages': ('GuiFormDirtyMessage', {'uuid': 'x'}),
        'callbacks that are none': of(opacity, update_cb=['x']),
        'another attribute': of(opacity, value=0.5, is_button=True),
        'a number beyond its slider': of(opacity, value=1e9),
        'no number': of(opacity, value=float('nan')),
        'text for a number': of(opacity, value='x'),
        'a list for a number': of(opacity, value=[1.0]),
        'a joint that is not there': of(joint, value='../x'),
        'a number for a joint': of(joint, value=7),
        'three ends of a range': of(ranges, value=[0.0, 1.0, 2.0]),
        'a range beyond its slider': of(ranges, value=[-1e300, 1e300]),
        'a number for a name': of(name, value=7),
        'an endless name': of(name, value='x' * 100_000),
        'a press that is a word': of(save, value='yes'),
        'a control that is not there': of('x', value=1),
        'a camera that is none': ('ViewerCameraMessage', camera),
        'a ray that is none': ('SceneNodeClickMessage', {**ray, 'ray_origin': [0.0], 'ray_direction': None}),
        'a ray without end': (
            'SceneNodeClickMessage',
            {**ray, 'ray_origin': [float('inf')] * 3, 'ray_direction': [1e300] * 3},
        ),
    }


def hostile_pages(folder: Path) -> tuple[dict[str, Outcome], dict[str, str]]:
    """Attack the page of a model in a folder; gives what became of each attack, and what is wrong with that."""
    from smilfit.apis.viewer.server import ViewerServer
    from smilfit.rigs.model_editor import open_editor

    home = folder / 'model'
    home.mkdir()
    file = save_body_model(load_body_model_data('insect'), home / 'ant.smil.json')
    (home / 'link.smil.json').symlink_to(folder / 'planted.smil.json')
    result: dict[str, Outcome] = {}
    wrong: dict[str, str] = {}
    with ViewerServer(open_editor(file), port=0) as viewer:
        before = _files(folder)
        for name, stranger in strangers(viewer.url).items():
            _note(result, wrong, f'page: {name}', _asked(stranger))
            _note(result, wrong, f'websocket: {name}', _looked(stranger))
        own = Visitor(viewer.url, origin=viewer.url.rpartition('/')[0].rpartition('/')[0])
        page: Any = viewer.page
        with own.socket() as opened:
            enter(opened)
            if '/body' not in scene_names(opened):
                wrong['own page'] = 'the page itself sees no scene'
            for name, (kind, fields) in bad_messages(page).items():
                send(opened, kind, **fields)
                _note(result, wrong, f'message: {name}', _goes_on(opened, page, page.opacity))
            for name in BAD_NAMES:
                _note(result, wrong, f'file: {name[:40]!r}', saved_as(opened, page, name))
        if _files(folder) != before:
            wrong['files'] = f'written: {sorted(map(str, _files(folder) - before))}'
    return result, wrong


def saved_as(opened: Any, page: Any, name: str) -> str:
    """Have a page save under a name; gives what is wrong where that is not refused in words."""
    page.outcome.content = ''
    page.file.value = ''
    set_control(opened, page.file, name)
    set_control(opened, page.save, True)
    if not wait_for(lambda: page.outcome.content):
        return 'no answer'
    return (
        ''
        if page.outcome.content.startswith('**not done:**')
        else f'it was not refused: {page.outcome.content}'
    )


def _asked(stranger: Visitor) -> str:
    status, content = stranger.page()
    return '' if status == 403 and len(content) < 500 else f'it is answered: {status}, {len(content)} bytes'


def _looked(stranger: Visitor) -> str:
    from websockets.exceptions import InvalidStatus

    try:
        with stranger.socket() as opened:
            return f'it is opened, and shows {sorted(scene_names(opened))}'
    except InvalidStatus:
        return ''


def _goes_on(opened: Any, page: Any, slider: Any) -> str:
    wanted = 0.3 if slider.value != 0.3 else 0.8
    set_control(opened, slider, wanted)
    if not wait_for(lambda: slider.value == wanted and page._mesh.opacity == wanted):
        return 'the page goes on no more'
    return ''


def _files(folder: Path) -> set[Path]:
    return set(folder.rglob('*'))


def _note(found: dict[str, Outcome], wrong: dict[str, str], name: str, fault: str) -> None:
    found[name] = Outcome(name, 'accepted' if fault else 'refused', message=fault)
    if fault:
        wrong[name] = fault
