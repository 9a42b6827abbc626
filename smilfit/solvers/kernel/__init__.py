"""The fused Warp kernel of trees."""
