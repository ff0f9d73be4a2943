"""Measure base and tuned on held-out questions, with intervals and a verdict."""
