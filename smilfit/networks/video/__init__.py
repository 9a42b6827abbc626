"""One recording over time: optical flow, labels carried along it, paths of keypoints through their heat maps."""
