"""Use the model in LangChain: python langchain_embeddings.py MODEL CORPUS.jsonl QUESTION.

pip install langchain-core
"""

import json
import sys
from pathlib import Path

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from sentence_transformers import SentenceTransformer


class TunedEmbeddings(Embeddings):
    """Keep the two sides apart: LangChain asks for questions and documents by different methods."""

    def __init__(self, model: str) -> None:
        self.model = SentenceTransformer(model)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.model.encode_document(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.model.encode_query(text).tolist()


answers = [json.loads(line) for line in Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()]
store = InMemoryVectorStore(TunedEmbeddings(sys.argv[1]))
store.add_texts([answer["text"] for answer in answers], ids=[answer["_id"] for answer in answers])
for document, score in store.similarity_search_with_score(sys.argv[3], k=3):
    print(f"{document.id}\t{score:.4f}")
