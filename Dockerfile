# Hitstream for containers: the locked packages of a cluster and this program, as a user without rights.
FROM python:3.13.7-slim-trixie AS build
WORKDIR /build
# For the compiled reader of queries.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/hitstream
COPY requirements-cluster.lock ./
RUN /opt/hitstream/bin/pip install --no-cache-dir --require-hashes -r requirements-cluster.lock
COPY pyproject.toml README.md LICENSE ./
COPY ingest ingest
COPY processors processors
COPY sink sink
COPY schemas schemas
COPY rules rules
COPY stream stream
COPY reporting reporting
COPY hitstream hitstream
RUN /opt/hitstream/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13.7-slim-trixie
RUN useradd --system --uid 10001 --home-dir /var/lib/hitstream --create-home hitstream
COPY --from=build /opt/hitstream /opt/hitstream
ENV PATH=/opt/hitstream/bin:$PATH PYTHONUNBUFFERED=1 HITSTREAM_DATA_DIR=/var/lib/hitstream
USER hitstream
WORKDIR /var/lib/hitstream
VOLUME /var/lib/hitstream
ENTRYPOINT ["hitstream"]
CMD ["up"]
