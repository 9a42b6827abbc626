"""MuJoCo models that would stop the machine are refused in words, or read at little cost."""

import os

import pytest

from smilfit.files import BadFileError
from smilfit.rigs import read_rig
from smilfit.rigs.mjcf.document import read_mjcf_document
from smilfit.rigs.mjcf.geoms import MjcfMeshes
from smilfit.rigs.rig_import import import_rig
from tests.hostile.hostile_mjcf import animal, each, model_of

SPHERES = '<geom size="1"/>'
MESH = '<asset><mesh name="m" file="m.obj"/></asset>'

REFUSED = {
    'attributes': (
        model_of(animal(), f'<default><geom{each(" a#=" + repr("0"), 300)}/></default>'),
        '<geom> must be at most 200 attributes; got 300',
    ),
    'classes': (
        model_of(
            animal(),
            f'<default><geom{each(" a#=" + repr("0"), 190)}/>'
            + each('<default class="c#"><geom b="0"/></default>', 3000)
            + '</default>',
        ),
        'objects; got .* with its classes',
    ),
    'bodies': (model_of(animal() + '<body/>' * 10_000), 'bodies must be at most 10000 of them'),
    'deep': (model_of('<body>' * 600 + '</body>' * 600), 'nesting must be at most 500 levels'),
    'geoms': (model_of(animal(SPHERES * 2000)), 'objects; got .* with vertices and triangles of its geoms'),
    'replicate': (model_of(animal('<replicate count="9"/>')), 'bodies must be written out; got <replicate>'),
    'missing': (model_of(animal(), '<include file="x"/>' * 300), 'includes must be at most 200 of them'),
    'itself': (model_of(animal(), '<include file="model.xml"/>'), 'a file must be included once'),
    'size': (model_of(animal('<geom size="1e308"/>')), 'size must be 1 finite numbers of at most'),
    'hull': (
        model_of(animal(), f'<asset><mesh name="m" vertex="{"1 " * 180_000}"/></asset>').replace(
            '<freejoint/>', '<freejoint/><geom type="mesh" mesh="m"/>'
        ),
        'vertices without faces must be at most 50000',
    ),
    'bones': (
        model_of(
            animal(),
            '<asset><skin vertex="0 0 0 1 0 0 0 1 0" face="0 1 2">' + '<bone/>' * 10_001 + '</skin></asset>',
        ),
        'bones must be at most 10000',
    ),
    'no_weights': (
        model_of(
            animal(),
            '<asset><skin vertex="0 0 0 1 0 0 0 1 0" face="0 1 2"><bone body="limb"/></skin></asset>',
        ),
        'its surface must have an extent',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_costs_too_much_is_refused(name, tmp_path):
    text, rule = REFUSED[name]
    path = tmp_path / 'model.xml'
    path.write_text(text)
    with pytest.raises(BadFileError, match=rule) as raised:
        read_rig(path)
    assert str(raised.value).startswith(str(path))


def test_classes_share_what_they_do_not_change(tmp_path):
    path = tmp_path / 'model.xml'
    own = '<default class="own"><geom b="1"/></default>'
    path.write_text(
        model_of(
            animal(),
            f'<default><geom a="0"/>{each("<default class=" + repr("c#") + "/>", 50)}{own}</default>',
        )
    )
    classes = read_mjcf_document(path).classes
    assert all(classes[f'c{k}']['geom'] is classes['main']['geom'] for k in range(50))
    assert classes['own']['geom'] == {'a': '0', 'b': '1'}


def test_includes_stand_where_they_are_named(tmp_path):
    path = tmp_path / 'model.xml'
    path.write_text(model_of('<light name="a"/><include file="one.xml"/><light name="d"/>' + animal()))
    (tmp_path / 'one.xml').write_text('<m><light name="b"/><include file="two.xml"/></m>')
    (tmp_path / 'two.xml').write_text('<m><light name="c"/></m>')
    lights = [e.get('name') for e in read_mjcf_document(path).every('worldbody') if e.tag == 'light']
    assert lights == ['a', 'b', 'c', 'd']


def test_a_mesh_that_many_geoms_show_is_read_once(tmp_path):
    path = tmp_path / 'model.xml'
    (tmp_path / 'm.obj').write_text(
        'v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n'
    )
    path.write_text(model_of(animal('<geom type="mesh" mesh="m"/>' * 500), MESH))
    meshes = MjcfMeshes(read_mjcf_document(path))
    assert meshes.mesh('m', 'here') is meshes.mesh('m', 'there')
    # Two balls of 114 vertices are the bodies' own.
    assert len(read_rig(path).vertices) == 2 * 114 + 500 * 4


@pytest.mark.skipif(os.name != 'posix', reason='named pipes')
def test_a_pipe_beside_a_model_is_no_skin(tmp_path):
    os.mkfifo(tmp_path / 'pipe.skn')
    (tmp_path / 'model.xml').write_text(model_of(animal()))
    assert len(read_rig(tmp_path / 'model.xml').vertices) == 3 * 114


def test_what_no_model_can_be_made_of_names_its_file(tmp_path):
    path = tmp_path / 'model.xml'
    path.write_text(model_of('<body><geom size="1e-320"/><body><geom size="1e-320"/></body></body>'))
    with pytest.raises(BadFileError, match='must have triangles of some area') as raised:
        import_rig(path, tmp_path / 'model.smil.json')
    assert str(raised.value).startswith(str(path))
