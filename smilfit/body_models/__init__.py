"""From a model file to BodyModelData (numpy) to an nn.Module."""
