"""The parts of `bench/quality.py`: pieces, the table made of them, the page and the plots."""
