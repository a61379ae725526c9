"""Parts of the colouriser's pipeline: from photographs to what the model takes, and from its colours back."""
