#!/bin/sh
# Puts a Hugging Face Space into a folder: sh scripts/space/make_space.sh FOLDER, then push the folder to the Space.
# The Space runs the Dockerfile; it is served under the name in SPACE_HOST, which the hub sets;
# its proxies, which tell who asks, are at addresses 10.x.
set -eu
folder=${1:?usage: sh scripts/space/make_space.sh FOLDER}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd -P)
cd "$(dirname "$0")/../.."
cp -R pyproject.toml LICENSE LICENSE-APACHE-2.0 .dockerignore vflow apps checkpoints "$folder"
find "$folder" -name __pycache__ -type d -prune -exec rm -rf {} +
cp scripts/space/README.md "$folder/README.md"
grep -v '^CMD \|^ENTRYPOINT ' Dockerfile > "$folder/Dockerfile"
echo 'CMD ["sh", "-c", "exec vflow app --host 0.0.0.0 --allow-host \"$SPACE_HOST\" --allow-host 10.0.0.0/8 --embed-in https://huggingface.co"]' >> "$folder/Dockerfile"
printf '*.safetensors filter=lfs diff=lfs merge=lfs -text\n' > "$folder/.gitattributes"
echo "$folder"
