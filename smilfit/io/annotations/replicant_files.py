"""Which files replicAnt writes: a JSON file and images a sample, and one file for the batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smilfit.files import BadFileError
from smilfit.io.annotations.entries import numbers, read_json, require
from smilfit.io.image_opening import check_image_size

BATCH = '_BatchData_'
_IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.exr')


@dataclass(frozen=True)
class Batch:
    """What `_BatchData_<name>.json` says: the size of the images and the class of each subject."""

    size: tuple[int, int] | None = None
    classes: Mapping[str, str] | None = None


def list_files(path: Path) -> list[Path]:
    """Give the JSON files of the samples: a file itself, those of its batch, or those of a folder.

    Raises:
        FileNotFoundError: no such file, or no sample.
    """
    if not path.is_dir() and not path.name.startswith(BATCH):
        return [path]
    if not path.exists():
        raise FileNotFoundError(f'{path}: the annotations must exist; there is no such file.')
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.glob('*.json') if not file.name.startswith(BATCH))
    files = files if path.is_dir() else [file for file in files if batch_name(file) == path.name]
    if not files:
        raise FileNotFoundError(f'{path}: a batch must have a .json file for every image; got none.')
    return files


def batch_name(file: Path) -> str:
    """Name the batch file of a sample: `run_07.json` is of `_BatchData_run.json`."""
    return f'{BATCH}{file.stem.rpartition("_")[0]}.json'


def read_batch(path: Path) -> Batch:
    """Read a batch file; one that is not there leaves sizes to be found and classes unnamed."""
    if not path.is_file():
        return Batch()
    content = read_json(path, dict, 'replicAnt batch')
    try:
        resolution = require(content, 'Image Resolution', dict)
        width, height = (int(numbers(require(resolution, axis, (int, float)), (), axis)) for axis in 'xy')
        check_image_size('Image Resolution', width, height)
        subjects = require(content, 'Subject Variations', dict)
        classes = {number: require(subject, 'Class', str) for number, subject in subjects.items()}
    except ValueError as error:
        raise BadFileError(f'{path}: {error}') from None
    return Batch((width, height), classes)


def find_image(folder: Path, stem: str) -> Path:
    """Find the image of any kind and spelling; where there is none, name the one that replicAnt writes."""
    candidates = (folder / f'{stem}{spelt}' for suffix in _IMAGES for spelt in (suffix, suffix.upper()))
    return next((path for path in candidates if path.is_file()), folder / f'{stem}.JPG')
