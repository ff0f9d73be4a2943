"""Find answers with Chroma: python chroma_collection.py MODEL CORPUS.jsonl QUESTION (pip install chromadb)."""

import json
import sys
from pathlib import Path

import chromadb
from chromadb.config import Settings
from sentence_transformers import SentenceTransformer

model, corpus, question = SentenceTransformer(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
answers = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
texts = [answer["text"] for answer in answers]

client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
# Vectors are given, for questions and documents alike: Chroma's own embedding function knows only one side.
collection = client.create_collection("faq", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
ids = [answer["_id"] for answer in answers]
collection.add(ids=ids, documents=texts, embeddings=model.encode_document(texts))
found = collection.query(query_embeddings=model.encode_query([question]), n_results=3)
for key, distance in zip(found["ids"][0], found["distances"][0], strict=True):
    print(f"{key}\t{1 - distance:.4f}")
