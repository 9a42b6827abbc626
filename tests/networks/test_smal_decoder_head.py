"""AniMer's head against the outputs of AniMer's own classes, and the crop and cameras that its numbers are of."""

import json
from pathlib import Path

import pytest
import torch

from smilfit import load_body_model
from smilfit.networks import AnimalCrop, AnimerNetwork, SmalDecoderHead, TimmBackbone
from smilfit.networks.animer.checkpoint import converted_weights
from smilfit.registry import MODELS, build
from tests.networks.animer_files import ruled_image, ruled_state

# Of a small network (64 channels, 3 blocks, 2 decoder layers) of AniMer's code, whose weights follow `ruled`.
OUTPUTS = json.loads((Path(__file__).parent / 'animer_outputs.json').read_text())


@pytest.fixture(scope='module')
def network() -> AnimerNetwork:
    made = converted_weights('x.ckpt', ruled_state(), heads=4)
    result = build(made.model, MODELS)
    result.load_state_dict(made.weights)
    return result.eval()


def test_outputs_are_those_of_animers_own_classes(network):
    with torch.no_grad():
        prediction = network(ruled_image() * network.backbone.std + network.backbone.mean)
    result, grid = prediction.estimate, prediction.map
    assert grid.shape == (1, 64, 16, 12)
    for name, value in {
        'map_mean': grid.mean(),
        'map_abs': grid.abs().mean(),
        'map_0_5_3_7': grid[0, :8, 5, 3],
        'cls_first8': prediction.features[0, :8],
        'betas': result.betas[0],
        'global_orient': result.rotations[0, 0],
        'pose_joint_10': result.rotations[0, 11],
        'cam': result.camera[0],
    }.items():
        expected = torch.tensor(OUTPUTS[name])
        torch.testing.assert_close(
            value, expected, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}'
        )


def test_six_numbers_are_two_columns_and_steps_add_the_same_again():
    head = SmalDecoderHead(
        n_joints=2, n_betas=3, context_dim=4, dim=8, n_layers=1, n_heads=2, dim_head=2, mlp_dim=8
    )
    torch.nn.init.zeros_(head.pose.weight)
    with torch.no_grad():
        head.start_pose.zero_()
        head.pose.bias.copy_(torch.tensor([0.0, 2, 0, 0, 5, 3] + [1.0, 0, 0, 0, 1, 0]))
    tokens = torch.rand(2, 5, 4)
    once = head(tokens)
    # The first column is (0, 1, 0), the second (0, 0, 1): x goes to y, y to z.
    expected = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    torch.testing.assert_close(once.rotations[0, 0], expected)
    torch.testing.assert_close(once.rotations[0, 1], torch.eye(3))
    head.n_iters = 3
    thrice = head(tokens)
    torch.testing.assert_close(thrice.betas, 3 * once.betas)
    start = head.start_camera
    torch.testing.assert_close(thrice.camera - start, 3 * (once.camera - start))
    assert once.as_vector().shape == (2, 2 * 9 + 3 + 3)
    with pytest.raises(ValueError, match='n_iters must be at least 1'):
        SmalDecoderHead(n_iters=0)


def test_an_untrained_head_is_near_the_rest_pose_and_trains_all():
    head = SmalDecoderHead(
        n_joints=3, n_betas=2, context_dim=4, dim=16, n_layers=2, n_heads=2, dim_head=4, mlp_dim=8
    )
    result = head(torch.rand(3, 7, 4))
    assert float((result.rotations - torch.eye(3)).detach().abs().max()) < 0.2
    result.as_vector().square().sum().backward()
    # One query reads itself alone, whatever its queries and keys say.
    idle = {f'layers.{i}.self_attention.to_q.weight' for i in range(2)}
    grads = {name: p.grad for name, p in head.named_parameters()}
    assert all(g is not None for g in grads.values())
    assert all(bool(g.any()) for name, g in grads.items() if name not in idle)


def test_a_crop_shows_the_box_as_animer_cuts_it():
    images = torch.zeros(1, 3, 300, 500)
    images[0, :, 90:211, 180:421] = 1
    # 240 px wide, its middle at (300, 150).
    crop = AnimalCrop.around(torch.tensor([[180.0, 90, 240, 120]]), torch.tensor([[500.0, 300]]))
    assert crop.side.tolist() == [240]
    image = crop.cut(images)
    assert image.shape == (1, 3, 256, 192)
    # The box's middle is at (128, 128) of the square, and so at (96, 128) of what remains.
    at = crop.affine()[0] @ torch.tensor([300.0, 150, 1])
    assert at.tolist() == pytest.approx([128, 128])
    inside = image[0, 0, :, 96] > 0.5
    assert int(inside.nonzero()[0]) == pytest.approx(128 - 60 * 256 / 240, abs=1)
    assert int(inside.nonzero()[-1]) == pytest.approx(128 + 60 * 256 / 240, abs=1)
    with pytest.raises(ValueError, match='positive sides'):
        AnimalCrop.around(torch.tensor([[0.0, 0, 0, 9]]), torch.tensor([[500.0, 300]]))


def test_the_body_is_at_the_same_pixels_in_crop_and_image():
    crop = AnimalCrop(torch.tensor([[410.0, 120]]), torch.tensor([200.0]), torch.tensor([[640.0, 480]]))
    camera = torch.tensor([[0.8, 0.1, -0.2]])
    origin = torch.zeros(1, 1, 3)
    in_crop, depth, _ = crop.crop_cameras().project(origin + crop.crop_transl(camera).unsqueeze(1))
    # By hand: 128 (s t + 1), less the 32 columns that are cut off.
    assert in_crop.flatten().tolist() == pytest.approx([128 * 1.08 - 32, 128 * 0.84])
    assert float(depth) == pytest.approx(2 * 1000 / (256 * 0.8), rel=1e-5)
    in_image, _, _ = crop.image_cameras().project(origin + crop.image_transl(camera).unsqueeze(1))
    square = in_crop.flatten() + torch.tensor([32.0, 0])
    back = crop.centre[0] + (square - 128) * crop.side / 256
    assert in_image.flatten().tolist() == pytest.approx(back.tolist(), abs=1e-3)
    # What is 2 model units long in the plane of the origin takes s times the side.
    long = torch.tensor([[[-1.0, 0, 0], [1, 0, 0]]])
    ends, _, _ = crop.image_cameras().project(long + crop.image_transl(camera).unsqueeze(1))
    assert float(ends[0, 0, 1, 0] - ends[0, 0, 0, 0]) == pytest.approx(0.8 * 200, rel=1e-4)


def test_an_estimate_poses_a_body():
    body = load_body_model('quadruped')
    head = SmalDecoderHead(
        body.n_joints, body.n_betas, context_dim=4, dim=8, n_layers=1, n_heads=2, mlp_dim=8
    )
    crop = AnimalCrop(torch.tensor([[50.0, 50]]), torch.tensor([80.0]), torch.tensor([[100.0, 100]]))
    estimate = head(torch.rand(1, 6, 4))
    params = estimate.params(crop.image_transl(estimate.camera))
    joints = body(params, ('joints',)).joints
    assert joints.shape == (1, body.n_joints, 3)
    assert bool((joints[..., 2] > 0).all())


def test_a_backbone_must_have_a_class_token():
    head = SmalDecoderHead(n_joints=2, n_betas=2, context_dim=8, dim=8, n_layers=1)
    with pytest.raises(ValueError, match='must have a class token'):
        AnimerNetwork(TimmBackbone('test_resnet'), head)


def test_patches_are_padded_where_there_are_any():
    plain, padded = (TimmBackbone('test_vit', patch_padding=n).eval() for n in (0, 2))
    padded.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert padded(image).shape == plain(image).shape
    # The same patches of an image that is moved by two px.
    moved = torch.nn.functional.pad(image - plain.mean, (2, -2, 2, -2)) + plain.mean
    torch.testing.assert_close(plain(moved), padded(image))
    for name, n in (('test_resnet', 2), ('test_vit', 20)):
        with pytest.raises(ValueError, match='patch_padding must be'):
            TimmBackbone(name, patch_padding=n)
