"""Find answers with a FAISS index: python faiss_index.py MODEL CORPUS.jsonl QUESTION (pip install faiss-cpu)."""

import json
import sys
from pathlib import Path

import faiss
from sentence_transformers import SentenceTransformer

model, corpus, question = SentenceTransformer(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
answers = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
texts = [answer["text"] for answer in answers]

# Cosine is the inner product of vectors of unit length.
documents = model.encode_document(texts, normalize_embeddings=True)
index = faiss.IndexFlatIP(documents.shape[1])
index.add(documents)
scores, rows = index.search(model.encode_query([question], normalize_embeddings=True), 3)
for score, row in zip(scores[0], rows[0], strict=True):
    print(f"{answers[row]['_id']}\t{score:.4f}")
