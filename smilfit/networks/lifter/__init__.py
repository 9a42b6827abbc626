"""From keypoints in space to a body: what is known of points, the network that lifts them, a fit from there."""
