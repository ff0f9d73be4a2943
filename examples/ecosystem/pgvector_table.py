"""Find answers in PostgreSQL: DATABASE_URL=postgresql://... python pgvector_table.py MODEL CORPUS.jsonl QUESTION.

pip install "psycopg[binary]" pgvector, on a server that has the extension vector.
"""

import json
import os
import sys
from pathlib import Path

import psycopg
from pgvector.psycopg import register_vector
from sentence_transformers import SentenceTransformer

model, corpus, question = SentenceTransformer(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
answers = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
texts = [answer["text"] for answer in answers]

documents = model.encode_document(texts)
with psycopg.connect(os.environ["DATABASE_URL"]) as database:
    database.execute("CREATE EXTENSION IF NOT EXISTS vector")
    register_vector(database)
    database.execute(f"CREATE TEMPORARY TABLE faq (id text PRIMARY KEY, vector vector({documents.shape[1]}))")
    with database.cursor() as cursor:
        rows = [(answer["_id"], vector) for answer, vector in zip(answers, documents, strict=True)]
        cursor.executemany("INSERT INTO faq VALUES (%s, %s)", rows)
    query = model.encode_query([question])[0]
    nearest = "SELECT id, 1 - (vector <=> %s) FROM faq ORDER BY vector <=> %s LIMIT 3"
    for key, cosine in database.execute(nearest, (query, query)):
        print(f"{key}\t{cosine:.4f}")
