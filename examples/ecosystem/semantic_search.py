"""Find answers with sentence-transformers alone: python semantic_search.py MODEL CORPUS.jsonl QUESTION."""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.util import semantic_search

model, corpus, question = SentenceTransformer(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
answers = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
texts = [answer["text"] for answer in answers]

# Documents keep the base's vectors in query mode: an index made with the base holds these very rows.
documents = model.encode_document(texts, convert_to_tensor=True)
query = model.encode_query([question], convert_to_tensor=True)
for hit in semantic_search(query, documents, top_k=3)[0]:
    print(f"{answers[hit['corpus_id']]['_id']}\t{hit['score']:.4f}")
