"""Any timm network as a backbone."""

import pytest
import timm
import torch

from smilfit.networks import TimmBackbone


@pytest.mark.parametrize('name', ['test_resnet', 'test_vit', 'test_convnext'])
@pytest.mark.parametrize('out_index', [-1, 1])
def test_non_square_images_give_a_map_of_their_shape_and_train_all_that_is_trainable(name, out_index):
    backbone = TimmBackbone(name, out_index=out_index)
    features = backbone(torch.rand(2, 3, 64, 96))
    assert features.shape[:2] == (2, backbone.dim)
    assert features.shape[3] / features.shape[2] == 1.5
    features.square().sum().backward()
    trained = [p for p in backbone.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None for p in trained)


def test_images_are_normalised_as_the_network_was_trained():
    backbone = TimmBackbone('resnet18').eval()
    mean = backbone.mean.expand(1, 3, 64, 64)
    zero = backbone.network.forward_features(torch.zeros(1, 3, 64, 64))
    torch.testing.assert_close(backbone(mean.clone()), zero)


def test_weights_of_a_file_are_loaded_without_its_classifier(tmp_path):
    whole = timm.create_model('test_resnet', num_classes=7)
    torch.save({'state_dict': whole.state_dict()}, tmp_path / 'weights.pth')
    backbone = TimmBackbone('test_resnet', checkpoint=tmp_path / 'weights.pth').eval()
    image = torch.rand(1, 3, 64, 64)
    expected = whole.eval().forward_features((image - backbone.mean) / backbone.std)
    torch.testing.assert_close(backbone(image), expected)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(timm.create_model('test_vit').state_dict(), tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='must be those of the network'):
        TimmBackbone('test_resnet', checkpoint=tmp_path / 'weights.pth')


def test_misspelt_name_shows_the_near_ones():
    with pytest.raises(KeyError, match='resnet50'):
        TimmBackbone('resnet5O')


def test_stored_statistics_of_batch_normalisation_can_be_kept():
    backbone = TimmBackbone('test_resnet', norm_eval=True).train()
    before = {k: v.clone() for k, v in backbone.state_dict().items() if 'running' in k}
    backbone(torch.rand(4, 3, 64, 64))
    after = backbone.state_dict()
    assert before
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_frozen_backbone_has_nothing_to_train():
    assert not any(p.requires_grad for p in TimmBackbone('test_resnet', frozen=True).parameters())
