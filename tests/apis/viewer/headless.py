"""A page in headless Chromium, spoken to by its DevTools protocol: no further package is needed."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from websockets.sync.client import connect

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
# WebGL without a graphics card.
SOFTWARE = (
    '--use-gl=angle',
    '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader',
    '--ignore-gpu-blocklist',
)


def find_chromium() -> str | None:
    return next((result for name in NAMES if (result := shutil.which(name))), None)


class Page:
    """One page; a context that ends the browser."""

    def __init__(self, url: str, folder: Path, size: tuple[int, int] = (1280, 800)) -> None:
        self.url, self.folder, self.size = url, folder, size
        self.errors: list[str] = []
        self._numbers = itertools.count(1)

    def __enter__(self) -> 'Page':
        profile = self.folder / 'profile'
        self._log = (self.folder / 'chromium.log').open('wb')
        self._browser = subprocess.Popen(
            [
                find_chromium(), '--headless=new', '--no-sandbox', '--disable-dev-shm-usage', *SOFTWARE,
                '--no-first-run', '--disable-extensions', '--disable-background-networking',
                f'--window-size={self.size[0]},{self.size[1]}', f'--user-data-dir={profile}',
                '--remote-debugging-port=0', 'about:blank',
            ],
            stdout=self._log, stderr=self._log,
        )  # fmt: skip
        port_file = profile / 'DevToolsActivePort'
        wait_until(
            lambda: port_file.is_file() and len(port_file.read_text().splitlines()) > 1, 30, 'a browser'
        )
        port = int(port_file.read_text().splitlines()[0])
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/json/list') as answer:
            target = next(t for t in json.load(answer) if t['type'] == 'page')
        self._socket = connect(target['webSocketDebuggerUrl'], max_size=None)
        for domain in ('Page', 'Runtime', 'Log'):
            self.send(f'{domain}.enable')
        self.send('Page.navigate', url=self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._browser.terminate()
        self._browser.wait(timeout=20)
        self._log.close()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; what the page complains of meanwhile is kept in `errors`."""
        number = next(self._numbers)
        self._socket.send(json.dumps({'id': number, 'method': method, 'params': params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get('id') == number:
                assert 'error' not in message, message
                return message['result']
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get('params', {})
        if message['method'] == 'Runtime.exceptionThrown':
            self.errors.append(json.dumps(params['exceptionDetails'])[:500])
        elif message['method'] == 'Runtime.consoleAPICalled' and params['type'] in ('error', 'assert'):
            self.errors.append(json.dumps(params['args'])[:500])
        elif message['method'] == 'Log.entryAdded' and params['entry']['level'] == 'error':
            self.errors.append(json.dumps(params['entry'])[:500])

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        return self.send('Runtime.evaluate', expression=expression, returnByValue=True)['result'].get('value')

    def screenshot(self) -> np.ndarray:
        """Return the page as RGB."""
        data = base64.b64decode(self.send('Page.captureScreenshot', format='png')['data'])
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def wait_until(ready: Any, seconds: float, what: str) -> None:
    """Wait for something to become true.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f'{what} is not there after {seconds} s')
        time.sleep(0.1)
