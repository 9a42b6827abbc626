# As keypoint_unet.py, with a map of the animals' centres: finds several animals (tools/infer.py --animals N).
# The dataset should show several in an image: tools/preprocess.py sleap ... --instance each --crop-mode default, or
# tools/synthesize.py ... --animals N --crop-mode default.
_base_ = ['keypoint_unet.py']

model = dict(
    heatmap_head=dict(centre=True),
    # Several are looked for in whole images, which must be seen often.
    augment=dict(whole=0.35),
)
