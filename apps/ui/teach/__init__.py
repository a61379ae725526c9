"""Teach: a video model fine-tuned on a person's own clips, in a process of its own."""
