"""A README.md beside an exported index: what it holds, what it found, and the lines that load it elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from expertune.index import Layout, files
from expertune.index.files import About

_HOLDS = {
    Layout.ANSWERS: "Each answer has one row: its own vector. An index that you have made with the base stays valid.",
    Layout.MIXED: "An answer has a row for each of its labelled questions, in which both are mixed; an answer without "
    "a question has its own vector. The last dimension is an offset that levels the two.",
    Layout.JOINED: "Each answer has one row: the vector of its first labelled questions and the answer as one text.",
    Layout.SEPARATE: "Each answer has its own vector as a row, and one more row for each of its labelled questions.",
}
_READ = """\
import json
import numpy as np
from sentence_transformers import SentenceTransformer
model = SentenceTransformer("this-folder/{model}")
with open("this-folder/ids.jsonl", encoding="utf-8") as lines:
    rows = [json.loads(line) for line in lines]
vectors = np.load("this-folder/vectors.npy")

def encode(question):
    query = model.encode_query([question], normalize_embeddings=True)
    return {query}.astype("float32")

def best(found, most):  # (row, score) pairs, best first; of an answer with several rows the best one counts
    scores = {{}}
    for row, score in found:
        scores.setdefault(rows[row]["id"], float(score))
    return list(scores.items())[:most]
"""
_NUMPY = """\
def search(question, most=10):
    scores = vectors @ encode(question)[0]
    return best([(row, scores[row]) for row in np.argsort(-scores)], most)
"""
_FAISS = """\
import faiss

index = faiss.IndexFlatIP({dimensions})
index.add(vectors)


def search(question, most=10):
    scores, places = index.search(encode(question), min({rows}, len(rows)))
    return best(zip(places[0], scores[0]), most)
"""
_QDRANT = """\
from qdrant_client import QdrantClient, models

client = QdrantClient(":memory:")  # or QdrantClient(url="http://localhost:6333")
client.create_collection("answers", models.VectorParams(size={dimensions}, distance=models.Distance.DOT))
client.upsert(
    "answers",
    [models.PointStruct(id=row, vector=vector.tolist(), payload=rows[row]) for row, vector in enumerate(vectors)],
)


def search(question, most=10):
    found = client.query_points("answers", query=encode(question)[0].tolist(), limit={rows}).points
    return best([(point.id, point.score) for point in found], most)
"""
_PGVECTOR = """\
import psycopg
from pgvector.psycopg import register_vector

database = psycopg.connect("dbname=faq", autocommit=True)
database.execute("CREATE EXTENSION IF NOT EXISTS vector")
register_vector(database)
database.execute("CREATE TABLE answers (row bigint PRIMARY KEY, id text, text text, vector vector({dimensions}))")
for row, vector in enumerate(vectors):
    database.execute("INSERT INTO answers VALUES (%s, %s, %s, %s)", (row, rows[row]["id"], rows[row]["text"], vector))


def search(question, most=10):
    found = database.execute(
        "SELECT row, -(vector <#> %s) AS score FROM answers ORDER BY score DESC LIMIT %s", (encode(question)[0], {rows})
    ).fetchall()
    return best(found, most)
"""
_OPENSEARCH = """\
from opensearchpy import OpenSearch, helpers

client = OpenSearch("http://localhost:9200")
field = {{"type": "knn_vector", "dimension": {dimensions}, "space_type": "innerproduct"}}
settings = {{"settings": {{"index.knn": True}}, "mappings": {{"properties": {{"vector": field}}}}}}
client.indices.create(index="answers", body=settings)
helpers.bulk(
    client,
    (
        {{"_index": "answers", "_id": str(row), "vector": vector.tolist(), **rows[row]}}
        for row, vector in enumerate(vectors)
    ),
    refresh=True,
)


def search(question, most=10):
    wanted = {{"vector": encode(question)[0].tolist(), "k": {rows}}}
    body = {{"size": {rows}, "query": {{"knn": {{"vector": wanted}}}}, "_source": False}}
    found = client.search(index="answers", body=body)["hits"]["hits"]
    return best([(int(hit["_id"]), hit["_score"] - 1) for hit in found], most)  # its score is one more than the product
"""
DATABASES = {"FAISS": _FAISS, "Qdrant": _QDRANT, "pgvector": _PGVECTOR, "OpenSearch": _OPENSEARCH}


def write_notes(folder: Path, about: About, model: Path, place: Path) -> None:
    """Write README.md into the folder of an index that will lie at `place`."""
    several = max(Counter(files.ids(folder)).values())
    query = "np.hstack([query, np.ones((1, 1))])" if about.has_offset else "query"
    values = {
        "model": os.path.relpath(model.resolve(), place.resolve()),
        "query": query,
        "dimensions": about.dimensions,
        "rows": "most" if several == 1 else f"{several} * most",
    }
    parts = [
        f"# Index: {about.layout}",
        f"{_HOLDS[about.layout]} `vectors.npy` holds {about.rows} rows of {about.dimensions} float32 numbers; line n "
        "of `ids.jsonl` names the answer of row n, from 0. Scores are dot products: in a database choose dot product "
        "(inner product), not cosine, which would change the lengths of the rows.",
        _found(about),
        "`expertune add` adds answers to it. In the code, `this-folder` stands for where this file lies.",
        f"## Read it\n\n```python\n{_READ.format(**values)}```",
        f"## Search without a database\n\n```python\n{_NUMPY}```",
        *(f"## {name}\n\n```python\n{code.format(**values)}```" for name, code in DATABASES.items()),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def _found(about: About) -> str:
    """Return a table of what held-out questions found when the index was made; nothing where there were none."""
    if not about.expected:
        return ""
    rows = [
        f"| {kind} | {found.questions} | {100 * found.base:.1f} | {100 * found.answers:.1f} | {100 * found.index:.1f} |"
        for kind, found in about.expected.items()
    ]
    head = "| answers | held-out questions | base, answers alone | tuned, answers alone | tuned, this index |"
    return "\n".join(["nDCG@10 x 100 when it was made:", "", head, "|---|---|---|---|---|", *rows])
