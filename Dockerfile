# The app and the command line, CPU only. Build and run: docker compose up
FROM python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea

RUN useradd --create-home --uid 1000 vflow
WORKDIR /srv/vflow
# A command asks one index, so that no package can come from another; that of PyTorch has builds without CUDA.
RUN pip install --no-cache-dir --no-deps --index-url https://download.pytorch.org/whl/cpu torch torchvision
COPY pyproject.toml README.md LICENSE LICENSE-APACHE-2.0 ./
COPY vflow vflow
COPY apps apps
COPY checkpoints checkpoints
RUN pip install --no-cache-dir ".[app]"

# From here on nothing is downloaded: models travel in the image, and the hub is not asked.
ENV HF_HUB_OFFLINE=1 GRADIO_ANALYTICS_ENABLED=False PYTHONUNBUFFERED=1
USER vflow
WORKDIR /home/vflow
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/config', timeout=4)"]
ENTRYPOINT ["vflow"]
CMD ["app", "--host", "0.0.0.0"]
