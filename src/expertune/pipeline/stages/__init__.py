"""The stages of a run, a module for each part: keys, inputs, record; none of the work."""

from enum import StrEnum


class Stage(StrEnum):
    """The stages, in order."""

    LOAD = "load"
    AUGMENT = "augment"
    SCORE = "score"
    LABEL = "label"
    TRAIN = "train"
    EVALUATE = "evaluate"
    REPORT = "report"
