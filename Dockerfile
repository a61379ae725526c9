# The app and the command line, CPU only. Build and run: docker compose up
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 vflow
WORKDIR /srv/vflow
COPY pyproject.toml README.md LICENSE LICENSE-APACHE-2.0 ./
COPY vflow vflow
COPY apps apps
COPY checkpoints checkpoints
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu ".[app]"

# From here on nothing is downloaded: models travel in the image, and the hub is not asked.
ENV HF_HUB_OFFLINE=1 GRADIO_ANALYTICS_ENABLED=False PYTHONUNBUFFERED=1
USER vflow
WORKDIR /home/vflow
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/config', timeout=4)"]
ENTRYPOINT ["vflow"]
CMD ["app", "--host", "0.0.0.0"]
