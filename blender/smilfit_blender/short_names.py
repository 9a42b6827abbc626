"""Names that fit into Blender, which keeps 63 bytes of one. Without Blender."""

_MOST_BYTES = 63
KEYPOINT = 'keypoint:'
SCAN = 'scan: '
# The set of keypoints that were made in Blender.
ADDED = 'added'


def shortened(name, most=_MOST_BYTES):
    """Cut a name to what Blender keeps, between letters."""
    return name.encode()[:most].decode(errors='ignore')


def short_names(names):
    """Give a name in Blender for each name; all differ."""
    found, taken = [], set()
    for name in names:
        short, number = shortened(name), 1
        while short in taken:
            number += 1
            short = f'{shortened(name, _MOST_BYTES - 6)}~{number}'
        taken.add(short)
        found.append(short)
    return found


def skin_keypoints(document):
    """Give the keypoints on the skin that a vertex group can hold: its name -> (set, keypoint, vertices, weights)."""
    found = []
    for set_name, points in (document.get('keypoint_sets') or {}).items():
        for point, definition in points.items():
            if isinstance(definition, dict) and all(0 < w <= 1 for w in definition['weights']):
                found.append((set_name, point, definition['vertices'], definition['weights']))
    names = short_names([f'{KEYPOINT}{s}/{p}' for s, p, _, _ in found])
    return dict(zip(names, found))


def keypoint_of_group(name):
    """Give set and keypoint of a vertex group that a user made: `keypoint:nose`, `keypoint:mine/nose`."""
    set_name, slash, point = name.removeprefix(KEYPOINT).partition('/')
    return (set_name, point) if slash and set_name and point else (ADDED, name.removeprefix(KEYPOINT))
