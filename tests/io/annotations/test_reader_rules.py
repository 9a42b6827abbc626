"""What holds for every reader of annotations, a plugin's too: the wrapper, the folder of images, safe names."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from smilfit.files import BadFileError, folder_name
from smilfit.files.names import Fence
from smilfit.io.annotations import (
    AnnotationReader,
    CocoReader,
    PolygonMask,
    RleMask,
    SleapReader,
    check_images,
)
from smilfit.io.image_opening import MOST_PIXELS
from smilfit.io.recordings.videos import probe_video
from smilfit.io.sequence_names import AnimalSequences, different_names, sequence_name
from smilfit.registry import ANNOTATIONS, UnknownNameError, build_annotations
from smilfit.structures import AnnotatedImage, AnnotationSet, VideoFrame


def entry(image, **changes):
    plain = AnnotatedImage('a.txt, entry 0', image, np.array([[3.0, 4.0]]), np.ones(1))
    return replace(plain, **changes)


class Plugin(AnnotationReader):
    """A reader of somebody's own, which takes no care."""

    def __init__(self, made, images=None):
        super().__init__(images)
        self.made = made

    def read(self, path):
        """Return what was made, or raise it."""
        if isinstance(self.made, Exception):
            raise self.made
        return AnnotationSet(
            'a/b', ('nose',), tuple(self.made), fps={'x/y': 25.0, 'z': float('nan')}, temporal=True
        )


@pytest.mark.parametrize(
    'error',
    [IndexError('list index out of range'), MemoryError(), RecursionError(), AttributeError('x'), EOFError()],
)
def test_whatever_a_plugin_raises_names_the_file(tmp_path, error):
    with pytest.raises(BadFileError) as caught:
        Plugin(error).read(tmp_path / 'a.txt')
    assert str(caught.value).startswith(f'{tmp_path / "a.txt"}: annotations must')


@pytest.mark.parametrize(
    'error',
    [UnknownNameError("no 'a'. Did you mean 'b'?"), BadFileError('/other/file: x must be y; got z. Do it.')],
)
def test_errors_that_say_it_already_are_passed_on(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        Plugin(error).read(tmp_path / 'a.txt')
    assert caught.value is error
    with pytest.raises(ImportError):
        Plugin(ImportError('no such package')).read(tmp_path / 'a.txt')


def test_numbers_that_no_image_has_leave_an_entry_out(tmp_path):
    good = entry(tmp_path / 'a.png')
    bad = [
        entry(tmp_path / 'a.png', frame=-1),
        entry(tmp_path / 'a.png', frame=1 << 60),
        entry(tmp_path / 'a.png', size=(100_000, 100_000)),
        entry(tmp_path / 'a.png', box=np.array([0.0, 0.0, np.inf, 1.0])),
        entry(tmp_path / 'a.png', box=np.array([0.0, 0.0, 0.0, 1.0])),
        entry(tmp_path / 'a.png', keypoints=np.array([[np.nan, 1.0]])),
        entry(tmp_path / 'a.png', confidence=np.array([np.inf])),
        entry(tmp_path / 'a.png', keypoints3d=np.array([[0.0, np.nan, 1.0]])),
    ]
    result = Plugin([good, *bad]).read(tmp_path / 'a.txt')
    assert len(result) == 1
    assert len(result.skipped) == len(bad)
    assert all(skipped.reason.endswith('Correct it.') for skipped in result.skipped[:2])


def test_names_can_name_folders(tmp_path):
    images = [entry(tmp_path / 'a.png', sequence=name) for name in ('x/y', '../../z', 'fine name', '..')]
    result = Plugin(images).read(tmp_path / 'a.txt')
    names = [image.sequence for image in result.images]
    assert names[2] == 'fine name'
    assert len(set(names)) == 4
    assert all(folder_name(name) == name for name in (*names, result.name))
    assert result.fps == {names[0]: 25.0}


def test_sequences_of_several_parts_never_collide():
    assert sequence_name('run', 'a') == 'run+a'
    pairs = [
        ('a+b', 'c'),
        ('a', 'b+c'),
        ('a/b', 'c'),
        ('a', 'b/c'),
        ('', 'a'),
        ('a', ''),
        ('a', '..'),
        ('..', 'a'),
    ]
    names = [sequence_name(*pair) for pair in pairs]
    assert len(set(names)) == len(pairs)
    assert all(folder_name(name) == name for name in names)
    assert different_names(['a', 'a', 'b', 'a_0']) == ['a_1', 'a_2', 'b', 'a_0']
    animals = AnimalSequences(['run', 'walk'])
    assert [animals.of(0, i, 'mouse') for i in (1, 2, 1)] == ['run+mouse', 'run+mouse (2)', 'run+mouse']
    assert animals.of(0, 3, 'mouse (2)') not in ('run+mouse', 'run+mouse (2)')
    assert animals.of(1, 1, 'mouse') == 'walk+mouse'


@pytest.fixture
def coco(tmp_path):
    """Images inside and outside of a folder, and labels that name all of them."""
    (tmp_path / 'in' / 'deep').mkdir(parents=True)
    (tmp_path / 'out').mkdir()
    for name in ('in/a.png', 'in/deep/b.png', 'out/c.png'):
        cv2.imwrite(str(tmp_path / name), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / 'in' / 'link.png').symlink_to(tmp_path / 'out' / 'c.png')
    (tmp_path / 'in' / 'within.png').symlink_to(tmp_path / 'in' / 'deep' / 'b.png')
    (tmp_path / 'in' / 'folder').symlink_to(tmp_path / 'out')
    outside = [
        '../out/c.png',
        'deep/../../out/c.png',
        str(tmp_path / 'out' / 'c.png'),
        'link.png',
        'folder/c.png',
    ]
    inside = ['a.png', 'deep/b.png', 'deep/../a.png', str(tmp_path / 'in' / 'a.png'), 'within.png']
    names = [*inside, *outside]
    content = {
        'images': [{'id': i, 'file_name': n, 'width': 30, 'height': 20} for i, n in enumerate(names)],
        'annotations': [
            {'id': i, 'image_id': i, 'category_id': 1, 'keypoints': [3 + i, 4, 2]} for i in range(len(names))
        ],
        'categories': [{'id': 1, 'name': 'x', 'keypoints': ['nose']}],
    }
    (tmp_path / 'in' / 'labels.json').write_text(json.dumps(content))
    return tmp_path / 'in' / 'labels.json', len(inside), len(outside)


def test_images_outside_are_left_out_unless_allowed(coco):
    path, inside, outside = coco
    for reader in (CocoReader(), CocoReader(images=path.parent)):
        result = check_images(reader.read(path))
        assert (len(result), len(result.skipped)) == (inside, outside)
        assert all('--allow-outside-images' in skipped.reason for skipped in result.skipped)
    allowed = build_annotations(dict(type='coco', allow_outside_images=True))
    result = check_images(allowed.read(path))
    assert (len(result), len(result.skipped)) == (inside + outside, 0)


def test_every_format_takes_the_flag():
    ANNOTATIONS.import_from_location()
    for name in sorted(ANNOTATIONS.module_dict):
        assert build_annotations(dict(type=name, allow_outside_images=True)).allow_outside_images
        assert not build_annotations(dict(type=name)).allow_outside_images


def test_a_fence_refuses_what_is_no_path(tmp_path):
    fence = Fence([tmp_path])
    for name in ('a.png', 'not there/a.png', 'not there/../a.png'):
        assert fence.holds(tmp_path / name)
    for name in ('..', '../a.png', 'not there/../../a.png', 'a\0.png', 'a\0/b.png', 'a' * 5000):
        assert not fence.holds(tmp_path / name)
    assert not fence.holds(Path('/'))


def test_a_mask_is_as_large_as_its_image_before_it_is_decoded(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((20, 30, 3), np.uint8))
    # Decoded, each would be an error of its own.
    for mask in (RleMask([7], (100_000, 100_000)), PolygonMask([[0, 0]], (31, 20))):
        result = check_images(AnnotationSet('a', ('nose',), (entry(tmp_path / 'a.png', mask=mask),)))
        assert 'the mask must be of the size of its image, 30x20 px' in result.skipped[0].reason


def test_a_large_image_leaves_the_rest_of_its_set(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((20, 30, 3), np.uint8))
    header = b'P5 %d %d 255\n'
    (tmp_path / 'bomb.pgm').write_bytes(header % (30_000, 30_000))
    (tmp_path / 'large.pgm').write_bytes(header % (MOST_PIXELS // 10_000 + 1, 10_000))
    (tmp_path / 'just.pgm').write_bytes(header % (MOST_PIXELS // 10_000, 10_000))
    names = ('bomb.pgm', 'a.png', 'large.pgm', 'just.pgm')
    result = check_images(AnnotationSet('a', ('nose',), tuple(entry(tmp_path / name) for name in names)))
    assert [image.image.name for image in result.images] == ['a.png', 'just.pgm']
    assert all('million px' in skipped.reason for skipped in result.skipped)


@pytest.mark.parametrize(
    'text', [b'#EXTM3U\nb.avi\n\0', b'ffconcat version 1.0\n\0', b'\xef\xbb\xbf<?xml\0', b'x' * 900]
)
def test_a_playlist_is_no_video(tmp_path, text):
    (tmp_path / 'a.avi').write_bytes(text)
    with pytest.raises(BadFileError, match=r'a\.avi: the file must be a video that opens; it is text'):
        probe_video(tmp_path / 'a.avi')


def test_polygons_fill_the_same_pixels_wherever_they_are_cut():
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(-20, 60, size=(7, 2))
        whole = PolygonMask([(corners + 30).ravel().tolist()], (110, 100)).read()
        part = PolygonMask([corners.ravel().tolist()], (40, 30)).read()
        np.testing.assert_array_equal(part, whole[30:60, 30:70])


def test_videos_may_lie_where_labels_say(tmp_path, write_video):
    from smilfit.io import write_slp

    film = write_video(tmp_path / 'elsewhere' / 'film.avi')
    write_slp(tmp_path / 'labels' / 'a.slp', np.full((1, 3, 2), 7.0), ('a', 'b', 'c'), film)
    result = check_images(SleapReader().read(tmp_path / 'labels' / 'a.slp'))
    assert result.images[0].image == VideoFrame(film, 0)
