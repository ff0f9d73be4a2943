"""Objectives against float64 references, and the matrix loss on real tensors."""

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

from expertune.train.losses import OBJECTIVES, MatrixLoss, listwise, pairwise


def batch(seed=0, rows=5, columns=7):
    generator = np.random.default_rng(seed)
    similarities = generator.uniform(-1, 1, (rows, columns))
    targets = special.softmax(generator.normal(size=(rows, columns)), axis=1)
    return torch.tensor(similarities), torch.tensor(targets)


def test_listwise_is_the_kl_divergence():
    s, t = batch()
    reference = (special.rel_entr(t.numpy(), special.softmax(s.numpy() / 0.05, axis=1))).sum(axis=1).mean()
    assert listwise(s, t, 0.05).item() == pytest.approx(reference, rel=1e-9)


def test_listwise_is_zero_at_its_target():
    s, _ = batch()
    assert listwise(s, torch.softmax(s / 0.05, dim=1), 0.05).item() == pytest.approx(0.0, abs=1e-12)


def test_listwise_gradient_is_the_difference_of_the_distributions():
    s, t = batch()
    s.requires_grad_(True)
    listwise(s, t, 0.05).backward()
    reference = (special.softmax(s.detach().numpy() / 0.05, axis=1) - t.numpy()) / 0.05 / len(t)
    np.testing.assert_allclose(s.grad.numpy(), reference, rtol=1e-9, atol=1e-12)


def test_float32_listwise_gradient_is_near_the_float64_one():
    gradients = []
    for dtype in (torch.float32, torch.float64):
        s, t = (value.to(dtype) for value in batch(rows=16, columns=300))
        s.requires_grad_(True)
        listwise(s, t, 0.05).backward()
        gradients.append(s.grad.double().numpy())
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_a_document_that_is_no_candidate_counts_for_nothing(name):
    s, t = batch(rows=3, columns=6)
    kept = t[:, :4] / t[:, :4].sum(dim=1, keepdim=True)
    masked = torch.cat([kept, torch.full((3, 2), torch.nan)], dim=1)
    s.requires_grad_(True)
    loss = OBJECTIVES[name](s, masked, 0.1)
    assert loss.item() == pytest.approx(OBJECTIVES[name](s[:, :4], kept, 0.1).item(), rel=1e-9)
    loss.backward()
    assert not s.grad[:, 4:].any()


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_gradients_agree_with_finite_differences(name):
    s, t = batch(rows=3, columns=4)
    s.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: OBJECTIVES[name](x, t, 0.1), (s,))


def test_pairwise_by_hand():
    s = torch.tensor([[0.5, 0.1]])
    t = torch.tensor([[1.0, 0.0]])
    assert pairwise(s, t, 1.0).item() == pytest.approx((0.25 + 0.01) / 2)


class Table(nn.Module):
    """The smallest encoder there is: one vector a token id."""

    def __init__(self, vectors):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(vectors, dtype=torch.float32))

    def forward(self, features):
        return {"sentence_embedding": self.weight[features["input_ids"]]}


def test_the_matrix_loss_looks_up_the_rows_it_was_given():
    generator = np.random.default_rng(1)
    model = Table(generator.normal(size=(4, 3)))
    documents = torch.nn.functional.normalize(torch.tensor(generator.normal(size=(2, 3)), dtype=torch.float32), dim=1)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.8]])
    loss = MatrixLoss(
        model,
        targets=targets,
        documents=lambda rows: (torch.arange(2), documents),
        objective="listwise",
        temperature=0.1,
    )
    rows = torch.tensor([3, 1])
    questions = torch.nn.functional.normalize(model.weight[rows], dim=1)
    expected = listwise(questions @ documents.T, targets[rows], 0.1)
    assert loss([{"input_ids": rows}], rows).item() == pytest.approx(expected.item(), rel=1e-6)


def test_candidates_hold_part_of_a_row_and_are_renormalised():
    model = Table(np.eye(3))
    documents = torch.eye(3)
    targets = torch.tensor([[0.2, 0.2, 0.6]])
    loss = MatrixLoss(
        model,
        targets=targets,
        documents=lambda rows: (torch.tensor([0, 2]), documents[[0, 2]]),
        objective="listwise",
        temperature=1.0,
    )
    expected = listwise(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.25, 0.75]]), 1.0)
    assert loss([{"input_ids": torch.tensor([0])}], torch.tensor([0])).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_candidates_in_any_order_that_are_all_documents_change_nothing(name):
    generator = np.random.default_rng(2)
    model = Table(generator.normal(size=(4, 6)))
    documents = torch.nn.functional.normalize(torch.tensor(generator.normal(size=(5, 6)), dtype=torch.float32), dim=1)
    targets = torch.tensor(special.softmax(generator.normal(size=(4, 5)), axis=1), dtype=torch.float32)
    order = torch.tensor(np.stack([generator.permutation(5) for _ in range(4)]))
    rows = torch.tensor([2, 0])

    def loss(**given):
        made = MatrixLoss(
            model, documents=lambda _: (torch.arange(5), documents), objective=name, temperature=0.1, **given
        )
        return made([{"input_ids": rows}], rows).item()

    assert loss(targets=targets.gather(1, order), candidates=order) == pytest.approx(loss(targets=targets), rel=1e-6)


def test_a_question_is_not_judged_against_the_candidates_of_another():
    documents, rows = torch.eye(3), torch.tensor([0, 1])
    loss = MatrixLoss(
        Table(np.eye(3)),
        targets=torch.tensor([[1.0, 0.0], [0.5, 0.5]]),
        candidates=torch.tensor([[0, 1], [2, 1]]),
        documents=lambda _: (torch.arange(3), documents),
        objective="listwise",
        temperature=1.0,
    )
    first = listwise(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 1.0)
    second = listwise(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]]), 1.0)
    assert loss([{"input_ids": rows}], rows).item() == pytest.approx((first + second).item() / 2, rel=1e-6)


def test_a_popular_document_has_to_be_told_by_more_in_a_softmax():
    """A log prior is added to the logits: twice the mass of another document is worth log 2 of its similarity."""
    documents, rows = torch.eye(3), torch.tensor([0, 1, 2])
    targets = torch.tensor([[0.6, 0.3, 0.1]]).repeat(3, 1)

    def loss(log_prior, table):
        made = MatrixLoss(
            Table(table),
            targets=targets,
            documents=lambda _: (torch.tensor([0, 2]), documents[[0, 2]]),
            objective="listwise",
            temperature=0.5,
            log_prior=log_prior,
        )
        return made([{"input_ids": rows}], rows).item()

    # Cosines (0.6, 0) and (0, 0.8) of two questions with the documents: what the prior gives, they need not have.
    table = np.array([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8], [0.0, 1.0, 0.0]])
    prior = torch.log(torch.tensor([4.0, 9.0, 1.0]))
    kept = torch.tensor([[0.6, 0.0], [0.0, 0.8], [0.0, 0.0]])
    wanted = listwise(kept + 0.5 * prior[[0, 2]], targets[:, [0, 2]] / 0.7, 0.5).item()
    assert loss(prior, table) == pytest.approx(wanted, rel=1e-5)
    assert loss(None, table) == pytest.approx(listwise(kept, targets[:, [0, 2]] / 0.7, 0.5).item(), rel=1e-5)


def test_reference_sentences_cost_what_they_moved():
    model = Table([[1.0, 0.0], [0.0, 1.0]])
    loss = MatrixLoss(
        model,
        targets=torch.tensor([[1.0]]),
        documents=lambda rows: (torch.tensor([0]), torch.tensor([[1.0, 0.0]])),
        objective="listwise",
        temperature=1.0,
        reference_vectors=torch.tensor([[1.0, 0.0]]),
        reference_weight=5.0,
    )
    features = [{"input_ids": torch.tensor([0])}, {"input_ids": torch.tensor([1])}]
    assert loss(features, torch.tensor([0])).item() == pytest.approx(5.0)


def test_reference_sentences_are_pulled_by_the_mean_of_what_they_moved():
    """Of eight, the first and the fifth are held; cosines 0.6 and 1 with the base's vectors: (0.4 + 0) / 2."""
    model = Table([[1.0, 0.0], [0.6, 0.8]])
    loss = MatrixLoss(
        model,
        targets=torch.ones(8, 1),
        documents=lambda rows: (torch.tensor([0]), torch.tensor([[1.0, 0.0]])),
        objective="listwise",
        temperature=1.0,
        reference_vectors=torch.tensor([[1.0, 0.0]]).repeat(8, 1),
        reference_weight=5.0,
    )
    reference = torch.tensor([1, 1, 1, 1, 0, 1, 1, 1])
    features = [{"input_ids": torch.zeros(8, dtype=torch.int64)}, {"input_ids": reference}]
    assert loss(features, torch.arange(8)).item() == pytest.approx(1.0)


def test_the_documents_of_a_batch_are_those_of_its_rows():
    asked = []

    def documents(rows):
        asked.append(rows.tolist())
        return torch.tensor([0]), torch.tensor([[1.0, 0.0]])

    loss = MatrixLoss(
        Table([[1.0, 0.0]] * 3),
        targets=torch.ones(3, 1),
        documents=documents,
        objective="pairwise",
        temperature=1.0,
    )
    loss([{"input_ids": torch.tensor([2, 1])}], torch.tensor([2, 1]))
    assert asked == [[2, 1]]
    assert loss.reference_weight == 0.0


def test_candidates_that_a_batch_does_not_hold_are_left_out():
    """Of candidates 3 and 0 the batch holds 0 alone, of 2 and 3 none of the two."""
    documents = torch.eye(4)[[0, 1]]
    loss = MatrixLoss(
        Table(np.eye(4)),
        targets=torch.tensor([[0.9, 0.1], [0.25, 0.75]]),
        candidates=torch.tensor([[3, 0], [1, 3]]),
        documents=lambda _: (torch.tensor([0, 1]), documents),
        objective="pairwise",
        temperature=1.0,
    )
    rows = torch.tensor([0, 1])
    # Row 0: cosine 1 with document 0, target 0.1. Row 1: cosine 1 with document 1, target 0.25.
    assert loss([{"input_ids": rows}], rows).item() == pytest.approx(((1 - 0.1) ** 2 + (1 - 0.25) ** 2) / 2)
