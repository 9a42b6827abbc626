"""Neural regressors: backbones, fusion, heads, assembled as mmengine models."""
