# One image for every node of a Ray cluster: head, workers and the machine that submits jobs.
#
#   docker build -t joulegrid .
#   docker run --rm --gpus all --shm-size 4g joulegrid joulegrid doctor
#   docker run --rm --gpus all --shm-size 4g -v "$PWD/results:/home/joulegrid/results" joulegrid \
#     joulegrid run studies/quickstart.yaml
#
# torch brings the CUDA libraries; from the host it needs the driver and the NVIDIA Container Toolkit, which also passes
# NVML into the container. `--pid=host` lets foreign load on a GPU be named, `--shm-size` is Ray's object store.
# Without GPUs, `--build-arg PIP_EXTRA_INDEX_URL=…` may name an index that has builds of torch for the CPU alone.
FROM python:3.11-slim-bookworm

ARG PIP_EXTRA_INDEX_URL=""

# gcc: torch.compile and triton build small C files on first use. procps, iproute2: `ray start` looks around with them.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev git iproute2 procps \
    && rm -rf /var/lib/apt/lists/*

# Not root: the ids are fixed so that folders that are mounted from the host can be given to this user.
RUN useradd --create-home --uid 1000 joulegrid
WORKDIR /home/joulegrid

# Libraries first: this layer, the large one, is made again only when they change.
COPY pyproject.toml constraints.txt /opt/joulegrid/
RUN pip install --no-cache-dir -c /opt/joulegrid/constraints.txt setuptools \
    && python -c 'import sys, tomllib; project = tomllib.load(open(sys.argv[1], "rb"))["project"]; extras = project["optional-dependencies"]; print(*project["dependencies"], *extras["pytorch"], *extras["figures"], sep="\n")' \
       /opt/joulegrid/pyproject.toml > /opt/joulegrid/requirements.txt \
    && pip install --no-cache-dir -c /opt/joulegrid/constraints.txt -r /opt/joulegrid/requirements.txt

# The package itself, as a wheel: the image holds no second copy of the sources that could be imported by accident.
COPY . /opt/joulegrid/source/
RUN pip install --no-cache-dir --no-deps --no-build-isolation /opt/joulegrid/source \
    && cp -r /opt/joulegrid/source/studies /home/joulegrid/studies \
    && mkdir /home/joulegrid/results \
    && chown -R joulegrid:joulegrid /home/joulegrid \
    && rm -rf /opt/joulegrid/source

USER joulegrid
# 6379 GCS, 8265 dashboard and jobs, 10001 Ray client. Publish them only to networks that you trust.
EXPOSE 6379 8265 10001
CMD ["joulegrid", "--help"]
