"""Where all animals of an image are: from several annotations, through transforms, beside files that do not say."""

from pathlib import Path

import numpy as np
import torch

from smilfit.datasets import MixedDataset, PictureDataset, PreprocessOptions, preprocess
from smilfit.datasets.image_session import image_sessions
from smilfit.datasets.transforms import move_crops
from smilfit.structures import AnimalCentres, AnnotatedImage, AnnotationSet
from tests.datasets.blob_session import BlobSession, make_body


class TwoBlobs(BlobSession):
    """A recording with a second animal, in the first view's corner, that is seen in every other frame."""

    def centres2d(self) -> AnimalCentres:
        own = np.where(self.keypoints2d().visible.numpy()[..., None], self.keypoints2d().xy.numpy(), np.nan)
        other = np.full_like(own, np.nan)
        other[::2, 0, :2] = (20.0, 30.0)
        return AnimalCentres.of_keypoints([own, other], 2)


def _store(folder: Path, session: BlobSession, **options) -> Path:
    path = folder / f'{session.name}.h5'
    preprocess([session], path, make_body(), PreprocessOptions(target_resolution=48, **options))
    return path


def test_annotations_of_one_image_are_its_animals():
    def entry(index, file, place, box=None):
        confidence = np.array([1.0, 0.0]) if box is None else np.zeros(2)
        xy = np.array([place, (0.0, 0.0)])
        return AnnotatedImage(f'entry {index}', Path(file), xy, confidence, (100, 80), box)

    images = (
        entry(0, 'a.png', (10.0, 20.0)),
        entry(1, 'b.png', (5.0, 6.0)),
        entry(2, 'a.png', (50.0, 60.0)),
        entry(3, 'a.png', (0.0, 0.0), np.array([70.0, 10.0, 20.0, 10.0])),
    )
    ((session,), _) = image_sessions(AnnotationSet('set', ('a', 'b'), images))
    centres = session.centres2d()
    by_entry = {image.where: i for i, image in enumerate(session.images)}
    for name, places in (('entry 0', [(10, 20), (50, 60), (80, 15)]), ('entry 1', [(5, 6)])):
        i = by_entry[name]
        assert centres.xy[i, 0][centres.known[i, 0]].tolist() == [list(map(float, p)) for p in places]
    assert centres.complete.all()
    ((alone,), _) = image_sessions(AnnotationSet('set', ('a', 'b'), images[:2]))
    assert alone.centres2d() is None


def test_a_view_in_which_one_is_not_labelled_is_not_complete(tmp_path):
    images = PictureDataset(_store(tmp_path, TwoBlobs('two')), split='all', test_mode=True)
    complete = {}
    for item in range(len(images)):
        data = images[item]['data_samples']
        complete[int(data['frame']), int(data['view'])] = bool(data['all_animals'][0])
        assert data['centres_weight'].sum() == 1 + complete[int(data['frame']), int(data['view'])]
    assert all(value == (frame % 2 == 0 and view == 0) for (frame, view), value in complete.items())


def test_one_animal_leaves_files_and_samples_as_they_were(tmp_path):
    images = PictureDataset(_store(tmp_path, BlobSession('one')), split='all', test_mode=True)
    assert 'centres2d' not in images[0]['data_samples']
    assert images.file.n_centres == 0
    # Unless somebody says that there are more.
    notes = PictureDataset(_store(tmp_path, BlobSession('told'), n_animals=2), split='all', test_mode=True)
    data = notes[0]['data_samples']
    assert not data['all_animals'].any()
    own = data['keypoints2d'][0][data['confidence2d'][0] > 0].mean(0)
    # The lens bends a mean a little otherwise than its points.
    torch.testing.assert_close(data['centres2d'][0, 0], own, atol=0.2, rtol=0)


def test_sets_that_say_nothing_of_others_mix_with_those_that_do(tmp_path):
    sets = [
        PictureDataset(_store(tmp_path, session), split='all', test_mode=True)
        for session in (BlobSession('one'), TwoBlobs('two'))
    ]
    mixed = MixedDataset(sets)
    for item in (0, len(mixed) - 1):
        data = mixed[item]['data_samples']
        assert data['centres2d'].shape == (1, 2, 2)
        assert bool(data['centres_weight'].any()) == (item > 0)
    assert mixed[0]['data_samples']['all_animals'].all()


def test_centres_move_with_the_crop(tmp_path):
    images = PictureDataset(_store(tmp_path, TwoBlobs('two')), split='all', test_mode=True)
    sample = images[0]
    moved = move_crops(sample, torch.tensor([[[0.5, 0.0, 3.0], [0.0, 0.5, 1.0]]]))
    before, after = (s['data_samples']['centres2d'][0] for s in (sample, moved))
    known = sample['data_samples']['centres_weight'][0] > 0
    torch.testing.assert_close(after[known], before[known] / 2 + torch.tensor([3.0, 1.0]))
