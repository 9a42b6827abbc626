# Where maps of a frozen backbone out of timm are kept: each training image goes through it once. It belongs to these
# weights and these very images: others are other files. Delete the folder when the training is done.
feature_cache = dict(type='FeatureCache', folder='work_dirs/features', dtype='float16', most_gb=50.0)
