# torch.compile of the training step; a dict gives its arguments, such as dict(mode='max-autotune').
compile = True
