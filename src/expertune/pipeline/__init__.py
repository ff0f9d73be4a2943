"""Order the stages of a run and keep what they make."""
