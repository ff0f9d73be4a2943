"""Use the model in LlamaIndex: python llamaindex_embedding.py MODEL CORPUS.jsonl QUESTION.

pip install llama-index-core
"""

import json
import sys
from pathlib import Path

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import TextNode
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(sys.argv[1])


class TunedEmbedding(BaseEmbedding):
    """Keep the two sides apart."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return model.encode_document(text).tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return model.encode_query(query).tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


answers = [json.loads(line) for line in Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()]
nodes = [TextNode(id_=answer["_id"], text=answer["text"]) for answer in answers]
index = VectorStoreIndex(nodes, embed_model=TunedEmbedding())
for found in index.as_retriever(similarity_top_k=3).retrieve(sys.argv[3]):
    print(f"{found.node_id}\t{found.score:.4f}")
