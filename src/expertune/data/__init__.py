"""Load questions and answers for training, and judged sets for evaluation. Knows no model, score or label.

`load` reads everything at once; `Files` reads one side of it. Training sees `Loaded.train` alone, which holds no
question that a test holds too, and `Loaded.held_out` finds what nearly repeats one.
"""

from expertune.data.general import load_general_dev_set, reference_sentences
from expertune.data.leakage import HeldOut
from expertune.data.loading import Files, Loaded, load, load_corpus, load_frame
from expertune.data.sentence_pairs import read_scored_pairs
from expertune.data.wording import normalise

__all__ = [
    "Files",
    "HeldOut",
    "Loaded",
    "load",
    "load_corpus",
    "load_frame",
    "load_general_dev_set",
    "normalise",
    "read_scored_pairs",
    "reference_sentences",
]
