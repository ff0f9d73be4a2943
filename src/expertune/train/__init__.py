"""Tune the base model on the labels and choose how far to go."""
