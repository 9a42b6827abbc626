# torch.compile of the training step; of a model with `compile_network` (KeypointRegressor) of its network alone. A
# dict gives its arguments, such as dict(mode='max-autotune').
compile = True
