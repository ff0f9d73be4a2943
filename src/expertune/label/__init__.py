"""Turn the panel's scores into soft labels."""
