# The first of three trainings of SMAL4V (docs/coming_from/smal4v_wldo.md): a network of single images, on annotated
# images or the frames of many videos.
#   python tools/preprocess.py coco animals.json images.h5 --body-model quadruped
#   python tools/train.py configs/temporal/base.py --cfg-options train_dataloader.dataset.data_path=images.h5
_base_ = ['../train/single_view_images.py']
