# docker build --target cpu -t audiocodec .       encode, decode, train and evaluate on a CPU
# docker build --target cuda -t audiocodec .      the same on NVIDIA GPUs: docker run --gpus all ...
# docker build --target light -t audiocodec .     encode and decode only, on onnxruntime, without torch
# The versions are those of constraints.txt; the build of torch is what differs.

FROM python:3.12-slim-bookworm AS base
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg opus-tools codec2 \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /src
COPY constraints.txt pyproject.toml setup.cfg setup.py README.md LICENSE ./
COPY audiocodec audiocodec

FROM base AS light
RUN pip install -c constraints.txt .
WORKDIR /data
RUN useradd --create-home user
USER user
ENTRYPOINT ["audiocodec"]

# A C compiler for the metrics that have no wheels (pesq, webrtcvad); Python's headers are in the image.
FROM base AS tools
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ \
    && rm -rf /var/lib/apt/lists/*

FROM tools AS cuda
RUN pip install -c constraints.txt torch
RUN pip install -c constraints.txt ".[train,metrics,tokenize,lm]"
WORKDIR /data
RUN useradd --create-home user
USER user
ENTRYPOINT ["audiocodec"]

FROM tools AS cpu
RUN pip install -c constraints.txt torch --index-url https://download.pytorch.org/whl/cpu
RUN pip install -c constraints.txt ".[train,metrics,tokenize,lm]"
WORKDIR /data
RUN useradd --create-home user
USER user
ENTRYPOINT ["audiocodec"]
