"""Generators of questions, one file each; they join through entry points."""
