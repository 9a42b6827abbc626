"""Recordings, image sets and a regressor's predictions are drawn alike: the same colours, and a legend."""

import numpy as np
import pytest
import torch

from smilfit.apis.fitting.fit_overlays import report_images
from smilfit.apis.fitting.image_outputs import ImageDrawing
from smilfit.apis.fitting.overlay_scene import OverlayScene
from smilfit.body_models import SMIL
from smilfit.datasets import PreprocessOptions, image_sessions, open_dataset, preprocess
from smilfit.drawing.marks import ANNOTATED, BODY, FITTED, MARKS, START_BODY
from smilfit.drawing.validation_overlay_hook import prediction_images
from smilfit.structures import BodyParams, FitResult
from smilfit.synthetic import make_quadruped
from tests.datasets.blob_session import BlobSession, make_body
from tests.datasets.image_set import make_images
from tests.toy_regressor import make_regressor
from tests.toy_samples import ToyDataset

SIDE = 224


def fit_of(body, n, **parts):
    params = BodyParams.zeros(n, body.n_joints, body.n_betas).replace(**parts)
    return FitResult(params, torch.zeros(n), torch.ones(n, dtype=torch.bool), body=body, start=params)


def recording(folder):
    """Two frames of three cameras; in one of the images nothing was annotated."""
    session = BlobSession(n_frames=2, missing=[(0, 2, k) for k in range(5)])
    options = PreprocessOptions(target_resolution=64, num_workers=0)
    preprocess([session], folder / 'a.h5', make_body(), options)
    dataset, body = open_dataset(folder / 'a.h5'), SMIL(make_body())
    result = fit_of(body, 2, scale=torch.full((2,), 60.0))
    seen = dataset.keypoints2d('one', body.joint_names)
    return list(report_images(OverlayScene.of_fit(body, result, dataset, 'one', seen, SIDE)).values())


def image_set(folder):
    data = make_quadruped()
    sessions, _ = image_sessions(make_images(folder, data, 2).annotations)
    options = PreprocessOptions(crop_mode='bbox_crop', target_resolution=64, num_workers=0)
    preprocess(sessions, folder / 'a.h5', data, options)
    body = SMIL(data)
    images = ImageDrawing(body, open_dataset(folder / 'a.h5'), sessions[0].name, fit_of(body, 2), SIDE)
    return [images.draw(shown) for shown in images.images()]


def predictions(folder):
    return list(prediction_images(make_regressor(), ToyDataset(n=2), 2).values())


@pytest.mark.parametrize(
    ('use', 'marks'),
    [
        (recording, (ANNOTATED, FITTED, BODY)),
        (image_set, (ANNOTATED, FITTED, BODY, START_BODY)),
        (predictions, (ANNOTATED, FITTED, BODY)),
    ],
)
def test_colours_are_those_of_the_table_and_the_legend_names_them(use, marks, tmp_path):
    drawn = use(tmp_path)
    assert len({image.shape for image in drawn}) == 1
    for image in drawn:
        side = SIDE if use is not predictions else 320
        views, legend = image[:side], image[side:]
        for mark in (ANNOTATED, FITTED):
            assert (views == mark.colour).all(-1).sum() > 10
        assert [mark for mark in MARKS if (legend == mark.colour).all(-1).any()] == list(marks)
        assert len(legend) < side / 4
    assert all(np.ptp(image[:side].astype(int)) > 100 for image in drawn)
