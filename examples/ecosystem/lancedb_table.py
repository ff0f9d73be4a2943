"""Find answers with LanceDB: python lancedb_table.py MODEL CORPUS.jsonl QUESTION (pip install lancedb)."""

import json
import sys
import tempfile
from pathlib import Path

import lancedb
from sentence_transformers import SentenceTransformer

model, corpus, question = SentenceTransformer(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
answers = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
texts = [answer["text"] for answer in answers]

with tempfile.TemporaryDirectory() as folder:
    vectors = model.encode_document(texts).tolist()
    rows = [{"id": answer["_id"], "vector": vector} for answer, vector in zip(answers, vectors, strict=True)]
    table = lancedb.connect(folder).create_table("faq", rows)
    query = model.encode_query([question])[0]
    for row in table.search(query).distance_type("cosine").limit(3).to_list():
        print(f"{row['id']}\t{1 - row['_distance']:.4f}")
