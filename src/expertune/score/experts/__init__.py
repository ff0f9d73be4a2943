"""Experts, one file each; they join through entry points."""
