"""Which keypoint of a model is which keypoint of an annotation format: shipped tables, and a user's own."""

from smilfit.io.keypoint_maps.tables import available_keypoint_maps, keypoint_map_file, load_keypoint_map

__all__ = ['available_keypoint_maps', 'keypoint_map_file', 'load_keypoint_map']
