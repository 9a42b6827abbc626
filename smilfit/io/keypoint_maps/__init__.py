"""Find and read keypoint maps: `<format>_to_<model>.csv` in this folder, or a file anywhere.

Places agree as well as two annotators would; a point that the model has no place for is left out, such as SMAL's
throat, or the side of a horse that Horse-10 does not tell. Near is left, off is right, as riders say. replicAnt's
keypoints have the stick insect's own names and need no map.
"""

from pathlib import Path

from smilfit.io.lookup import read_joint_lookup
from smilfit.registry import UnknownNameError, did_you_mean

FOLDER = Path(__file__).parent


def available_keypoint_maps() -> tuple[str, ...]:
    """Name the maps that are shipped, such as `stanfordextra_to_smal`."""
    return tuple(sorted(path.stem for path in FOLDER.glob('*.csv')))


def load_keypoint_map(name_or_path: str | Path) -> dict[str, str]:
    """Read a map: model keypoint -> annotated keypoint (columns `model,data`, as a session's `joint_lookup.csv`).

    Args:
        name_or_path: the name of a shipped map, or the path of a `.csv` file.

    Raises:
        KeyError: no shipped map of that name, with the near ones.
        ValueError: a file that is no .csv.
        FileNotFoundError: no file at that path.
        ValueError: a file that breaks a rule.
    """
    return read_joint_lookup(keypoint_map_file(name_or_path))


def keypoint_map_file(name_or_path: str | Path) -> Path:
    """Find the file of a map.

    Raises:
        KeyError: no shipped map of that name, with the near ones.
        ValueError: a file that is no .csv.
    """
    if str(name_or_path).endswith('.csv'):
        return Path(name_or_path)
    name = str(name_or_path)
    if name not in available_keypoint_maps():
        if Path(name).expanduser().exists():
            raise ValueError(
                f'{name}: a keypoint map must be a table that ends in .csv; it does not. Save it as one.'
            )
        raise UnknownNameError(
            f'keypoint map: there is no {name!r}. {did_you_mean(name, available_keypoint_maps())} '
            'A map of your own is given by the path of its .csv file.'
        )
    return FOLDER / f'{name}.csv'
