"""Small valid annotations for hostile ones to be made of: two images, an entry each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

WIDTH, HEIGHT = 32, 24
NAMES = ('nose', 'left_paw', 'right_paw', 'tail')
IMAGES = ('a.png', 'b.png')
N_STANFORD, N_BADJA, N_ANIMAL3D = 24, 37, 26


class JsonFormat(NamedTuple):
    """A format in JSON: its two entries, where a row of coordinates is, and how its images are named."""

    content: Callable[[], Any]
    entries: Callable[[Any], list[Any]]
    row: Callable[[Any], list[Any]]
    name_image: Callable[[Any, Any], None]


def write_images(folder: Path) -> None:
    """Write the two images, and a mask of each."""
    folder.mkdir(parents=True, exist_ok=True)
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:20, 4:28] = 255
    for name in IMAGES:
        cv2.imwrite(str(folder / name), image)
        cv2.imwrite(str(folder / f'mask_{name}'), mask)


def write_video(path: Path, n_frames: int = 4, codec: int = cv2.VideoWriter_fourcc(*'MJPG')) -> Path:
    """Write grey frames; codec 0 leaves them uncompressed."""
    writer = cv2.VideoWriter(str(path), codec, 25, (WIDTH, HEIGHT))
    for i in range(n_frames):
        writer.write(np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8))
    writer.release()
    return path


def points(count: int, flag: float = 1) -> list[list[float]]:
    """Return points that lie in the image, with a flag each."""
    return [[5.0 + i % 20, 6.0 + i % 11, flag] for i in range(count)]


def coco_content() -> dict[str, Any]:
    """Return COCO's lists."""
    images = [{'id': i, 'file_name': n, 'width': WIDTH, 'height': HEIGHT} for i, n in enumerate(IMAGES)]
    flat = [value for row in points(len(NAMES), 2) for value in row]
    entries = [
        {
            'id': i,
            'image_id': i,
            'category_id': 1,
            'keypoints': list(flat),
            'bbox': [2, 2, 25, 20],
            'iscrowd': 0,
        }
        for i in range(2)
    ]
    categories = [{'id': 1, 'name': 'mouse', 'keypoints': list(NAMES)}]
    return {'images': images, 'annotations': entries, 'categories': categories}


def stanford_content() -> list[dict[str, Any]]:
    """Return StanfordExtra's list."""
    return [
        {
            'img_path': name,
            'img_width': WIDTH,
            'img_height': HEIGHT,
            'joints': points(N_STANFORD),
            'img_bbox': [2, 2, 25, 20],
            'is_multiple_dogs': False,
        }
        for name in IMAGES
    ]


def badja_content() -> list[dict[str, Any]]:
    """Return BADJA's list."""
    joints = [row[:2] for row in points(N_BADJA)]
    return [
        {'image_path': name, 'joints': [list(j) for j in joints], 'visibility': [1] * N_BADJA}
        for name in IMAGES
    ]


def animal3d_content() -> dict[str, Any]:
    """Return Animal3D's data."""
    return {
        'data': [
            {'img_path': name, 'supercategory': 1, 'keypoint_2d': points(N_ANIMAL3D), 'bbox': [2, 2, 25, 20]}
            for name in IMAGES
        ]
    }


def _set(key: str) -> Callable[[Any, Any], None]:
    def name_image(content: Any, name: Any) -> None:
        entries = content if isinstance(content, list) else content['data']
        entries[1][key] = name

    return name_image


def _name_coco(content: Any, name: Any) -> None:
    content['images'][1]['file_name'] = name


JSON_FORMATS = {
    'coco': JsonFormat(coco_content, lambda c: c['annotations'], lambda e: e['keypoints'], _name_coco),
    'stanfordextra': JsonFormat(stanford_content, lambda c: c, lambda e: e['joints'][1], _set('img_path')),
    'badja': JsonFormat(badja_content, lambda c: c, lambda e: e['joints'][1], _set('image_path')),
    'animal3d': JsonFormat(
        animal3d_content, lambda c: c['data'], lambda e: e['keypoint_2d'][1], _set('img_path')
    ),
}
JSON_FORMATS['animalpose'] = JSON_FORMATS['stanfordextra']


def replicant_content() -> dict[str, Any]:
    """Return one image of replicAnt: a camera that looks along z, which is Unreal's view of x to the right, y up."""
    view, lens = (
        np.eye(4),
        np.array([[2.0, 0, 0, 0], [0, 2.0 * WIDTH / HEIGHT, 0, 0], [0, 0, 0, 1], [0, 0, 10, 0]]),
    )
    keypoints = {}
    for i, name in enumerate(NAMES):
        xyz = np.array([0.1 * i, 0.05 * i, 5.0])
        clip = np.array([*xyz, 1.0]) @ view @ lens
        x, y = clip[:2] / clip[3]
        uv = {'x': (x + 1) / 2 * WIDTH, 'y': (1 - y) / 2 * HEIGHT}
        keypoints[name] = {'2DPos': uv, '3DPos': dict(zip('xyz', xyz.tolist()))}
    bounds = {'xmin': 10.0, 'xmax': 30.0, 'ymin': 5.0, 'ymax': 20.0}
    camera = {'View Matrix': _planes(view), 'View Projection Matrix': _planes(view @ lens)}
    subject = {'keypoints': keypoints, '2DBounds': bounds, 'shape betas': [0.5]}
    return {'iterationData': {'iteration': 0, 'camera': camera, 'subject Data': [{'1': subject}]}}


def _planes(matrix: np.ndarray) -> dict[str, dict[str, float]]:
    return {f'{row}Plane': dict(zip('xyzw', matrix[i].tolist())) for i, row in enumerate('xyzw')}


def write_json(path: Path, content: Any) -> Path:
    """Write content; text '@...@' in it becomes the bare number between, which JSON of Python could not hold."""
    text = json.dumps(content)
    path.write_text(text.replace('"@', '').replace('@"', ''))
    return path


def table_rows(names: tuple[str, ...] = NAMES, scorer: str = 'me') -> list[list[str]]:
    """Return the header rows and two rows of a table of DeepLabCut's."""
    columns = [(name, coord) for name in names for coord in 'xy']
    header = [
        ['scorer', *[scorer] * len(columns)],
        ['bodyparts', *[name for name, _ in columns]],
        ['coords', *[coord for _, coord in columns]],
    ]
    numbers = [str(value) for row in points(len(names)) for value in row[:2]]
    return [*header, *[[f'labeled-data/vid/{name}', *numbers] for name in IMAGES]]


def write_table(path: Path, rows: list[list[str]], encoding: str = 'utf-8') -> Path:
    """Write rows as csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(','.join(row) for row in rows) + '\n', encoding=encoding)
    return path
