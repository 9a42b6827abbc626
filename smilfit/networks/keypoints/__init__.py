"""From images to keypoints in space: crops, heat maps, the meeting of views."""
