"""Parts of latent walks: the geometry of noise, what each kind of model walks, how walks are shown."""
