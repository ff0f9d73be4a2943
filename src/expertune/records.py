"""The frozen records that travel between stages. They know no files and no models.

Dataset -> Questions -> Scores -> SoftLabels -> TunedModel -> Evaluation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pandas import DataFrame

FloatArray = NDArray[np.float32]

METRIC = "ndcg@10"
"""The one metric that decides; choosing among several after the fact would be choosing the answer."""

METRICS = {METRIC: "nDCG@10", "map@10": "mAP@10", "mrr@10": "MRR@10", "recall@10": "recall@10"}
"""What is measured on every held-out set, and how it is written for people."""


class Role(StrEnum):
    """What a judged set is for: the user's own domain, or a check on general ability."""

    DOMAIN = "domain"
    GENERAL = "general"


@dataclass(frozen=True, slots=True)
class Document:
    """One answer that can be retrieved. `text` is title and body joined by a space."""

    id: str
    text: str


class Provenance(StrEnum):
    """Where a question comes from."""

    PAIR = "pair"
    """A question-answer pair of the user's file."""
    JUDGED = "judged"
    """A user's question of a training split, with judgements."""
    SYNTHETIC = "synthetic"
    """Written by a generator."""
    SPAN = "span"
    """Cut out of the answer; nobody asked it."""
    LOG = "log"
    """Asked by a user in a search log; nobody labelled it."""
    HELD_OUT = "held-out"
    """Not for training: studies let the panel score these too."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the answers it is known or meant to lead to.

    `generator` and `kind` name who wrote a synthetic question and the kind of prompt; both are empty otherwise.
    `count` tells how often a question of a log was asked, `clicks` the ids of the answers that users opened after it,
    and how often.
    """

    text: str
    document_ids: tuple[str, ...]
    provenance: Provenance = Provenance.PAIR
    generator: str = ""
    kind: str = ""
    count: int = 1
    clicks: tuple[tuple[str, int], ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether the answers are known, because people named them."""
        return self.provenance in (Provenance.PAIR, Provenance.JUDGED)

    @property
    def synthetic(self) -> bool:
        """Whether a generator wrote it."""
        return self.provenance is Provenance.SYNTHETIC

    @property
    def span(self) -> bool:
        """Whether it is cut out of the answer."""
        return self.provenance is Provenance.SPAN

    @property
    def logged(self) -> bool:
        """Whether it comes from a search log: it has no known answer, and `document_ids` is empty."""
        return self.provenance is Provenance.LOG

    @property
    def source(self) -> str:
        """The generator's name, or the provenance where there is no generator; as tables print it."""
        return self.generator or self.provenance.value


@dataclass(frozen=True, slots=True)
class Dataset:
    """What may be trained on: every document of the corpus and the labelled questions.

    Held-out questions are not in here: they live in `JudgedSet` and only evaluation sees them.
    """

    name: str
    documents: tuple[Document, ...]
    questions: tuple[Question, ...]

    @property
    def labelled_ids(self) -> frozenset[str]:
        """Ids of the documents that at least one labelled question leads to."""
        return frozenset(self.labelled_questions())

    def labelled_questions(self) -> dict[str, tuple[Question, ...]]:
        """Return the labelled questions by the id of each document they lead to, in order."""
        found: dict[str, list[Question]] = {}
        for question in self.questions:
            for document_id in question.document_ids:
                found.setdefault(document_id, []).append(question)
        return {document_id: tuple(questions) for document_id, questions in found.items()}


@dataclass(frozen=True, slots=True)
class Query:
    """One held-out question of a judged set.

    `weight` (above 0) is how much it counts where it was drawn from a log: one with a higher chance than others counts
    less. None: it was not drawn, and counts 1.
    """

    id: str
    text: str
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """A corpus, held-out questions and relevance judgements (grade >= 1 is relevant)."""

    dataset: str
    split: str
    role: Role
    documents: tuple[Document, ...]
    queries: tuple[Query, ...]
    qrels: Mapping[str, Mapping[str, int]]

    @classmethod
    def asking(
        cls, dataset: str, split: str, documents: tuple[Document, ...], questions: Mapping[str, Question]
    ) -> JudgedSet:
        """Return labelled questions, by the id each shall have, as a set of the domain: their answers are relevant."""
        return cls(
            dataset,
            split,
            Role.DOMAIN,
            documents,
            queries=tuple(Query(query_id, question.text) for query_id, question in questions.items()),
            qrels={query_id: dict.fromkeys(question.document_ids, 1) for query_id, question in questions.items()},
        )

    @property
    def name(self) -> str:
        """`dataset/split`, as tables print it."""
        return f"{self.dataset}/{self.split}"


@dataclass(frozen=True, slots=True)
class Questions:
    """The training questions after augmentation, and how many each cleaning rule removed.

    `used` has one line for every generator that told what it used up: calls, tokens, money.
    """

    items: tuple[Question, ...]
    removed: Mapping[str, int] = field(default_factory=dict)
    used: tuple[str, ...] = ()

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which questions `[Q]` are labelled: people named their answers."""
        return np.array([question.labelled for question in self.items], dtype=np.bool_)

    @property
    def logged(self) -> NDArray[np.bool_]:
        """Which questions `[Q]` come from a search log."""
        return np.array([question.logged for question in self.items], dtype=np.bool_)

    def hard_labels(self, documents: Sequence[Document], columns: NDArray[np.int64] | None = None) -> FloatArray:
        """Return y `[Q, D]` in {0, 1}: 1 where a question is known or meant to lead to a document.

        With `columns` `[Q, C]` it is `[Q, C]`: of these documents for each question.
        """
        column = {document.id: index for index, document in enumerate(documents)}
        if columns is not None:
            own = ([column[document_id] for document_id in question.document_ids] for question in self.items)
            rows = [np.isin(some, wanted) for some, wanted in zip(columns, own, strict=True)]
            return np.array(rows, dtype=np.float32).reshape(columns.shape)
        labels = np.zeros((len(self.items), len(documents)), dtype=np.float32)
        for row, question in enumerate(self.items):
            for document_id in question.document_ids:
                labels[row, column[document_id]] = 1.0
        return labels


@dataclass(frozen=True, slots=True)
class Scores:
    """What each expert thinks of each pair.

    `values` is float32 `[Q, D, K]`, NaN where an expert did not score a pair. `seconds` is the
    time each expert took, `used` a line for every expert that told what it used up. Scores of different experts
    are on different scales.

    On a large corpus only candidates are kept: `columns` int64 `[Q, C]` are then the documents of each question, in
    ascending order, and `values` is `[Q, C, K]`. None: all documents.

    Where answers are expanded, `plain` has the shape of `values` and holds the scores of the answers as they are.
    """

    experts: tuple[str, ...]
    values: FloatArray
    seconds: tuple[float, ...] = ()
    columns: NDArray[np.int64] | None = None
    used: tuple[str, ...] = ()
    plain: FloatArray | None = None

    def of(self, rows: NDArray[Any]) -> Scores:
        """Return the scores of some questions, by row number or mask."""
        columns = None if self.columns is None else self.columns[rows]
        plain = None if self.plain is None else np.asarray(self.plain)[rows]
        return replace(self, values=np.asarray(self.values)[rows], columns=columns, plain=plain)


@dataclass(frozen=True, slots=True)
class ExpertQuality:
    """How one expert ranks the known pairs, and the weight that follows.

    `ndcg` is nDCG@10 in [0, 1] over the labelled questions; `weight` sums to 1 over the panel.
    """

    expert: str
    ndcg: float
    weight: float


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """Training targets for every question and document.

    `targets` is float32 `[Q, D]`. For a listwise strategy each row is a distribution over the active
    documents (rows sum to 1); for a pairwise one each entry is a similarity in [0, 1] (`listwise` False).
    `active` `[D]` is False for documents that no training question leads to: they never serve as negatives.
    With `columns` (see `Scores`), targets are `[Q, C]`.
    """

    strategy: str
    targets: FloatArray
    active: NDArray[np.bool_]
    listwise: bool
    panel: tuple[ExpertQuality, ...] = ()
    warnings: tuple[str, ...] = ()
    columns: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class UnansweredGroup:
    """Questions of a search log that mean the same and that no answer fits, the most central one first.

    `counts` tells how often each was asked, `nearest` the id of the answer that comes nearest to it.
    """

    questions: tuple[str, ...]
    counts: tuple[int, ...]
    nearest: tuple[str, ...]

    @property
    def count(self) -> int:
        """How often any of them was asked."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What users ask and no answer fits, the most asked group first.

    `looked_at` questions of the log, which were asked `searches` times, were put to the panel.
    """

    groups: tuple[UnansweredGroup, ...]
    looked_at: int
    searches: int

    @property
    def questions(self) -> int:
        """How many different questions no answer fits."""
        return sum(len(group.questions) for group in self.groups)

    @property
    def count(self) -> int:
        """How often they were asked."""
        return sum(group.count for group in self.groups)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point the selection looked at: values in [0, 1] on validation data only."""

    interpolation_weight: float
    domain: float
    general: float
    domain_difference: float
    domain_standard_error: float
    general_difference: float
    general_standard_error: float
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which point between base (interpolation weight 0) and tuned (1) to keep, and everything weighed for it.

    `left_out` counts the validation questions, which the tuning to choose by did not see; 0: it was tuned on all, and
    the general dev set alone was asked.
    """

    interpolation_weight: float
    candidates: tuple[Candidate, ...]
    why: str
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class TunedModel:
    """A tuned model on disk: a folder that `SentenceTransformer(...)` loads."""

    folder: Path
    base: str
    strategy: str
    mode: str
    selection: Selection
    steps: int
    losses: tuple[float, ...] = ()

    def at(self, folder: Path) -> TunedModel:
        """Return the same record with the folder it was found in: artefacts store no absolute paths."""
        return replace(self, folder=folder)


PLAIN_INDEX = "base, plain index"
"""Name of the base on answers as they are, where an index of question + answer is measured beside it."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Per-query metric values of one model on one judged set.

    `values[metric]` is float64 `[n]` in [0, 1], aligned with `query_ids`; `clusters[i]` names the answer
    (set) of query i, because questions about one answer are not independent; a query that was drawn at random from a
    log stands for itself. `ranks[i]` is the rank
    (1-based) of the first relevant document; `top[i]` the ids of the first answers; `ties` the number of
    queries whose top 10 contains equal scores; `weights` `[n]` how much each query counts (empty: all the same).
    """

    dataset: str
    split: str
    role: Role
    model: str
    query_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    ranks: tuple[int, ...]
    top: tuple[tuple[str, ...], ...]
    ties: int = 0
    weights: tuple[float, ...] = ()

    def mean(self, metric: str) -> float:
        """Return the weighted mean of a metric over queries, in [0, 1]."""
        return float(np.average(self.values[metric], weights=self.weights or None))

    def hits(self, most: int) -> NDArray[np.bool_]:
        """Tell for each query `[n]` whether a relevant document is among the first `most`.

        The sum counts questions, the mean is hit@`most`.
        """
        found: NDArray[np.bool_] = np.array(self.ranks) <= most
        return found


@dataclass(frozen=True, slots=True)
class Separation:
    """How far relevant and irrelevant held-out pairs lie apart for one model on one judged set.

    `auprc` is average precision over all (question, document) pairs and must be read beside `prevalence`,
    the share of relevant pairs; `auroc` and `ks` (Kolmogorov-Smirnov distance) do not depend on it.
    `relevant` and `irrelevant` are histogram densities over `edges` (cosine).
    """

    dataset: str
    split: str
    model: str
    auprc: float
    prevalence: float
    auroc: float
    ks: float
    overlap: float
    edges: tuple[float, ...]
    relevant: tuple[float, ...]
    irrelevant: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """How many questions without an answer a cut refuses: a share of `questions` in [0, 1] with a 95 % interval.

    `source` says where they are from.
    """

    source: str
    questions: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cut:
    """One cosine from which on an answer counts as one.

    Of the right answers, `wanted` are to pass and `passed` of the held-out ones do; of new questions between `low` and
    `high` will, at 95 %.
    """

    score: float
    wanted: float
    passed: float
    low: float
    high: float
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Threshold:
    """What score means that this is an answer at all: cuts from strict to loose wishes, by the tuned model's cosine.

    They come from `questions` held-out questions about `answers` answers; `note` says where those are too few.
    """

    questions: int
    answers: int
    cuts: tuple[Cut, ...]
    note: str = ""

    @property
    def usual(self) -> Cut | None:
        """The cut that 90 % of right answers are to pass, or the nearest that there is; None where there is none."""
        return min(self.cuts, key=lambda cut: abs(cut.wanted - 0.9), default=None)


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Sentence pairs and how similar in meaning people find them; `scores` may have any scale."""

    dataset: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PanelFit:
    """How well the merged panel finds the answers of the labelled questions, in nats of cross-entropy: lower is better.

    `in_sample` is of weights that these `questions` taught; for `left_out` each question, and all others about its
    answer, was left out. `guessing` is what guessing reaches, the log of the number of answers. `sharpness` is the
    panel's, `left_out_sharpness` the one at which `left_out` would be lowest.
    """

    questions: int
    in_sample: float
    left_out: float
    guessing: float
    sharpness: float
    left_out_sharpness: float


@dataclass(frozen=True, slots=True)
class PanelDiagnostics:
    """What speaks for or against the labels before anything is tuned on them; NaN where it cannot be told.

    `agreement` in [-1, 1] is the mean rank correlation of two experts over the documents of a question. `base` and
    `best` are nDCG@10 in [0, 1] over the labelled questions, of the base model and of the best expert. `untraced` in
    [0, 1] is the share of synthetic questions whose answer no expert ranks among its first `top`. `fit` is None with
    few labelled questions.
    """

    agreement: float
    base: float
    best: float
    best_expert: str
    untraced: float
    top: int
    fit: PanelFit | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far K experts agree over a sample of questions; NaN where it cannot be told.

    `alpha` is Krippendorff's alpha at interval level and `icc` is ICC(2,k) (two-way random, absolute
    agreement, mean of k raters; Shrout & Fleiss 1979), both on z-scores per expert and at most 1.
    `kendall_w` in [0, 1] is the mean over questions, corrected for ties. `spearman` `[K, K]` in [-1, 1] is
    the mean over questions of rank correlations over documents. `jaccard` `[K, K]` in [0, 1] is the mean
    overlap of the experts' `top` best documents.

    `questions` are the indices (into the scores' questions) that were looked at; `disagreement[i]` is, for
    question `questions[i]`, the standard deviation over experts of a document's rank, averaged over the
    documents that any expert ranks among its `top`. `most_disagreed` names the questions with the largest,
    worst first.
    """

    experts: tuple[str, ...]
    alpha: float
    kendall_w: float
    icc: float
    spearman: NDArray[np.float64]
    jaccard: NDArray[np.float64]
    questions: tuple[int, ...]
    disagreement: NDArray[np.float64]
    most_disagreed: tuple[int, ...]
    top: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Measures of one cloud of n vectors in d dimensions; NaN where a cloud does not determine them.

    `mean_cosine` in [-1, 1] is the anisotropy: the mean cosine of random distinct pairs, near 0 for an
    isotropic cloud. `iso_score` in [0, 1] is 1 where all dimensions are used alike and 0 where one is
    (Rudman et al. 2022). `effective_rank` in [1, d] is the exponential of the entropy of the covariance
    spectrum (Roy & Vetterli 2007). `top_share` in [1 / d, 1] is the share of the variance along the first
    principal direction. `uniformity` in [-8, 0] is log mean exp(-2 |x - y|^2), lower is more uniform
    (Wang & Isola 2020).
    """

    vectors: int
    dimensions: int
    mean_cosine: float
    iso_score: float
    effective_rank: float
    top_share: float
    uniformity: float


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """What `mteb` measured for one model on one split and subset of one task.

    `main` is the task's own main score, in [0, 1]; `ndcg` and `map` (both at 10) are NaN where the task does not rank.
    """

    task: str
    split: str
    subset: str
    model: str
    main: float
    ndcg: float
    map: float


@dataclass(frozen=True, slots=True)
class SimilarityChange:
    """How well cosines of sentence pairs follow people's scores: Spearman correlations in [-1, 1], base and tuned.

    `difference` = tuned - base with a 95 % interval over other pairs of the same set.
    """

    dataset: str
    pairs: int
    base: float
    tuned: float
    difference: float
    low: float
    high: float


FEWEST_FOR_INTERVAL = 10
"""With fewer answers than this an interval is hardly worth printing: its own ends are a guess."""


TOO_FEW_ANSWERS = "too few answers for an interval"
"""What stands where an interval would."""


def reading(low: float, high: float) -> str:
    """Say what an interval of a difference shows: "better", "worse" or, where it holds zero, "no difference shown"."""
    if low > 0:
        return Outcome.BETTER.value
    return Outcome.WORSE.value if high < 0 else Outcome.NOT_SHOWN.value


@dataclass(frozen=True, slots=True)
class Comparison:
    """One paired comparison: `difference` = tuned - base with a 95 % interval, all in [-1, 1].

    `p` is two-sided, from a paired randomisation test over clusters; `detectable` is the smallest true
    difference this set would have shown with 80 % power. `answers` counts what is resampled: the answers that the
    queries are about (0: not counted). `adjusted` is p after Benjamini-Hochberg over the sets that the run looked at
    (NaN: this set alone), `level` what it must not exceed.
    """

    dataset: str
    split: str
    role: Role
    metric: str
    base: float
    tuned: float
    difference: float
    low: float
    high: float
    p: float
    queries: int
    detectable: float
    adjusted: float = float("nan")
    level: float = 0.05
    answers: int = 0

    @property
    def name(self) -> str:
        """`dataset/split`, as tables print it."""
        return f"{self.dataset}/{self.split}"

    @property
    def too_few(self) -> bool:
        """Whether the queries are about too few answers for an interval that is worth printing."""
        return 0 < self.answers < FEWEST_FOR_INTERVAL

    @property
    def outcome(self) -> str:
        """Say "better", "worse" or "no difference shown": the interval leaves out zero, and p holds among many sets.

        With too few answers for an interval p alone decides: the test holds for any number of them.
        """
        if self.too_few:
            p = self.p if isnan(self.adjusted) else self.adjusted
            return reading(self.difference, self.difference) if p <= self.level else Outcome.NOT_SHOWN.value
        return Outcome.NOT_SHOWN.value if self.adjusted > self.level else reading(self.low, self.high)


PLAIN_ANSWERS = "answers"
"""What an index holds that holds the answers as they are."""


class IndexWork(StrEnum):
    """What a user has to do to the index of vectors that the base made of the answers."""

    KEPT = "kept"
    """Nothing."""
    ADDED = "words added"
    """It stays, and an index of words comes beside it."""
    ANEW = "made anew"
    """Other vectors, or vectors of other texts."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to search, measured on the held-out questions of the domain.

    `model` is what encodes questions and `holds` what its index holds. `tuned` is True where that is the tuned model,
    whatever the index. `hit1` and `hit3` are the shares of all questions with a right answer among the first one and
    three, `ndcg` is nDCG@10 in the mean over sets, all in [0, 1]. `difference` = its nDCG@10 - that of the reference,
    with a 95 % interval, all in [-1, 1] (all of that with too few answers for an interval); `sets` has the same for
    each set, the reference as `base`. `dimensions` is 0 where there are no vectors;
    `megabytes` (of the weights) and `milliseconds` (a question, on this machine) are NaN where nobody knows. `base` is
    what `train.base` would call the model; empty where it cannot be tuned or is what is tuned now.
    """

    model: str
    holds: str
    work: IndexWork
    tuned: bool
    hit1: float
    hit3: float
    ndcg: float
    difference: float
    low: float
    high: float
    sets: tuple[Comparison, ...]
    dimensions: int = 0
    megabytes: float = float("nan")
    milliseconds: float = float("nan")
    base: str = ""

    @property
    def name(self) -> str:
        """The model, and what its index holds where that is more than the answers."""
        return self.model if self.holds == PLAIN_ANSWERS else f"{self.model}, {self.holds}"

    @property
    def outcome(self) -> str:
        """Say "better", "worse" or, where the interval holds zero, "no difference shown", all beside the reference."""
        return reading(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Ways to search, all on the same held-out questions; `reference` is what the others are compared with.

    `questions` counts the held-out questions of all sets. `left_one_out` is True where there are none: then every
    labelled question was searched in an index without it.
    """

    reference: Alternative
    others: tuple[Alternative, ...]
    questions: int
    left_one_out: bool = False

    @property
    def rows(self) -> tuple[Alternative, ...]:
        """All of them, highest nDCG@10 first; of equal ones the reference."""
        return tuple(sorted((self.reference, *self.others), key=lambda row: -row.ndcg))

    def to_frame(self) -> DataFrame:
        """Return one row a way to search, best first; shares and differences as in `Alternative`."""
        import pandas

        names = ("name", "tuned", "hit1", "hit3", "ndcg", "difference", "low", "high", "dimensions", "megabytes")
        return pandas.DataFrame([{name: getattr(row, name) for name in names} for row in self.rows])

    @property
    def untuned(self) -> tuple[Alternative, ...]:
        """Those other than the reference that tune nothing, highest nDCG@10 first."""
        return tuple(row for row in self.rows if not row.tuned and row is not self.reference)


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """An estimate from the user's own labelled questions, each of them measured by a model tuned without it.

    `base` and `tuned` hold every question once. `known[i]` says whether a labelled question that was trained on leads
    to an answer of question i. `comparisons` are of all questions and, where both kinds are there, of each kind alone.
    The intervals hold for other questions like these; that the folds share most of what they train on is not in them
    (Bengio & Grandvalet 2004: no unbiased estimate of that variance exists).
    """

    folds: int
    base: Measurement
    tuned: Measurement
    known: tuple[bool, ...]
    comparisons: tuple[Comparison, ...]


class Outcome(StrEnum):
    """What is known of one change, as every table and sentence calls it."""

    BETTER = "better"
    LIKELY_BETTER = "likely better"
    NOT_SHOWN = "no difference shown"
    LIKELY_WORSE = "likely worse"
    WORSE = "worse"
    NOT_MEASURED = "not measured"


class Basis(StrEnum):
    """Which questions a verdict on the domain rests on."""

    HELD_OUT = "held-out questions"
    OWN = "your own questions, cross-validated"
    NONE = "not measured"

    @property
    def questions(self) -> str:
        """What its questions are called inside a sentence: "left-out" were put to a model tuned without them."""
        return "left-out questions" if self is Basis.OWN else "held-out questions"


@dataclass(frozen=True, slots=True)
class Hits:
    """How many questions of the domain find a right answer first, and among the first three: base, then tuned.

    `gained` counts questions whose right answer comes first only with the tuned model, `lost` those where it does so
    only with the base.
    """

    questions: int
    first: tuple[int, int]
    three: tuple[int, int]
    gained: int
    lost: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer a user came for: one headline, one action, and why.

    `ship` is None where nothing can be decided: without held-out questions. `why` holds the statistics, `diagnostics`
    the known signs of a failed tuning, `certainty` how sure the change is, all in plain sentences. `hits` is None and
    `certainty` empty where nothing was measured.
    """

    domain: Outcome
    general: Outcome
    ship: bool | None
    headline: str
    action: str
    why: str
    diagnostics: tuple[str, ...] = ()
    basis: Basis = Basis.HELD_OUT
    hits: Hits | None = None
    certainty: str = ""

    @property
    def decision(self) -> str:
        """Say in a few words what is known."""
        gained = self.domain in (Outcome.BETTER, Outcome.LIKELY_BETTER)
        if self.ship is False and gained:
            return f"{self.domain.capitalize()} here, worse elsewhere"
        return self.domain.capitalize() + (" on your own questions" if self.basis is Basis.OWN else "")

    @property
    def tone(self) -> str:
        """Name the colour: "shown" (green), "likely" (amber), "worse" (red) or "unknown" (grey).

        Green is only for what held-out questions showed.
        """
        if self.domain is Outcome.NOT_MEASURED:
            return "unknown"
        if self.domain is Outcome.WORSE or (self.ship is False and self.domain is Outcome.BETTER):
            return "worse"
        return "shown" if self.ship and self.domain is Outcome.BETTER else "likely"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything measured on held-out data, for the base and the tuned model alike.

    Where answers are expanded, base and tuned both find them as question + answer. `indexing` then compares the base on
    the expanded index (its `tuned`) with the base on the plain one (its `base`), and `overall` the tuned model on the
    expanded index with that: what comes from indexing, and what from indexing and tuning together. `alternatives` has
    what a user could take instead; None without a domain set.

    `own` is the estimate from the labelled questions where nothing of the domain was held out.
    """

    measurements: tuple[Measurement, ...]
    separations: tuple[Separation, ...]
    comparisons: tuple[Comparison, ...]
    verdict: Verdict
    benchmarks: tuple[BenchmarkScore, ...] = ()
    similarities: tuple[SimilarityChange, ...] = ()
    indexing: tuple[Comparison, ...] = ()
    overall: tuple[Comparison, ...] = ()
    alternatives: Alternatives | None = None
    own: CrossValidation | None = None

    @property
    def measured(self) -> tuple[Measurement, ...]:
        """All measurements, those of cross-validation first."""
        return (self.own.base, self.own.tuned, *self.measurements) if self.own else self.measurements

    @property
    def compared(self) -> tuple[Comparison, ...]:
        """All comparisons of base and tuned, those of cross-validation first."""
        return (*self.own.comparisons, *self.comparisons) if self.own else self.comparisons

    def to_frame(self) -> DataFrame:
        """Return the comparisons of base and tuned model, one row a held-out set and metric."""
        import pandas

        names = ("dataset", "split", "role", "metric", "queries", "base", "tuned", "difference", "low", "high", "p")
        rows = [{name: getattr(row, name) for name in names} for row in self.comparisons]
        return pandas.DataFrame(rows, columns=list(names))


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of work done: `done` of `total` items of `stage`. The only thing a stage tells while it works.

    A run adds what it expects of the whole: the `share` that is done (0 to 1) and the seconds that are left.
    """

    stage: str
    done: int
    total: int
    detail: str = ""
    share: float | None = None
    seconds_left: float | None = None


Report = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """Drop a progress event: the default where nobody watches."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one stage took in this run; `reused` where its artefact came from the store instead."""

    stage: str
    seconds: float
    reused: bool
