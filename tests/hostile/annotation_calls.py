"""Read hostile annotations to the last pixel, watching which files are opened; for `sandbox.run_cases`."""

import gc
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.io import (
    SleapSession,
    check_images,
    probe_video,
    read_calibration,
    read_images,
    read_joint_lookup,
    read_labels,
    read_points3d,
    read_shape_betas,
)
from smilfit.registry import ANNOTATIONS
from smilfit.structures import SkippedAnnotation

# Imported late by who needs them: once here, and not once a case.
LATE = (
    'PIL.ImageOps',
    'cv2',
    'sleap_io',
    'sleap_io.io.slp',
    'sleap_io.io.analysis_h5',
    'sleap_io.io.video_reading',
)
OUTSIDE = 'outside'
_PLAIN = {
    'calibration': read_calibration,
    'lookup': read_joint_lookup,
    'betas': read_shape_betas,
    'labels': read_labels,
    'points3d': lambda path: read_points3d(path, ('nose', 'tail')),
    'video': probe_video,
    'session': SleapSession,
}


def _import_late() -> None:
    for name in LATE:
        importlib.import_module(name)
    from PIL import Image

    Image.init()
    # What is there at the fork is not collected: every case would walk through all modules.
    gc.collect()
    gc.freeze()


_import_late()


def read_case(order: Path) -> dict[str, Any]:
    """Read what an order (`{"format", "path", "arguments"}`) names; give what was kept, left out and opened."""
    request = json.loads(order.read_text())
    opened: list[str] = []
    sys.addaudithook(lambda event, args: _note(opened, event, args))
    path = Path(request['path'])
    if request['format'] in _PLAIN:
        result = _PLAIN[request['format']](path)
        return {'kept': 1, 'skipped': [], 'names': [getattr(result, 'name', '')], 'opened': opened}
    reader = ANNOTATIONS.get(request['format'])(**request['arguments'])
    annotations = check_images(reader.read(path))
    skipped = [(entry.where, entry.reason) for entry in annotations.skipped]
    kept = 0
    for position, pixels in read_images(annotations.images):
        if isinstance(pixels, SkippedAnnotation):
            skipped.append((pixels.where, pixels.reason))
            continue
        mask = annotations.images[position].mask
        assert mask is None or mask.read().shape == pixels.shape[:2]
        assert np.isfinite(annotations.images[position].keypoints).all()
        kept += 1
    names = sorted({annotations.name, *(image.sequence for image in annotations.images)} - {''})
    return {'kept': kept, 'skipped': skipped, 'names': names, 'opened': opened}


def _note(opened: list[str], event: str, args: tuple[Any, ...]) -> None:
    """Keep files outside the folder, and addresses, that Python opens."""
    if event == 'open' and isinstance(args[0], str) and OUTSIDE in Path(args[0]).resolve().parts:
        opened.append(args[0])
    elif event in ('socket.connect', 'socket.getaddrinfo', 'subprocess.Popen', 'os.system'):
        opened.append(f'{event} {args[1:2]}')
