"""Tune a text-embedding model to a small question-answer set, and prove whether it got better."""
