"""Small MuJoCo models, skins and tables of keypoints that would stop the machine."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.hostile.bombs import Bomb

_BALL = '<geom type="sphere" size="0.1"/>'
_BOX = '<geom type="box" size="0.1 0.1 0.1"/>'
_MANY = 60_000
# What may be read, as long as it costs little; and where the sentence must name what the model names.
_READ = (
    'class_chain',
    'children',
    'chains',
    'hidden_geoms',
    'composites',
    'field',
    'texture',
    'wide',
    'few_geoms',
)
_NAMED = {'header': 'm.stl', 'counts': 'm.msh'}
_YAML = """
a: &a {x: y, z: w}
b: &b {<<: [*a, *a, *a, *a, *a, *a, *a, *a, *a]}
c: &c {<<: [*b, *b, *b, *b, *b, *b, *b, *b, *b]}
d: &d {<<: [*c, *c, *c, *c, *c, *c, *c, *c, *c]}
e: &e {<<: [*d, *d, *d, *d, *d, *d, *d, *d, *d]}
f: &f {<<: [*e, *e, *e, *e, *e, *e, *e, *e, *e]}
g: &g {<<: [*f, *f, *f, *f, *f, *f, *f, *f, *f]}
h: &h {<<: [*g, *g, *g, *g, *g, *g, *g, *g, *g]}
KEYPOINT_MODEL_PAIRS: {<<: *h}
"""


def mjcf_bombs(folder: Path) -> dict[str, Bomb]:
    """Write the files into a folder, one a folder, and give the command line that reads each."""
    result = {}
    for name, make in _models().items():
        own = folder / name
        own.mkdir(parents=True, exist_ok=True)
        model = own / f'{name}.xml'
        model.write_text(make(own))
        result[f'mjcf {name}'] = Bomb(_import(model), own / _NAMED.get(name, model.name), name in _READ)
    result |= _besides(folder)
    return result


def model_of(worldbody: str, before: str = '') -> str:
    """Return a model's text."""
    return f'<mujoco>{before}<worldbody>{worldbody}</worldbody></mujoco>'


def animal(inside: str = _BALL) -> str:
    """Return two bodies with a hinge, and what else stands on the second."""
    limb = f'<body name="limb" pos="0 0 1"><joint range="-20 20"/>{_BALL}{inside}</body>'
    return f'<body name="trunk"><freejoint/>{_BALL}{limb}</body>'


def each(text: str, count: int) -> str:
    """Write a text so many times, with its number for every #."""
    return ''.join(text.replace('#', str(k)) for k in range(count))


def _import(model: Path, *more: str) -> tuple[str, ...]:
    return ('model', 'import', str(model), '{out}/model.smil.json', *more)


def _models() -> dict[str, Callable[[Path], str]]:
    """Return what makes each model's text; it may write files beside it."""
    return {
        'attributes': lambda _: model_of(
            animal(),
            '<default><geom ' + each(' a#=""', _MANY) + '/>' + each('<default class="c#"/>', _MANY) + '</default>',
        ),
        'classes': lambda _: model_of(animal(), _classes(20_000, 190)),
        'class_chain': lambda _: model_of(
            animal(),
            '<default><geom '
            + each(' a#="0"', 190)
            + '/>'
            + each('<default class="c#"><geom b="0"/>', 490)
            + '</default>' * 491,
        ),
        'bodies': lambda _: model_of(f'<body>{_BALL}</body>' * 90_000),
        'empty_bodies': lambda _: model_of(animal() + '<body/>' * 150_000),
        'children': lambda _: model_of(animal('<body/>' * 9_900)),
        'jointed': lambda _: model_of(animal(f'<body pos="1 0 0"><joint/>{_BOX}</body>' * 9_000)),
        'chains': lambda _: model_of(
            f'<body>{_BALL}' + ('<body pos="0 0 1"><joint/>' * 400 + '</body>' * 400) * 20 + '</body>'
        ),
        'deep': lambda _: model_of('<body>' * 100_000 + '</body>' * 100_000),
        'frames': lambda _: model_of(
            '<body>' + '<frame>' * 480 + '<geom size=".1"/>' * 100_000 + '</frame>' * 480 + '</body>'
        ),
        'hinges': lambda _: model_of(
            animal(
                '<body><joint axis="1 0 0" range="-9 9"/><joint axis="0 1 0" range="-9 9"/>'
                '<joint axis="0 0 1" range="-9 9"/></body>' * 9_000
            )
        ),
        'joints': lambda _: model_of(animal('<joint/>' * 150_000)),
        'sites': lambda _: model_of(animal('<site/>' * 190_000)),
        'geoms': lambda _: model_of(animal('<geom size="1"/>' * 150_000)),
        'few_geoms': lambda _: model_of(animal('<geom size="1"/>' * 2_600)),
        'hidden_geoms': lambda _: model_of(animal('<geom size="1" group="4"/>' * 150_000)),
        'replicate': lambda _: model_of(
            '<replicate count="1000000" offset="1 0 0">' * 6 + animal() + '</replicate>' * 6
        ),
        'composites': lambda _: model_of(animal('<composite count="999999 1 1"/>' * 150_000)),
        'field': lambda _: model_of(
            animal() + '<geom type="hfield" hfield="h"/>',
            '<asset><hfield name="h" nrow="2000000000" ncol="2000000000" size="1 1 1 1"/></asset>',
        ),
        'texture': lambda _: model_of(
            animal(),
            '<asset><texture name="t" builtin="flat" width="1000000" height="1000000"/></asset>',
        ),
        'large_size': lambda _: model_of(animal('<geom type="box" size="1e308 1e308 1e308"/>')),
        'small_size': lambda _: model_of(
            '<body><geom size="1e-320"/><body pos="0 0 1e-310"><joint/><geom size="1e-320"/></body></body>'
        ),
        'words': lambda _: model_of(animal(f'<geom size="{"1 " * 4_000_000}"/>')),
        'digits': lambda _: model_of(animal(f'<geom size="{"9" * 4_000_000}"/>')),
        'laughs': lambda _: '<!DOCTYPE m [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;">]>' + model_of(animal('&b;')),
        'hull': lambda _: model_of(_shown('big'), f'<asset><mesh name="big" vertex="{_ball(250_000)}"/></asset>'),
        'itself': lambda _: model_of(animal(), '<include file="itself.xml"/>'),
        'included_twice': _included_twice,
        'included': _included,
        'include_chain': _include_chain,
        'missing': lambda _: model_of(animal(), '<include file="x"/>' * 150_000),
        'wide': _wide_include,
        'missing_meshes': lambda _: model_of(
            animal(each('<geom type="mesh" mesh="m#"/>', 20_000)),
            '<compiler meshdir="a"/>' * 20_000
            + '<asset>'
            + each('<mesh name="m#" file="#.obj"/>', 20_000)
            + '</asset>',
        ),
        'one_mesh': _one_mesh,
        'mesh_files': _mesh_files,
        'header': lambda own: _mesh_file(own, 'm.stl', b'\0' * 80 + struct.pack('<I', 10**9)),
        'counts': lambda own: _mesh_file(own, 'm.msh', struct.pack('<4i', *[2**31 - 1] * 4)),
        'holes': _skin_of_holes,
        'inline_skin': lambda _: model_of(
            animal(),
            '<asset><skin vertex="0 0 0 1 0 0 0 1 0" face="0 1 2">'
            + '<bone body="limb" bindpos="0 0 0" vertid="0 1 2" vertweight="1 1 1"/>' * 60_000
            + '</skin></asset>',
        ),
        'skin_words': lambda _: model_of(
            animal(), f'<asset><skin vertex="{"0 " * 6_000_000}" face="0 1 2"/></asset>'
        ),
    }  # fmt: skip


def _besides(folder: Path) -> dict[str, Bomb]:
    """Return what is named on the command line beside a small model."""
    folder = folder / 'beside'
    folder.mkdir(exist_ok=True)
    model = folder / 'model.xml'
    model.write_text(model_of(animal()))
    result = {}
    tables = {
        'merges': _YAML,
        'lines': 'KEYPOINT_MODEL_PAIRS:\n' + each(' k#: trunk\n', 70_000),
        'fitting_lines': 'KEYPOINT_MODEL_PAIRS:\n' + each(' k#: trunk\n', 4_500),
        'brackets': '[' * 60_000,
    }
    for name, text in tables.items():
        table = folder / f'{name}.yaml'
        table.write_text(text)
        result[f'keypoints {name}'] = Bomb(
            _import(model, '--keypoints', str(table)), table, name == 'fitting_lines'
        )
    bone = b'trunk'.ljust(40, b'\0') + struct.pack('<7fi', 0, 0, 0, 1, 0, 0, 0, 0)
    triangle = np.eye(3, dtype='<f4').tobytes() + np.arange(3, dtype='<i4').tobytes()
    skins = {
        'counts': struct.pack('<4i', *[2**31 - 1] * 4),
        'bones': struct.pack('<4i', 3, 0, 1, 90_000) + triangle + bone * 90_000,
    }
    (folder / 'skins').mkdir(exist_ok=True)
    for name, data in skins.items():
        skin = folder / 'skins' / f'{name}.skn'
        skin.write_bytes(data)
        result[f'skin {name}'] = Bomb(_import(model, '--skin', str(skin)), skin)
    return result


def _classes(count: int, n_attributes: int) -> str:
    inner = each('<default class="c#"><geom b="0"/></default>', count)
    return f'<default><geom {each(" a#=" + repr("0"), n_attributes)}/>{inner}</default>'


def _shown(mesh: str) -> str:
    return animal(f'<geom type="mesh" mesh="{mesh}"/>')


def _ball(count: int) -> str:
    points = np.random.default_rng(0).normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return ' '.join(f'{x:.4f}' for x in points.ravel())


def _included_twice(own: Path) -> str:
    (own / 'part.xml').write_text('<mujocoinclude><option/></mujocoinclude>')
    return model_of(animal(), '<include file="part.xml"/>' * 1000)


def _included(own: Path) -> str:
    for k in range(1000):
        (own / f'p{k}.xml').write_text('<mujocoinclude><option/></mujocoinclude>')
    return model_of(animal(), each('<include file="p#.xml"/>', 1000))


def _include_chain(own: Path) -> str:
    for k in range(1000):
        inner = f'<include file="p{k + 1}.xml"/>'
        (own / f'p{k}.xml').write_text(f'<mujocoinclude><body>{inner}</body></mujocoinclude>')
    return model_of(animal() + '<include file="p0.xml"/>')


def _wide_include(own: Path) -> str:
    (own / 'part.xml').write_text(f'<mujocoinclude>{"<light/>" * 90_000}</mujocoinclude>')
    return model_of('<include file="part.xml"/>' + '<light/>' * 90_000 + animal())


def _one_mesh(own: Path) -> str:
    rows = ''.join(f'v {k % 97} {k % 89} {k % 83}\n' for k in range(20_000))
    rows += ''.join(f'f {k} {k + 1} {k + 2}\n' for k in range(1, 19_998))
    (own / 'm.obj').write_text(rows)
    geoms = '<geom type="mesh" mesh="m"/>' * 20_000
    return model_of(animal(geoms), '<asset><mesh name="m" file="m.obj"/></asset>')


def _mesh_files(own: Path) -> str:
    """Name one file as 5,000 meshes."""
    rows = ''.join(f'v {k % 97} {k % 89} {k % 83}\n' for k in range(2_000))
    (own / 'm.obj').write_text(rows + ''.join(f'f {k} {k + 1} {k + 2}\n' for k in range(1, 1_998)))
    assets, geoms = (
        each('<mesh name="m#" file="m.obj"/>', 5_000),
        each('<geom type="mesh" mesh="m#"/>', 5_000),
    )
    return model_of(animal(geoms), f'<asset>{assets}</asset>')


def _mesh_file(own: Path, name: str, data: bytes) -> str:
    (own / name).write_bytes(data)
    return model_of(_shown('m'), f'<asset><mesh name="m" file="{name}"/></asset>')


def _skin_of_holes(own: Path) -> str:
    with (own / 'holes.skn').open('wb') as file:
        file.write(struct.pack('<4i', 80_000_000, 0, 0, 0))
        file.truncate(1 << 30)
    return model_of(animal(), '<asset>' + '<skin file="holes.skn"/>' * 8 + '</asset>')
