"""The two orders in which a SLEAP file lists its nodes; software has taken one for the other."""

import json
from pathlib import Path

from smilfit.files import BadFileError, reading
from smilfit.io.hdf5_files import open_hdf5

_WHAT = 'SLEAP labels'


def read_node_orders(path: str | Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the names of a .slp file's nodes, by their number and in the order of the skeleton (of the labels).

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no .slp file, or one without a skeleton.
    """
    path = Path(path)
    with open_hdf5(path, _WHAT) as file, reading(path, _WHAT):
        try:
            text = file['metadata'].attrs['json']
            stated = json.loads(bytes(text).decode() if not isinstance(text, str) else text)
            numbered = tuple(str(node['name']) for node in stated['nodes'])
            places = [int(node['id']) for node in stated['skeletons'][0]['nodes']]
            if not places or sorted(places) != list(range(len(numbered))):
                raise ValueError('its skeleton does not have each node once')
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadFileError(
                f'{path}: a .slp file must list its nodes and one skeleton of all of them; it does not ({error}). '
                'Save it from SLEAP again.'
            ) from error
    return numbered, tuple(numbered[place] for place in places)
