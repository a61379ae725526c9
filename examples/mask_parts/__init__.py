"""Parts of the example of masks: model, figures, and data sets."""
