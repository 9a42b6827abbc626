"""Work ahead in a thread: what is read next is ready when it is asked for, and few items are in memory."""

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar('T')

_END = object()


def read_ahead(items: Iterator[T], depth: int = 4) -> Iterator[T]:
    """Return the items of an iterator that runs in a thread, at most `depth` ahead; an error of it is raised here.

    The thread ends when the generator is closed. Decoding and cutting images by OpenCV let other threads run.

    Args:
        items: what is read.
        depth: how many finished items may wait.
    """
    waiting: queue.Queue[Any] = queue.Queue(maxsize=max(1, depth))
    stop = threading.Event()

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        last: object = _END
        try:
            for item in items:
                if not put(item):
                    break
        except BaseException as error:
            # Whatever it is belongs to whoever asked for the items.
            last = error
        finally:
            close = getattr(items, 'close', None)
            if close is not None:
                close()
            put((_END, last))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, tuple) and len(item) == 2 and item[0] is _END:
                if item[1] is not _END:
                    raise item[1]
                return
            yield item
    finally:
        stop.set()
        thread.join()
