"""Use the model in Haystack: python haystack_pipeline.py MODEL CORPUS.jsonl QUESTION (pip install haystack-ai)."""

import json
import sys
from pathlib import Path

from haystack import Document, Pipeline, component
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from sentence_transformers import SentenceTransformer

model, corpus, question = SentenceTransformer(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
answers = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
texts = [answer["text"] for answer in answers]


@component
class QuestionEmbedder:
    """Encode with `encode_query`: Haystack's own embedder calls plain `encode`, which takes the document side."""

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        return {"embedding": model.encode_query(text).tolist()}


store = InMemoryDocumentStore(embedding_similarity_function="cosine")
vectors = model.encode_document(texts).tolist()
rows = zip(answers, vectors, strict=True)
store.write_documents([Document(id=row["_id"], content=row["text"], embedding=vector) for row, vector in rows])
pipeline = Pipeline()
pipeline.add_component("embedder", QuestionEmbedder())
pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=3))
pipeline.connect("embedder.embedding", "retriever.query_embedding")
for found in pipeline.run({"embedder": {"text": question}})["retriever"]["documents"]:
    print(f"{found.id}\t{found.score:.4f}")
